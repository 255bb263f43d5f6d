//! What is to be told about single tables: their conflicts, and that one is suspended, renamed or dropped.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use strait_proto::v1::{TableConflicts, TableIssue, TableName};

/// Tables of each kind that are told of.
const TABLES_MAX: usize = 100;

/// The marks of one session.
#[derive(Debug, Default)]
pub(crate) struct TableMarks {
    marks: Mutex<Marks>,
}

#[derive(Debug, Default)]
struct Marks {
    conflicts: BTreeMap<(String, String), TableConflicts>,
    issues: BTreeMap<(String, String), TableIssue>,
}

impl TableMarks {
    /// Takes counts over, each of which replaces the table's last one.
    pub(super) fn count(&self, counts: &[TableConflicts]) {
        if counts.is_empty() {
            return;
        }
        let mut marks = self.lock();
        for count in counts {
            insert(&mut marks.conflicts, count.table.as_ref(), count);
        }
    }

    /// Marks a table; the last mark counts.
    pub(crate) fn mark(&self, issue: &TableIssue) {
        insert(&mut self.lock().issues, issue.table.as_ref(), issue);
    }

    /// Takes the mark of a table away.
    pub(super) fn clear(&self, table: &TableName) {
        self.lock().issues.remove(&(table.schema.clone(), table.name.clone()));
    }

    pub(super) fn conflicts(&self) -> Vec<TableConflicts> {
        self.lock().conflicts.values().cloned().collect()
    }

    pub(super) fn issues(&self) -> Vec<TableIssue> {
        self.lock().issues.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        // Each insertion is whole.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert<T: Clone>(marks: &mut BTreeMap<(String, String), T>, table: Option<&TableName>, mark: &T) {
    let table = table.cloned().unwrap_or_default();
    let key = (table.schema, table.name);
    if marks.len() < TABLES_MAX || marks.contains_key(&key) {
        marks.insert(key, mark.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_count_of_a_table_counts_and_tables_are_bounded() {
        let marks = TableMarks::default();
        let count = |name: &str, conflicts| TableConflicts {
            table: Some(TableName::new("public", name)),
            conflicts,
            not_applied: 0,
        };
        marks.count(&[count("a", 1), count("b", 1)]);
        marks.count(&[count("a", 3)]);
        assert_eq!(marks.conflicts(), [count("a", 3), count("b", 1)]);
        let many: Vec<_> = (0..2 * TABLES_MAX).map(|number| count(&format!("t{number}"), 1)).collect();
        marks.count(&many);
        assert_eq!(marks.conflicts().len(), TABLES_MAX);
    }
}
