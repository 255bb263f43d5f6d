//! That the lines name every change once, and that what they say completes the batch.

use strait_proto::Lsn;

use super::super::super::change::{Change, ChangeKind};
use super::super::super::relation::tests::keyed;
use super::super::super::tuple::tests::tuple;
use super::super::recover::Recovery;
use super::*;

const END: Lsn = Lsn(100);

/// Inserts into tables of these ids.
fn operations(table_ids: &[u32]) -> Vec<Operation> {
    let insert = |(place, table_id): (usize, &u32)| {
        let mut relation = (*keyed()).clone();
        relation.table_id = *table_id;
        let kind = ChangeKind::Insert { new: tuple(&[Some("1"), Some("a")]) };
        Operation::Row(Change { relation: Arc::new(relation), kind, commit_lsn: Lsn(place as u64) })
    };
    table_ids.iter().enumerate().map(insert).collect()
}

fn change(operation: &Operation) -> &Change {
    match operation {
        Operation::Row(change) => change,
        Operation::Truncate(_) | Operation::Suspend(_) => panic!("not a row"),
    }
}

#[test]
fn what_is_left_out_is_what_the_lanes_that_committed_had() {
    let table_ids: Vec<u32> = (0..40).map(|place| 1 + place % 3).collect();
    let operations = operations(&table_ids);
    let parts: Vec<Vec<usize>> = vec![(0..10).collect(), (10..25).collect(), (25..40).collect()];
    let lines = lines(&operations, &parts);
    for committed in [vec![], vec![0], vec![1], vec![0, 2], vec![0, 1, 2]] {
        let read = committed.iter().flat_map(|lane: &usize| lines[*lane].clone()).collect();
        let mut recovery = Recovery::new(END, read).unwrap();
        for (place, operation) in operations.iter().enumerate() {
            let expected = committed.iter().any(|lane| parts[*lane].contains(&place));
            assert_eq!(recovery.is_applied(change(operation)).unwrap(), expected, "{committed:?} {place}");
        }
        recovery.check().unwrap();
    }
}
