//! How many conflicts were met, by table and kind.

use hashbrown::HashMap;
use strait_proto::v1::TableName;

use crate::store::{Conflict, ConflictReason};

/// A kind of conflict of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) table: TableName,
    /// insert, update or delete: what the source did.
    pub(crate) operation: &'static str,
    pub(crate) reason: ConflictReason,
}

/// The conflicts of a batch. As many entries as there are kinds, whatever the number of conflicts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    kinds: HashMap<Kind, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, conflict: &Conflict) {
        let Conflict { table, operation, reason, .. } = conflict;
        let kind = Kind { table: table.clone(), operation, reason: *reason };
        *self.kinds.entry(kind).or_default() += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&Kind, u64)> {
        self.kinds.iter().map(|(kind, count)| (kind, *count))
    }
}
