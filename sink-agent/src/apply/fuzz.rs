//! What a broken or hostile source-agent could send: frames of a valid stream, damaged here and there.
//!
//! The rules: nothing panics; what is taken out follows the stream's order; and while nothing is refused, every byte of
//! credit is either given back, or with what was taken out, or with what waits. Runs for `STRAIT_FUZZ_SECONDS`, two by
//! default.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message as _;
use strait_postgres::pgoutput::{TupleData, TupleValue};
use strait_proto::Lsn;
use strait_proto::v1::change::Change as Kind;
use strait_proto::v1::{self, CopyPhase, TableName};

use super::assembly::{Assembly, StreamedTable};
use super::batch::Extent;
use super::relation::tests::{keyed, keyless};
use super::tuple::Tuple;
use crate::error::Error;

/// Cases between two looks at the clock.
const CASES: u32 = 256;
const RESUME: u64 = 1_000;
const TABLES: u32 = 2;

fn fuzz<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("STRAIT_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(2));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    while Instant::now() < until {
        runner.run(strategy, &property).unwrap();
    }
}

/// A key and a value; `unchanged`: the value may be one that the source did not send.
fn tuple(unchanged: bool) -> impl Strategy<Value = Bytes> {
    let text = || prop::collection::vec(any::<u8>(), 0..20).prop_map(|text| TupleValue::Text(text.into()));
    let value = prop_oneof![4 => text(), 1 => Just(TupleValue::Null), 1 => Just(TupleValue::Unchanged)];
    (text(), value).prop_map(move |(key, value)| {
        let value = if value == TupleValue::Unchanged && !unchanged { TupleValue::Null } else { value };
        [key, value].into_iter().collect::<TupleData>().as_bytes()
    })
}

/// Of a table with a key or of one without, whose changes bring the whole old row.
fn row() -> impl Strategy<Value = Kind> {
    let change = (1..=TABLES, tuple(false), any::<bool>());
    (change, tuple(false), tuple(true), 0..3).prop_map(
        |((relation_id, old, moves), inserted, updated, kind)| {
            let (keyless, none) = (relation_id == 2, Bytes::new());
            let (operation, old_tuple, new_tuple) = match kind {
                0 => (v1::RowOperation::Insert, none, inserted),
                1 => (v1::RowOperation::Update, if keyless || moves { old } else { none }, updated),
                _ => (v1::RowOperation::Delete, old, none),
            };
            let operation = operation.into();
            Kind::Row(v1::RowChange { relation_id, operation, old_tuple, old_is_full: keyless, new_tuple })
        },
    )
}

fn truncate() -> impl Strategy<Value = Kind> {
    let relation = (1..=TABLES, "(a > 1)?")
        .prop_map(|(table_id, condition)| v1::TruncatedRelation { table_id, condition });
    (prop::collection::vec(relation, 0..3), any::<bool>()).prop_map(|(relations, restart_identity)| {
        Kind::Truncate(v1::Truncate { relations, restart_identity })
    })
}

/// Transactions and positions in their order, as a source-agent sends them.
fn stream() -> impl Strategy<Value = Vec<Kind>> {
    let transaction = prop::collection::vec(prop_oneof![9 => row(), 1 => truncate()], 0..12);
    let piece = prop_oneof![4 => transaction.prop_map(Some), 1 => Just(None)];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| {
        let mut stream = Vec::new();
        for (index, piece) in pieces.into_iter().enumerate() {
            // The first one was applied before.
            let commit_lsn = RESUME - 100 + 100 * index as u64;
            let Some(changes) = piece else {
                stream.push(Kind::Progress(v1::Progress { progress_lsn: commit_lsn + 5 }));
                continue;
            };
            stream.push(Kind::Begin(v1::Begin { commit_lsn, ..Default::default() }));
            stream.extend(changes);
            stream.push(Kind::Commit(v1::Commit { commit_lsn, end_lsn: commit_lsn + 10 }));
        }
        stream
    })
}

/// Cuts a stream into frames of so many changes.
fn frames(stream: Vec<Kind>, changes: usize) -> Vec<v1::ChangeFrame> {
    let changes_of =
        |kinds: &[Kind]| kinds.iter().map(|kind| v1::Change { change: Some(kind.clone()) }).collect();
    let cut = stream.chunks(changes).enumerate();
    cut.map(|(index, kinds)| v1::ChangeFrame {
        sequence: index as u64 + 1,
        changes: changes_of(kinds),
        ..Default::default()
    })
    .collect()
}

fn assembly() -> Assembly {
    let table = |table_id| {
        let name = TableName::new("public", format!("t{table_id}"));
        (table_id, StreamedTable { name, begin_lsn: Lsn(RESUME), phase: CopyPhase::Ready })
    };
    Assembly::new(Lsn(RESUME), HashMap::from_iter((1..=TABLES).map(table)), None)
}

/// Hands one frame in, as the receiver does. Returns the credit that goes back at once.
fn take_in(assembly: &mut Assembly, frame: v1::ChangeFrame) -> Result<u64, Error> {
    let cost = frame.encoded_len() as u64;
    let relations = [keyed(), keyless()];
    for change in frame.changes {
        let kind = change.change.ok_or_else(|| Error::protocol("a change of a kind that is not known"))?;
        match kind {
            Kind::Begin(begin) => assembly.begin(begin)?,
            Kind::Commit(commit) => assembly.commit(commit)?,
            Kind::Progress(progress) => assembly.progress(progress)?,
            Kind::Truncate(truncate) => assembly.truncate(truncate)?,
            Kind::Row(row) => {
                let relation =
                    usize::try_from(row.relation_id).ok().and_then(|id| relations.get(id.wrapping_sub(1)));
                let relation = relation.ok_or_else(|| Error::protocol("a relation without a definition"))?;
                assembly.row(&Arc::clone(relation), row)?;
            }
            Kind::Relation(_) => return Err(Error::protocol("a definition needs the database")),
            Kind::StreamStart(_)
            | Kind::StreamStop(_)
            | Kind::StreamSubtransaction(_)
            | Kind::StreamCommit(_)
            | Kind::StreamAbort(_) => {
                return Err(Error::protocol("a piece of a transaction goes to the spool"));
            }
        }
    }
    Ok(assembly.end_frame(cost))
}

/// Takes the frames in and everything out. Returns why one was refused.
fn run(frames: Vec<v1::ChangeFrame>, eager: bool) -> Result<Option<Error>, TestCaseError> {
    let mut assembly = assembly();
    let (mut paid, mut back, mut reached) = (0, 0, Lsn(RESUME));
    let take_out = |assembly: &mut Assembly, back: &mut u64, reached: &mut Lsn| {
        while let Some(pending) = assembly.take(false) {
            *back += pending.credit;
            if let Extent::Whole { end_lsn } | Extent::LastPiece { end_lsn } = pending.extent {
                prop_assert!(end_lsn > *reached, "{end_lsn} after {reached}");
                *reached = end_lsn;
            }
        }
        Ok(())
    };
    for frame in frames {
        paid += frame.encoded_len() as u64;
        match take_in(&mut assembly, frame) {
            Ok(free) => back += free,
            // The session ends here.
            Err(error) => return Ok(Some(error)),
        }
        if eager {
            take_out(&mut assembly, &mut back, &mut reached)?;
        }
        prop_assert!(back <= paid, "{back} given back of {paid}");
    }
    take_out(&mut assembly, &mut back, &mut reached)?;
    prop_assert!(back <= paid, "{back} given back of {paid}");
    Ok(None)
}

fn fail(error: &Error) -> Result<(), TestCaseError> {
    Err(TestCaseError::fail(error.failure().cause))
}

#[test]
fn a_valid_stream_is_taken_in_whole_however_it_is_cut() {
    fuzz(&(stream(), 1..20_usize, any::<bool>()), |(stream, changes, eager)| {
        run(frames(stream, changes), eager).and_then(|refused| refused.map_or(Ok(()), |error| fail(&error)))
    });
}

#[test]
fn changes_out_of_their_order_are_refused_or_harmless() {
    let place = any::<prop::sample::Index>;
    let moves = prop::collection::vec((0..3, place(), place()), 1..4);
    fuzz(&(stream(), moves, 1..20_usize), |(mut stream, moves, changes)| {
        for (kind, from, to) in moves {
            if stream.is_empty() {
                break;
            }
            let (from, to) = (from.index(stream.len()), to.index(stream.len()));
            match kind {
                0 => drop(stream.remove(from)),
                1 => stream.swap(from, to),
                _ => stream.insert(to, stream[from].clone()),
            }
        }
        run(frames(stream, changes), true).map(drop)
    });
}

#[test]
fn damaged_bytes_of_frames_and_tuples_are_refused_or_harmless() {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    fuzz(&(stream(), damage, 1..20_usize), |(stream, damage, changes)| {
        let mut bytes: Vec<Vec<u8>> =
            frames(stream, changes).iter().map(prost::Message::encode_to_vec).collect();
        for (at, value) in damage {
            let whole: usize = bytes.iter().map(Vec::len).sum();
            if whole == 0 {
                return Ok(());
            }
            let mut at = at.index(whole);
            let frame = bytes.iter_mut().find_map(|frame| {
                let here = at < frame.len();
                if !here {
                    at -= frame.len();
                }
                here.then_some(frame)
            });
            if let Some(frame) = frame {
                frame[at] = value;
            }
        }
        let decoded: Result<Vec<_>, _> =
            bytes.into_iter().map(|frame| v1::ChangeFrame::decode(Bytes::from(frame))).collect();
        decoded.map_or(Ok(()), |frames| run(frames, true).map(drop))
    });
}

#[test]
fn a_tuple_that_is_accepted_can_be_read_to_its_end() {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    fuzz(&(tuple(true), damage, 0..4_usize), |(bytes, damage, columns)| {
        let mut bytes = bytes.to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(tuple) = Tuple::new(bytes.into(), columns) {
            prop_assert_eq!(tuple.cells().count(), columns);
        }
        Ok(())
    });
}
