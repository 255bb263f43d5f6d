//! That a batch which is not what it was is never completed.

use std::sync::Arc;

use super::super::super::change::ChangeKind;
use super::super::super::relation::tests::keyed;
use super::super::super::tuple::tests::tuple;
use super::*;

const END: Lsn = Lsn(100);

fn change(commit_lsn: u64, kind: ChangeKind) -> Change {
    Change { relation: keyed(), kind, commit_lsn: Lsn(commit_lsn) }
}

fn insert(commit_lsn: u64) -> Change {
    change(commit_lsn, ChangeKind::Insert { new: tuple(&[Some("1"), Some("a")]) })
}

fn delete(commit_lsn: u64) -> Change {
    change(commit_lsn, ChangeKind::Delete { old: tuple(&[Some("1"), None]) })
}

/// The line of a lane that has the first of these changes.
fn line(changes: &[Change]) -> LaneLine {
    let mut identity = Identity::default();
    changes.iter().for_each(|change| {
        identity.push(change);
    });
    LaneLine {
        table_id: 1,
        changes: identity.changes,
        fingerprint: identity.fingerprint(),
        applied: vec![1; identity.changes.div_ceil(8) as usize],
    }
}

/// Whether a batch of which lanes have applied the first change may be completed with what arrives.
fn completes(before: &[Change], arrives: &[Change]) -> Result<(), Error> {
    let mut recovery = Recovery::new(END, vec![line(before)])?;
    for change in arrives {
        recovery.is_applied(change)?;
    }
    recovery.check()
}

#[test]
fn only_the_same_changes_complete_a_batch() {
    let before = [insert(10), insert(20), delete(20)];
    completes(&before, &before).unwrap();
    for (arrives, what) in [
        (vec![insert(10), insert(20)], "one is missing"),
        (vec![insert(10), insert(20), delete(20), delete(30)], "one is new"),
        (vec![insert(10), delete(20), insert(20)], "another order"),
        (vec![insert(10), insert(20), delete(30)], "another transaction"),
    ] {
        let failure = completes(&before, &arrives).unwrap_err().failure();
        assert!(failure.definite && failure.cause.contains("oid 1"), "{what}: {failure:?}");
    }
    // The table is no longer synchronised.
    completes(&before, &[]).unwrap();
}

#[test]
fn lines_that_contradict_each_other_are_refused() {
    let good = line(&[insert(10), insert(20)]);
    assert!(Recovery::new(END, vec![good.clone(), good.clone()]).is_ok());
    for wrong in [
        LaneLine { changes: 3, ..good.clone() },
        LaneLine { fingerprint: 0, ..good.clone() },
        LaneLine { applied: vec![0, 0], ..good.clone() },
    ] {
        assert!(Recovery::new(END, vec![good.clone(), wrong]).unwrap_err().failure().definite);
    }
}

#[test]
fn changes_of_other_tables_are_none_of_its() {
    let mut other = (*keyed()).clone();
    other.table_id = 2;
    let other = Change { relation: Arc::new(other), ..insert(10) };
    let mut recovery = Recovery::new(END, vec![line(&[insert(10)])]).unwrap();
    assert!(!recovery.is_applied(&other).unwrap());
    assert!(recovery.is_applied(&insert(10)).unwrap());
    recovery.check().unwrap();
    assert!(recovery.covers(Lsn(99)) && !recovery.covers(END));
}
