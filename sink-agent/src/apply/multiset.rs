//! Tables without a key: rows are counted. An insert adds one copy of a row, a delete takes one away, an
//! update does both; of each row only the difference is executed.
//!
//! Which of several equal rows goes makes no difference, as long as the destination keeps nothing of its own
//! beside them.

use std::sync::Arc;

use hashbrown::HashMap;

use super::change::{Change, ChangeKind};
use super::fold::Image;
use super::tuple::Tuple;

/// Counts the changes of one table that has no key.
#[derive(Debug, Default)]
pub(crate) struct Multiset {
    places: HashMap<Vec<u8>, usize>,
    /// In the order of their first change.
    rows: Vec<(Image, i64)>,
}

/// To be executed in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Rows, and how many copies of each are to be taken away.
    pub(crate) deletes: Vec<(Image, i64)>,
    /// Rows, and how many copies of each are to be added.
    pub(crate) inserts: Vec<(Image, i64)>,
}

impl Multiset {
    /// Takes the next change of the table in.
    pub(crate) fn push(&mut self, change: &Change) {
        match &change.kind {
            ChangeKind::Insert { new } => self.count(change, new, 1),
            ChangeKind::Update { old, new } => {
                if let Some(old) = old {
                    self.count(change, old, -1);
                    self.count(change, new, 1);
                }
            }
            ChangeKind::Delete { old } => self.count(change, old, -1),
        }
    }

    /// What is left to do.
    pub(crate) fn finish(self) -> Differences {
        let mut differences = Differences::default();
        for (image, count) in self.rows {
            match count {
                0 => {}
                1.. => differences.inserts.push((image, count)),
                _ => differences.deletes.push((image, -count)),
            }
        }
        differences
    }

    fn count(&mut self, change: &Change, tuple: &Tuple, copies: i64) {
        let place = *self.places.entry(change.relation.row_bytes(tuple)).or_insert_with(|| {
            self.rows.push((Image { relation: Arc::clone(&change.relation), tuple: tuple.clone() }, 0));
            self.rows.len() - 1
        });
        self.rows[place].1 += copies;
    }
}

#[cfg(test)]
mod tests {
    use strait_proto::Lsn;

    use super::super::relation::tests::keyless;
    use super::super::tuple::tests::tuple;
    use super::*;

    /// `+a` inserts, `-a` deletes, `a>b` updates row a to b; returns rows and counts, deletes negative.
    fn net(changes: &[&str]) -> Vec<(String, i64)> {
        let relation = keyless();
        let row = |name: &str| tuple(&[Some("1"), Some(name)]);
        let mut multiset = Multiset::default();
        for change in changes {
            let kind = match change.split_at(1) {
                ("+", name) => ChangeKind::Insert { new: row(name) },
                ("-", name) => ChangeKind::Delete { old: row(name) },
                _ => match change.split_once('>') {
                    Some((old, new)) => ChangeKind::Update { old: Some(row(old)), new: row(new) },
                    None => panic!("{change}"),
                },
            };
            multiset.push(&Change { relation: Arc::clone(&relation), kind, commit_lsn: Lsn(1) });
        }
        let differences = multiset.finish();
        let name = |image: &Image| match image.tuple.cell(1) {
            super::super::tuple::Cell::Text(name) => String::from_utf8_lossy(name).into_owned(),
            other => panic!("{other:?}"),
        };
        let deletes = differences.deletes.iter().map(|(image, count)| (name(image), -count));
        deletes.chain(differences.inserts.iter().map(|(image, count)| (name(image), *count))).collect()
    }

    #[test]
    fn only_differences_are_executed() {
        type Rows<'a> = &'a [(&'a str, i64)];
        let cases: [(&[&str], Rows<'_>); 7] = [
            (&["+a"], &[("a", 1)]),
            (&["+a", "+a", "-a"], &[("a", 1)]),
            (&["+a", "-a"], &[]),
            (&["-a", "+a"], &[]),
            (&["a>b", "b>c"], &[("a", -1), ("c", 1)]),
            (&["a>b", "a>b"], &[("a", -2), ("b", 2)]),
            (&["a>a"], &[]),
        ];
        for (changes, expected) in cases {
            let expected: Vec<(String, i64)> =
                expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
            assert_eq!(net(changes), expected, "{changes:?}");
        }
    }
}
