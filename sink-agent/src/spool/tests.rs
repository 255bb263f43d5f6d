//! The spool's rules, on real files.

use bytes::Bytes;
use strait_proto::v1::change::Change as Kind;

use super::*;

const BYTES_MAX: u64 = 8 << 20;

fn spools() -> (Spools, Arc<SpoolSpace>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let space = Arc::new(SpoolSpace::new(directory.path().join("spool"), BYTES_MAX));
    (Spools::new(Arc::clone(&space)), space, directory)
}

/// A row that is told from others by its number, as large as its tuple.
fn row(number: u32, bytes: usize) -> v1::Change {
    let row = v1::RowChange { relation_id: number, new_tuple: vec![7; bytes].into(), ..Default::default() };
    v1::Change { change: Some(Kind::Row(row)) }
}

async fn push(spools: &mut Spools, xid: u32, rows: &[(u32, u32)], bytes: usize) {
    spools.start(xid).unwrap();
    for (subxid, number) in rows {
        spools.subtransaction(*subxid).unwrap();
        spools.push(&row(*number, bytes)).await.unwrap();
    }
    spools.stop().unwrap();
}

async fn numbers(reader: &mut SpoolReader) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(change) = reader.next().await.unwrap() {
        match change.change {
            Some(Kind::Row(row)) => numbers.push(row.relation_id),
            other => panic!("{other:?}"),
        }
    }
    numbers
}

#[tokio::test]
async fn interleaved_transactions_come_back_whole_and_apart() {
    // Within the buffer, past it, and past what is read at once.
    for bytes in [1, 1000, 100_000, 1_000_000] {
        let (mut spools, space, _directory) = spools();
        push(&mut spools, 1, &[(1, 10), (1, 11)], bytes).await;
        push(&mut spools, 2, &[(2, 20)], bytes).await;
        push(&mut spools, 1, &[(1, 12)], bytes).await;
        let mut reader = spools.commit(1).await.unwrap();
        assert_eq!(numbers(&mut reader).await, [10, 11, 12], "{bytes}");
        assert_eq!(numbers(&mut spools.commit(2).await.unwrap()).await, [20], "{bytes}");
        drop(reader);
        assert_eq!(space.used(), 0);
    }
}

#[tokio::test]
async fn a_rollback_takes_back_exactly_what_it_must() {
    // Transaction 1, its subtransactions from 2 on: what they write, which are rolled back then, what is left.
    type Case<'a> = (&'a [(u32, u32)], &'a [u32], &'a [u32]);
    let cases: [Case<'_>; 6] = [
        (&[(1, 10), (2, 20), (1, 11)], &[], &[10, 20, 11]),
        (&[(1, 10), (2, 20), (2, 21)], &[2], &[10]),
        // A child within, named before and after its parent.
        (&[(1, 10), (2, 20), (3, 30), (2, 21)], &[3, 2], &[10]),
        (&[(1, 10), (2, 20), (3, 30)], &[2, 3], &[10]),
        // The parent writes after its child only.
        (&[(1, 10), (3, 30), (2, 20)], &[3, 2], &[10]),
        // One that has written nothing.
        (&[(1, 10), (2, 20)], &[9], &[10, 20]),
    ];
    for bytes in [1, 100_000] {
        for (rows, aborted, left) in cases {
            let (mut spools, space, _directory) = spools();
            push(&mut spools, 1, rows, bytes).await;
            for subxid in aborted {
                spools.abort(1, *subxid).await.unwrap();
            }
            let mut expected = left.to_vec();
            assert!(space.used() < (left.len() as u64 + 1) * (bytes as u64 + 100), "{rows:?}");
            // Writing goes on where the cut was made.
            push(&mut spools, 1, &[(7, 70)], bytes).await;
            expected.push(70);
            let mut reader = spools.commit(1).await.unwrap();
            assert_eq!(numbers(&mut reader).await, expected, "{rows:?} without {aborted:?}");
        }
    }
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_nothing() {
    let (mut spools, space, directory) = spools();
    push(&mut spools, 1, &[(1, 10), (2, 20)], 100_000).await;
    assert!(space.used() > 0);
    assert_eq!(std::fs::read_dir(directory.path().join("spool")).unwrap().count(), 0, "files have no name");
    spools.abort(1, 1).await.unwrap();
    assert_eq!(space.used(), 0);
    assert!(spools.commit(1).await.is_err());
}

#[tokio::test]
async fn the_limit_counts_all_files_together_and_names_the_largest() {
    let (mut spools, space, _directory) = spools();
    push(&mut spools, 1, &[(1, 10)], 3 << 20).await;
    push(&mut spools, 2, &[(2, 20)], 4 << 20).await;
    let mut others = Spools::new(Arc::clone(&space));
    others.start(1).unwrap();
    let refused = others.push(&row(30, 2 << 20)).await;
    assert!(matches!(refused, Err(SpoolError::Full { bytes_max: BYTES_MAX })), "{refused:?}");
    assert_eq!(spools.largest(), Some(2));
    spools.clear();
    others.clear();
    assert_eq!(space.used(), 0);
}

#[tokio::test]
async fn what_was_not_written_is_not_read_back() {
    let (mut spools, _, _directory) = spools();
    let definition = v1::RelationDefinition { relation_id: 5, ..Default::default() };
    let definition = v1::Change { change: Some(Kind::Relation(definition)) };
    let empty = v1::RowChange { new_tuple: Bytes::new(), ..Default::default() };
    spools.start(1).unwrap();
    spools.push(&definition).await.unwrap();
    spools.push(&v1::Change { change: Some(Kind::Row(empty.clone())) }).await.unwrap();
    spools.stop().unwrap();
    let mut reader = spools.commit(1).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), Some(definition));
    assert_eq!(reader.next().await.unwrap(), Some(v1::Change { change: Some(Kind::Row(empty)) }));
    assert_eq!(reader.next().await.unwrap(), None);
}

#[test]
fn a_place_that_cannot_be_written_is_not_offered() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(!SpoolSpace::new(file.join("spool"), BYTES_MAX).accepts());
    assert!(!SpoolSpace::new(directory.path().to_owned(), 0).accepts());
    assert!(SpoolSpace::new(directory.path().join("spool"), BYTES_MAX).accepts());
}
