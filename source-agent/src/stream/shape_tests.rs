//! The stream's rules, message by message.

use strait_postgres::pgoutput::{Commit, RelationColumn, TupleValue};

use super::super::tables::SyncedTable;
use super::*;

pub(super) const RESUME: u64 = 1000;

fn leaf(relation_id: u32, bounds: &str) -> LeafRecord {
    LeafRecord {
        relation_id,
        schema: "s".into(),
        name: "leaf".into(),
        bounds: bounds.into(),
        attached_by: String::new(),
        gone: false,
    }
}

/// Table 1 began early, table 2 at 2000; 10 is flattened from leaves 11 and 12.
pub(super) fn shape() -> Shape {
    let table = |table_id, begin, leaves| SyncedTable {
        table_id,
        name: Some(v1::TableName::new("s", format!("t{table_id}"))),
        map: None,
        begin_lsn: Lsn(begin),
        leaves,
        operations: Operations::ALL,
    };
    let flat = vec![leaf(11, "a < 5"), leaf(12, "a >= 5")];
    let tables = TableSet::new([table(1, 1, vec![]), table(2, 2000, vec![]), table(10, 1, flat)]);
    Shape::new(tables, Lsn(RESUME))
}

pub(super) fn begin(commit_lsn: u64) -> LogicalMessage {
    LogicalMessage::Begin(Begin { final_lsn: Lsn(commit_lsn), commit_time_us: 5, xid: 7 })
}

pub(super) fn commit(commit_lsn: u64) -> LogicalMessage {
    let (commit_lsn, end_lsn) = (Lsn(commit_lsn), Lsn(commit_lsn + 8));
    LogicalMessage::Commit(Commit { commit_lsn, end_lsn, commit_time_us: 5 })
}

pub(super) fn relation(relation_id: u32, columns: &[&str]) -> LogicalMessage {
    LogicalMessage::Relation(described(relation_id, columns))
}

pub(super) fn described(relation_id: u32, columns: &[&str]) -> Relation {
    let column = |name: &&str| RelationColumn {
        key: *name == "id",
        name: (*name).to_owned(),
        type_oid: 23,
        type_modifier: -1,
    };
    Relation {
        relation_id,
        schema: "s".into(),
        name: format!("r{relation_id}"),
        replica_identity: b'd',
        columns: columns.iter().map(column).collect(),
    }
}

fn tuple(text: &'static str) -> TupleData {
    TupleData::from_iter([TupleValue::Text(Bytes::from_static(text.as_bytes()))])
}

pub(super) fn insert(relation_id: u32) -> LogicalMessage {
    LogicalMessage::Insert { relation_id, new: tuple("1") }
}

pub(super) fn truncate(relation_ids: &[u32]) -> LogicalMessage {
    let relation_ids = relation_ids.to_vec();
    LogicalMessage::Truncate { relation_ids, cascade: false, restart_identity: true }
}

/// What is sent for the messages, as one word each.
pub(super) fn words(shape: &mut Shape, messages: Vec<LogicalMessage>) -> Vec<String> {
    let mut changes = Vec::new();
    for message in messages {
        shape.message(message, &mut changes).unwrap();
    }
    changes.iter().map(word).collect()
}

pub(super) fn word(change: &v1::Change) -> String {
    match change.change.as_ref().unwrap() {
        Kind::Begin(begin) => format!("begin {}", begin.commit_lsn),
        Kind::Commit(commit) => format!("commit {}-{}", commit.commit_lsn, commit.end_lsn),
        Kind::Relation(relation) => format!("relation {} of {}", relation.relation_id, relation.table_id),
        Kind::Row(row) => format!("row {}", row.relation_id),
        Kind::Truncate(truncate) => {
            let relations = truncate.relations.iter().map(|it| format!("{}[{}]", it.table_id, it.condition));
            format!("truncate {}", relations.collect::<Vec<_>>().join(" "))
        }
        Kind::Progress(progress) => format!("progress {}", progress.progress_lsn),
        Kind::StreamStart(start) => format!("block of {}", start.xid),
        Kind::StreamStop(_) => "end of block".to_owned(),
        Kind::StreamSubtransaction(it) => format!("subtransaction {}", it.subxid),
        Kind::StreamCommit(it) => format!("commit of {} {}-{}", it.xid, it.commit_lsn, it.end_lsn),
        Kind::StreamAbort(it) => format!("abort of {} in {}", it.subxid, it.xid),
    }
}

#[test]
fn what_passes_and_what_does_not() {
    let cases: Vec<(&str, Vec<LogicalMessage>, Vec<&str>)> = vec![
        (
            "a transaction with a row",
            vec![begin(1500), relation(1, &["id"]), insert(1), insert(1), commit(1500)],
            vec!["begin 1500", "relation 1 of 1", "row 1", "row 1", "commit 1500-1508"],
        ),
        (
            "exactly at the resume position",
            vec![begin(RESUME), relation(1, &["id"]), insert(1), commit(RESUME)],
            vec!["begin 1000", "relation 1 of 1", "row 1", "commit 1000-1008"],
        ),
        (
            "before the resume position, dropped whole",
            vec![begin(900), relation(1, &["id"]), insert(1), truncate(&[1]), commit(900)],
            vec![],
        ),
        ("an empty transaction becomes a position", vec![begin(1500), commit(1500)], vec!["progress 1508"]),
        (
            "a table that begins later",
            vec![
                begin(1500),
                relation(2, &["id"]),
                insert(2),
                commit(1500),
                begin(2000),
                insert(2),
                commit(2000),
            ],
            vec!["progress 1508", "begin 2000", "relation 2 of 2", "row 2", "commit 2000-2008"],
        ),
        (
            "only the rows of a table that has begun",
            vec![
                begin(1500),
                relation(2, &["id"]),
                relation(1, &["id"]),
                insert(2),
                insert(1),
                insert(2),
                commit(1500),
            ],
            vec!["begin 1500", "relation 1 of 1", "row 1", "commit 1500-1508"],
        ),
        (
            "leaves under their own ids, for their table",
            vec![
                begin(1500),
                relation(11, &["id"]),
                relation(12, &["id"]),
                insert(11),
                insert(12),
                commit(1500),
            ],
            vec![
                "begin 1500",
                "relation 11 of 10",
                "row 11",
                "relation 12 of 10",
                "row 12",
                "commit 1500-1508",
            ],
        ),
        (
            "the same description again is not sent again, another one is",
            vec![
                begin(1500),
                relation(1, &["id"]),
                insert(1),
                relation(1, &["id"]),
                insert(1),
                relation(1, &["id", "x"]),
                insert(1),
                commit(1500),
            ],
            vec![
                "begin 1500",
                "relation 1 of 1",
                "row 1",
                "row 1",
                "relation 1 of 1",
                "row 1",
                "commit 1500-1508",
            ],
        ),
        (
            "truncate of a root and of a leaf",
            vec![begin(1500), truncate(&[11, 12]), truncate(&[12]), truncate(&[77]), commit(1500)],
            vec!["begin 1500", "truncate 10[]", "truncate 10[a >= 5]", "commit 1500-1508"],
        ),
        (
            "truncate of nothing of ours",
            vec![begin(1500), truncate(&[77]), commit(1500)],
            vec!["progress 1508"],
        ),
    ];
    for (name, messages, expected) in cases {
        assert_eq!(words(&mut shape(), messages), expected, "{name}");
    }
}

#[test]
fn keepalives_count_between_transactions_and_never_go_back() {
    let mut shape = shape();
    let mut changes = Vec::new();
    shape.keepalive(Lsn(RESUME), &mut changes);
    shape.keepalive(Lsn(1400), &mut changes);
    shape.keepalive(Lsn(1300), &mut changes);
    shape.message(begin(1500), &mut changes).unwrap();
    shape.keepalive(Lsn(1600), &mut changes);
    shape.message(commit(1500), &mut changes).unwrap();
    assert_eq!(changes.iter().map(word).collect::<Vec<_>>(), ["progress 1400", "progress 1508"]);
}

#[test]
fn unknown_relations_are_looked_up_once() {
    let mut shape = shape();
    let mut changes = Vec::new();
    shape.message(begin(1500), &mut changes).unwrap();
    let step = shape.message(relation(13, &["id"]), &mut changes).unwrap();
    assert_eq!(step, Step::Unknown(described(13, &["id"])));
    assert_eq!(shape.adopt(described(13, &["id"]), 10, leaf(13, "a >= 9")).unwrap(), Step::Done);

    let step = shape.message(relation(14, &["id"]), &mut changes).unwrap();
    assert_eq!(step, Step::Unknown(described(14, &["id"])));
    shape.ignore(&described(14, &["id"]));
    assert_eq!(shape.message(relation(14, &["id", "x"]), &mut changes).unwrap(), Step::Done);

    let rest = words(&mut shape, vec![insert(13), insert(14), truncate(&[11, 12, 13]), commit(1500)]);
    assert_eq!(rest, ["begin 1500", "relation 13 of 10", "row 13", "truncate 10[]", "commit 1500-1508"]);
}

#[test]
fn bounds_and_messages_of_our_own_are_handed_to_the_reader() {
    let mut shape = shape();
    let mut changes = Vec::new();
    let ours = |transactional| LogicalMessage::Message {
        transactional,
        lsn: Lsn(1400),
        prefix: MESSAGE_PREFIX.to_owned(),
        content: Bytes::from_static(b"beat"),
    };
    assert_eq!(shape.message(ours(false), &mut changes).unwrap(), Step::Done);
    shape.message(begin(1500), &mut changes).unwrap();
    assert_eq!(shape.message(truncate(&[12]), &mut changes).unwrap(), Step::Bounded(vec![(10, 12)]));
    assert_eq!(shape.message(ours(true), &mut changes).unwrap(), Step::Done);
    let end = shape.message(commit(1500), &mut changes).unwrap();
    assert_eq!(end, Step::Message(Bytes::from_static(b"beat"), Lsn(1508)));
}

#[test]
fn an_update_of_the_heartbeats_table_is_a_message_and_never_sent() {
    let mut shape = shape();
    let mut changes = Vec::new();
    let table = Relation {
        schema: "strait".into(),
        name: "heartbeat".into(),
        ..described(50, &["task_id", heartbeat::CONTENT])
    };
    let row = ["abc", "beat"].map(|text| TupleValue::Text(Bytes::from_static(text.as_bytes())));
    let new = TupleData::from_iter(row);
    shape.message(begin(1500), &mut changes).unwrap();
    assert_eq!(shape.message(LogicalMessage::Relation(table), &mut changes).unwrap(), Step::Done);
    shape.message(LogicalMessage::Update { relation_id: 50, old: None, new }, &mut changes).unwrap();
    let end = shape.message(commit(1500), &mut changes).unwrap();
    assert_eq!(end, Step::Message(Bytes::from_static(b"beat"), Lsn(1508)));
    let old = OldTuple::Key(tuple("abc"));
    let rest =
        vec![begin(1600), LogicalMessage::Delete { relation_id: 50, old }, truncate(&[50]), commit(1600)];
    assert_eq!(words(&mut shape, rest), ["progress 1608"]);
    assert_eq!(changes.iter().map(word).collect::<Vec<_>>(), ["progress 1508"]);
}

#[test]
fn rows_travel_as_they_came() {
    let mut shape = shape();
    let mut changes = Vec::new();
    let update = |old| LogicalMessage::Update { relation_id: 1, old, new: tuple("new") };
    for message in [
        begin(1500),
        relation(1, &["id"]),
        update(None),
        update(Some(OldTuple::Key(tuple("key")))),
        LogicalMessage::Delete { relation_id: 1, old: OldTuple::Full(tuple("old")) },
    ] {
        shape.message(message, &mut changes).unwrap();
    }
    let rows: Vec<_> = changes
        .iter()
        .filter_map(|change| match &change.change {
            Some(Kind::Row(row)) => {
                Some((row.operation(), row.old_tuple.clone(), row.old_is_full, row.new_tuple.clone()))
            }
            _ => None,
        })
        .collect();
    let bytes = |text| tuple(text).as_bytes();
    assert_eq!(
        rows,
        [
            (RowOperation::Update, Bytes::new(), false, bytes("new")),
            (RowOperation::Update, bytes("key"), false, bytes("new")),
            (RowOperation::Delete, bytes("old"), true, Bytes::new()),
        ]
    );
}

#[test]
fn messages_out_of_turn_are_errors() {
    for messages in [
        vec![commit(1500)],
        vec![begin(1500), begin(1600)],
        vec![insert(1)],
        vec![begin(1500), insert(1)],
        vec![truncate(&[1])],
    ] {
        let mut shape = shape();
        let mut changes = Vec::new();
        let result: Result<Vec<_>, _> =
            messages.into_iter().map(|message| shape.message(message, &mut changes)).collect();
        assert!(result.is_err_and(|error| !error.failure().definite));
    }
}
