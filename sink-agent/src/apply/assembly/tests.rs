//! How transactions become batches.

use std::sync::Arc;

use bytes::Bytes;
use strait_postgres::pgoutput::{TupleData, TupleValue};

use super::super::lanes::tests::lane_lines_of;
use super::super::relation::tests::keyed;
use super::*;

const RESUME: u64 = 1_000;

fn assembly(phase: CopyPhase, begin_lsn: u64) -> Assembly {
    let table = StreamedTable { name: TableName::new("public", "t"), begin_lsn: Lsn(begin_lsn), phase };
    Assembly::new(Lsn(RESUME), HashMap::from_iter([(1, table)]), None)
}

fn insert(bytes: usize) -> v1::RowChange {
    let values = [TupleValue::Text(Bytes::from_static(b"1")), TupleValue::Text(vec![b'x'; bytes].into())];
    v1::RowChange {
        relation_id: 1,
        operation: v1::RowOperation::Insert.into(),
        new_tuple: values.into_iter().collect::<TupleData>().as_bytes(),
        ..Default::default()
    }
}

fn begin(assembly: &mut Assembly, commit_lsn: u64) {
    assembly.begin(v1::Begin { commit_lsn, ..Default::default() }).unwrap();
}

fn rows(assembly: &mut Assembly, rows: usize, bytes: usize) {
    let relation = keyed();
    for _ in 0..rows {
        assembly.row(&Arc::clone(&relation), insert(bytes)).unwrap();
    }
}

fn commit(assembly: &mut Assembly, commit_lsn: u64) {
    assembly.commit(v1::Commit { commit_lsn, end_lsn: commit_lsn + 10 }).unwrap();
}

fn transaction(assembly: &mut Assembly, commit_lsn: u64, count: usize) {
    begin(assembly, commit_lsn);
    rows(assembly, count, 10);
    commit(assembly, commit_lsn);
}

fn taken(pending: Option<Pending>) -> Option<(usize, u64, Extent)> {
    pending.map(|pending| (pending.operations.len(), pending.transactions, pending.extent))
}

#[test]
fn transactions_that_wait_are_executed_together() {
    let mut assembly = assembly(CopyPhase::Ready, 0);
    transaction(&mut assembly, 1_000, 2);
    transaction(&mut assembly, 1_100, 3);
    assert!(assembly.take(true).is_none(), "the executor has work, and the batch may grow");
    assert_eq!(taken(assembly.take(false)), Some((5, 2, Extent::Whole { end_lsn: Lsn(1_110) })));
    assert!(assembly.take(false).is_none());
}

#[test]
fn what_was_applied_before_is_dropped() {
    let mut assembly = assembly(CopyPhase::Ready, 0);
    transaction(&mut assembly, RESUME - 1, 2);
    assert!(assembly.take(false).is_none());
    assert_eq!(assembly.end_frame(7), 7);
}

#[test]
fn what_a_tables_copy_contains_is_dropped() {
    let mut assembly = assembly(CopyPhase::Ready, 2_000);
    transaction(&mut assembly, 1_900, 2);
    transaction(&mut assembly, 2_000, 1);
    assert_eq!(taken(assembly.take(false)), Some((1, 2, Extent::Whole { end_lsn: Lsn(2_010) })));
}

#[test]
fn a_suspended_table_is_marked_once_and_left_out_from_there_on() {
    let mut assembly = assembly(CopyPhase::Ready, 0);
    let failure = v1::Failure { cause: "a column is missing".to_owned(), ..Default::default() };
    begin(&mut assembly, 1_000);
    rows(&mut assembly, 2, 10);
    assembly.suspend(1, &failure).unwrap();
    assembly.suspend(1, &failure).unwrap();
    rows(&mut assembly, 5, 10);
    commit(&mut assembly, 1_000);
    transaction(&mut assembly, 1_100, 3);
    let pending = assembly.take(false).unwrap();
    let [Operation::Row(_), Operation::Row(_), Operation::Suspend(suspension)] = &pending.operations[..]
    else {
        panic!("{pending:?}")
    };
    assert_eq!((suspension.table_id, suspension.reason.as_str()), (1, "a column is missing"));
    assert_eq!(pending.extent, Extent::Whole { end_lsn: Lsn(1_110) });
}

#[test]
fn what_would_not_have_counted_suspends_nothing() {
    let mut assembly = assembly(CopyPhase::Ready, 2_000);
    begin(&mut assembly, 1_000);
    assembly.suspend(1, &v1::Failure::default()).unwrap();
    commit(&mut assembly, 1_000);
    transaction(&mut assembly, 2_000, 1);
    assert_eq!(taken(assembly.take(false)), Some((1, 2, Extent::Whole { end_lsn: Lsn(2_010) })));
}

#[test]
fn a_position_joins_what_waits_before_it() {
    let mut assembly = assembly(CopyPhase::Ready, 0);
    transaction(&mut assembly, 1_000, 1);
    assembly.progress(v1::Progress { progress_lsn: 3_000 }).unwrap();
    assembly.progress(v1::Progress { progress_lsn: 2_000 }).unwrap();
    assert_eq!(taken(assembly.take(false)), Some((1, 1, Extent::Whole { end_lsn: Lsn(3_000) })));
    assembly.progress(v1::Progress { progress_lsn: 4_000 }).unwrap();
    assert_eq!(taken(assembly.take(false)), Some((0, 0, Extent::Whole { end_lsn: Lsn(4_000) })));
}

#[test]
fn a_large_transaction_is_taken_out_in_pieces_after_what_came_before() {
    let mut assembly = assembly(CopyPhase::Ready, 0);
    transaction(&mut assembly, 1_000, 1);
    begin(&mut assembly, 2_000);
    rows(&mut assembly, 9, 1024 * 1024);
    assert!(!assembly.has_room());
    assert_eq!(taken(assembly.take(true)), None);
    assert_eq!(taken(assembly.take(false)), Some((1, 1, Extent::Whole { end_lsn: Lsn(1_010) })));
    assert_eq!(taken(assembly.take(true)), Some((9, 0, Extent::Piece)));
    assert!(assembly.has_room());
    rows(&mut assembly, 1, 10);
    commit(&mut assembly, 2_000);
    transaction(&mut assembly, 3_000, 1);
    assert_eq!(taken(assembly.take(false)), Some((1, 1, Extent::LastPiece { end_lsn: Lsn(2_010) })));
    assert_eq!(taken(assembly.take(false)), Some((1, 1, Extent::Whole { end_lsn: Lsn(3_010) })));
}

#[test]
fn credit_goes_back_with_the_last_of_what_a_frame_brought() {
    let mut assembly = assembly(CopyPhase::Ready, 0);
    transaction(&mut assembly, 1_000, 1);
    assert_eq!(assembly.end_frame(100), 0);
    begin(&mut assembly, 2_000);
    rows(&mut assembly, 1, 10);
    assert_eq!(assembly.end_frame(50), 0);
    assert_eq!(assembly.take(false).unwrap().credit, 100);
    commit(&mut assembly, 2_000);
    assert_eq!(assembly.take(false).unwrap().credit, 50);
}

#[test]
fn the_protocol_is_kept() {
    let mut copying = assembly(CopyPhase::Copying, 0);
    assert!(copying.row(&keyed(), insert(1)).is_err(), "outside of a transaction");
    begin(&mut copying, 1_000);
    assert!(copying.row(&keyed(), insert(1)).is_err(), "the copy is not complete");
    assert!(copying.begin(v1::Begin::default()).is_err(), "within another transaction");
    assert!(copying.progress(v1::Progress::default()).is_err(), "within a transaction");
    assert!(copying.commit(v1::Commit { commit_lsn: 1, end_lsn: 2 }).is_err(), "of another transaction");
}

/// An assembly that completes a batch up to 1,200 of which lanes have applied the first and third row.
fn recovering(table_rows: u32) -> Assembly {
    let mut whole = assembly(CopyPhase::Ready, 0);
    transaction(&mut whole, 1_000, 2);
    transaction(&mut whole, 1_100, 1);
    let operations = whole.take(false).unwrap().operations;
    assert_eq!(operations.len() as u32, table_rows);
    let lines = lane_lines_of(&operations, &[0, 2]);
    let recovery = Recovery::new(Lsn(1_200), lines).unwrap();
    Assembly { recovery: Some(recovery), ..assembly(CopyPhase::Ready, 0) }
}

#[test]
fn a_batch_that_lanes_have_applied_in_part_arrives_in_full_before_anything_is_executed() {
    let mut assembly = recovering(3);
    transaction(&mut assembly, 1_000, 2);
    assert_eq!(assembly.end_frame(500), 500, "its credit goes back at once");
    assert!(assembly.has_room() && assembly.take(false).is_none());
    transaction(&mut assembly, 1_100, 1);
    assert!(assembly.take(false).is_none(), "its end may lie behind its last transaction");
    transaction(&mut assembly, 1_300, 4);
    let completed = assembly.take(false).unwrap();
    assert!(completed.completes);
    assert_eq!(taken(Some(completed)), Some((1, 2, Extent::Whole { end_lsn: Lsn(1_200) })));
    assert_eq!(taken(assembly.take(false)), Some((4, 1, Extent::Whole { end_lsn: Lsn(1_310) })));
}

#[test]
fn a_position_past_it_completes_a_batch_too() {
    for (position, further) in [(1_200, None), (1_500, Some(1_500))] {
        let mut assembly = recovering(3);
        transaction(&mut assembly, 1_000, 2);
        transaction(&mut assembly, 1_100, 1);
        assembly.progress(v1::Progress { progress_lsn: position }).unwrap();
        let completed = assembly.take(false).unwrap();
        assert_eq!(taken(Some(completed)), Some((1, 2, Extent::Whole { end_lsn: Lsn(1_200) })));
        let idle = further.map(|end_lsn| (0, 0, Extent::Whole { end_lsn: Lsn(end_lsn) }));
        assert_eq!(taken(assembly.take(false)), idle);
    }
}

#[test]
fn a_batch_that_arrives_otherwise_than_it_was_is_refused() {
    let mut assembly = recovering(3);
    transaction(&mut assembly, 1_000, 2);
    let begun = assembly.begin(v1::Begin { commit_lsn: 1_300, ..Default::default() });
    assert!(begun.unwrap_err().failure().definite);
    assert!(assembly.take(false).is_none(), "nothing of it is executed");
}
