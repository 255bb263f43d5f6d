//! The rules of transactions in progress, message by message.

use strait_postgres::pgoutput::{Commit, Decoded, StreamStart};

use super::super::tests::{RESUME, begin, commit, described, insert, relation, shape, truncate, word};
use super::*;

/// What a transaction does outside of any block.
fn plain(message: LogicalMessage) -> Decoded {
    Decoded { xid: None, message }
}

/// What a subtransaction does within a block.
fn by(xid: u32, message: LogicalMessage) -> Decoded {
    Decoded { xid: Some(xid), message }
}

fn start(xid: u32) -> Decoded {
    plain(LogicalMessage::StreamStart(StreamStart { xid, first: false }))
}

fn stop() -> Decoded {
    plain(LogicalMessage::StreamStop)
}

fn stream_commit(xid: u32, commit_lsn: u64) -> Decoded {
    let (commit_lsn, end_lsn) = (Lsn(commit_lsn), Lsn(commit_lsn + 8));
    let commit = Commit { commit_lsn, end_lsn, commit_time_us: 5 };
    plain(LogicalMessage::StreamCommit(StreamCommit { xid, commit }))
}

fn abort(xid: u32, subxid: u32) -> Decoded {
    plain(LogicalMessage::StreamAbort(StreamAbort { xid, subxid, record: None }))
}

fn words(shape: &mut Shape, messages: Vec<Decoded>) -> Vec<String> {
    let mut changes = Vec::new();
    for message in messages {
        shape.decoded(message, &mut changes).unwrap();
    }
    changes.iter().map(word).collect()
}

#[test]
fn what_passes_and_what_does_not() {
    let cases: Vec<(&str, Vec<Decoded>, Vec<&str>)> = vec![
        (
            "blocks between other transactions, each with its own descriptions",
            vec![
                start(7),
                by(7, relation(1, &["id"])),
                by(7, insert(1)),
                stop(),
                plain(begin(1500)),
                plain(relation(1, &["id"])),
                plain(insert(1)),
                plain(commit(1500)),
                start(9),
                by(9, relation(1, &["id"])),
                by(9, insert(1)),
                stop(),
                start(7),
                by(7, insert(1)),
                stop(),
                stream_commit(7, 1600),
                abort(9, 9),
            ],
            vec![
                "block of 7",
                "relation 1 of 1",
                "row 1",
                "end of block",
                "begin 1500",
                "relation 1 of 1",
                "row 1",
                "commit 1500-1508",
                "block of 9",
                "relation 1 of 1",
                "row 1",
                "end of block",
                "block of 7",
                "row 1",
                "end of block",
                "commit of 7 1600-1608",
                "abort of 9 in 9",
            ],
        ),
        (
            "subtransactions, the definition with the one that needs it",
            vec![
                start(7),
                by(8, relation(1, &["id"])),
                by(8, insert(1)),
                by(8, insert(1)),
                by(7, insert(1)),
                stop(),
                start(7),
                by(7, insert(1)),
                by(9, truncate(&[1])),
                stop(),
            ],
            vec![
                "block of 7",
                "subtransaction 8",
                "relation 1 of 1",
                "row 1",
                "row 1",
                "subtransaction 7",
                "row 1",
                "end of block",
                "block of 7",
                "row 1",
                "subtransaction 9",
                "truncate 1[]",
                "end of block",
            ],
        ),
        (
            "after a rollback within it everything is described again",
            vec![
                start(7),
                by(8, relation(1, &["id", "new"])),
                by(8, insert(1)),
                stop(),
                abort(7, 8),
                start(7),
                by(7, relation(1, &["id"])),
                by(7, insert(1)),
                stop(),
            ],
            vec![
                "block of 7",
                "subtransaction 8",
                "relation 1 of 1",
                "row 1",
                "end of block",
                "abort of 8 in 7",
                "block of 7",
                "subtransaction 7",
                "relation 1 of 1",
                "row 1",
                "end of block",
            ],
        ),
        (
            "nothing of the task's",
            vec![start(7), stop(), abort(7, 8), stream_commit(7, 1500), start(9), stop(), abort(9, 9)],
            vec!["progress 1508"],
        ),
        (
            "before the resume position",
            vec![
                start(7),
                by(7, relation(1, &["id"])),
                by(7, insert(1)),
                stop(),
                stream_commit(7, RESUME - 100),
            ],
            vec!["block of 7", "relation 1 of 1", "row 1", "end of block", "abort of 7 in 7"],
        ),
        (
            "a table's beginning is the sink's to compare",
            vec![start(7), by(7, relation(2, &["id"])), by(7, insert(2)), stop()],
            vec!["block of 7", "relation 2 of 2", "row 2", "end of block"],
        ),
        (
            "a leaf's bounds",
            vec![start(7), by(7, truncate(&[12])), by(7, truncate(&[99])), stop()],
            vec!["block of 7", "truncate 10[a >= 5]", "end of block"],
        ),
    ];
    for (name, messages, expected) in cases {
        assert_eq!(words(&mut shape(), messages), expected, "{name}");
    }
}

#[test]
fn with_its_commit_a_description_counts_for_all_that_follows() {
    let mut shape = shape();
    let block = vec![start(7), by(7, relation(1, &["id"])), by(7, insert(1)), stop()];
    words(&mut shape, block);
    words(&mut shape, vec![stream_commit(7, 1500)]);
    let next = words(&mut shape, vec![plain(begin(1600)), plain(insert(1)), plain(commit(1600))]);
    assert_eq!(next, ["begin 1600", "relation 1 of 1", "row 1", "commit 1600-1608"]);
    let again = words(&mut shape, vec![plain(begin(1700)), plain(insert(1)), plain(commit(1700))]);
    assert_eq!(again, ["begin 1700", "row 1", "commit 1700-1708"]);
}

#[test]
fn a_newer_description_outlives_the_commit_of_an_older_one() {
    let mut shape = shape();
    words(&mut shape, vec![start(7), by(7, relation(1, &["id"])), by(7, insert(1)), stop()]);
    let newer =
        vec![plain(begin(1500)), plain(relation(1, &["id", "new"])), plain(insert(1)), plain(commit(1500))];
    words(&mut shape, newer);
    words(&mut shape, vec![stream_commit(7, 1600)]);
    let next = words(&mut shape, vec![plain(begin(1700)), plain(insert(1)), plain(commit(1700))]);
    assert_eq!(next, ["begin 1700", "row 1", "commit 1700-1708"]);
}

#[test]
fn a_position_within_a_block_does_not_count_and_between_blocks_it_does() {
    let mut shape = shape();
    words(&mut shape, vec![start(7)]);
    let mut changes = Vec::new();
    shape.keepalive(Lsn(1500), &mut changes);
    assert!(changes.is_empty());
    words(&mut shape, vec![stop()]);
    shape.keepalive(Lsn(1500), &mut changes);
    assert_eq!(changes.iter().map(word).collect::<Vec<_>>(), ["progress 1500"]);
}

#[test]
fn our_message_is_told_with_the_commit() {
    let message = LogicalMessage::Message {
        transactional: true,
        lsn: Lsn(1),
        prefix: MESSAGE_PREFIX.to_owned(),
        content: Bytes::from_static(b"beat"),
    };
    let mut shape = shape();
    words(&mut shape, vec![start(7), by(7, message), stop()]);
    let step = shape.decoded(stream_commit(7, 1500), &mut Vec::new()).unwrap();
    assert_eq!(step, Step::Message(Bytes::from_static(b"beat"), Lsn(1508)));
}

#[test]
fn an_unknown_relation_is_asked_for_and_known_to_its_transaction_alone() {
    let mut shape = shape();
    words(&mut shape, vec![start(7)]);
    let step = shape.decoded(by(7, relation(50, &["id"])), &mut Vec::new()).unwrap();
    assert_eq!(step, Step::Unknown(described(50, &["id"])));
    shape.ignore(&described(50, &["id"]));
    assert_eq!(words(&mut shape, vec![by(7, insert(50)), stop()]), Vec::<String>::new());
    let outside = shape.decoded(plain(relation(50, &["id"])), &mut Vec::new()).unwrap();
    assert_eq!(outside, Step::Unknown(described(50, &["id"])));
}

#[test]
fn what_only_a_commit_can_answer_puts_streaming_off() {
    let mut shape = shape();
    // The bounds of a leaf are not known: a failure for good, if it commits.
    words(&mut shape, vec![start(7)]);
    let put_off = shape.put_off(truncate::uncertain(1, "s", "leaf"));
    assert!(matches!(put_off, RunError::StreamingPutOff { xid: 7, .. }), "{put_off:?}");
    assert!(!put_off.failure().definite);
    // Other errors are what they are, and so is this one outside of a block.
    assert!(matches!(shape.put_off(RunError::transient("x")), RunError::Found(_)));
    words(&mut shape, vec![stop()]);
    assert!(shape.put_off(truncate::uncertain(1, "s", "leaf")).failure().definite);
}

#[test]
fn messages_out_of_turn_are_errors() {
    let cases = [
        vec![stop()],
        vec![start(7), start(8)],
        vec![plain(begin(1500)), start(7)],
        vec![start(7), plain(begin(1500))],
        vec![start(7), plain(commit(1500))],
        vec![start(7), stream_commit(7, 1500)],
        vec![start(7), abort(7, 8)],
        vec![start(7), by(7, insert(1))],
        // Described to another one.
        vec![start(7), by(7, relation(1, &["id"])), stop(), start(8), by(8, insert(1))],
        vec![start(7), by(8, relation(1, &["id"])), stop(), abort(7, 8), start(7), by(7, insert(1))],
    ];
    for mut messages in cases {
        let mut shape = shape();
        let last = messages.pop().unwrap();
        let name = format!("{messages:?} {last:?}");
        words(&mut shape, messages);
        assert!(shape.decoded(last, &mut Vec::new()).is_err(), "{name}");
    }
}

#[test]
fn what_has_not_ended_is_abandoned_and_comes_again() {
    let mut shape = shape();
    let piece = |xid| vec![start(xid), by(xid, relation(1, &["id"])), by(xid, insert(1)), stop()];
    words(&mut shape, piece(7));
    // Of this one the sink was told nothing.
    words(&mut shape, vec![start(8), stop()]);
    let mut changes = Vec::new();
    shape.abandon_in_progress(&mut changes);
    assert_eq!(changes.iter().map(word).collect::<Vec<_>>(), ["abort of 7 in 7"]);
    assert!(shape.is_between_transactions());
    let mut again = piece(7);
    again.push(stream_commit(7, 1600));
    assert_eq!(
        words(&mut shape, again),
        ["block of 7", "relation 1 of 1", "row 1", "end of block", "commit of 7 1600-1608"]
    );
}
