//! One change of the stream, matched to its table and checked: what is left can only fail at the server.

use std::sync::Arc;

use strait_proto::Lsn;
use strait_proto::v1::{ReplicaIdentity, RowChange, RowOperation, TableName};

use super::relation::{LookupBy, Relation};
use super::suspension::Suspension;
use super::tuple::Tuple;
use crate::error::Error;

/// A step of a transaction.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Row(Change),
    Truncate(Truncation),
    /// The changes of a table are left out from here on.
    Suspend(Suspension),
}

/// A change of one row.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) relation: Arc<Relation>,
    pub(crate) kind: ChangeKind,
    pub(crate) commit_lsn: Lsn,
}

#[derive(Debug, Clone)]
pub(crate) enum ChangeKind {
    Insert {
        new: Tuple,
    },
    /// `old` finds the row; it is `new` itself where nothing that identifies the row has changed.
    Update {
        old: Option<Tuple>,
        new: Tuple,
    },
    Delete {
        old: Tuple,
    },
}

/// Tables emptied by one TRUNCATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Truncation {
    pub(crate) tables: Vec<TableName>,
    /// The rows of a table that meet a condition, where a leaf of a flattened table was truncated.
    pub(crate) conditions: Vec<(TableName, String)>,
    pub(crate) restart_identity: bool,
}

impl Change {
    /// Checks a row change of the wire.
    pub(crate) fn new(relation: &Arc<Relation>, row: RowChange, commit_lsn: Lsn) -> Result<Self, Error> {
        let kind = Builder { relation }.kind(row)?;
        Ok(Self { relation: Arc::clone(relation), kind, commit_lsn })
    }

    /// The tuple that names the row to be found.
    pub(crate) fn found_by(&self) -> &Tuple {
        match &self.kind {
            ChangeKind::Insert { new } | ChangeKind::Update { old: None, new } => new,
            ChangeKind::Update { old: Some(old), .. } | ChangeKind::Delete { old } => old,
        }
    }

    /// The length of its larger tuple, in bytes.
    pub(crate) fn tuple_bytes_max(&self) -> usize {
        match &self.kind {
            ChangeKind::Insert { new } | ChangeKind::Update { old: None, new } => new.bytes_len(),
            ChangeKind::Update { old: Some(old), new } => old.bytes_len().max(new.bytes_len()),
            ChangeKind::Delete { old } => old.bytes_len(),
        }
    }

    /// What the source did, as conflicts and errors name it.
    pub(crate) fn operation(&self) -> &'static str {
        match self.kind {
            ChangeKind::Insert { .. } => "insert",
            ChangeKind::Update { .. } => "update",
            ChangeKind::Delete { .. } => "delete",
        }
    }
}

struct Builder<'a> {
    relation: &'a Arc<Relation>,
}

impl Builder<'_> {
    fn kind(&self, row: RowChange) -> Result<ChangeKind, Error> {
        match row.operation() {
            RowOperation::Insert => {
                let new = self.tuple(row.new_tuple)?;
                if !new.is_complete() {
                    return Err(self.wrong("an insert lacks a value"));
                }
                self.check_key(&new)?;
                Ok(ChangeKind::Insert { new })
            }
            RowOperation::Update => {
                let new = self.tuple(row.new_tuple)?;
                let old = if row.old_tuple.is_empty() { None } else { Some(self.tuple(row.old_tuple)?) };
                self.update(old, row.old_is_full, new)
            }
            RowOperation::Delete => {
                let old = self.tuple(row.old_tuple)?;
                self.check_old(&old, row.old_is_full)?;
                Ok(ChangeKind::Delete { old })
            }
            RowOperation::Unspecified => Err(self.wrong("a change without an operation")),
        }
    }

    fn update(&self, old: Option<Tuple>, old_is_full: bool, new: Tuple) -> Result<ChangeKind, Error> {
        let relation = self.relation;
        let whole_row = relation.lookup.by == LookupBy::WholeRow;
        let Some(old) = old else {
            if whole_row || relation.identity == ReplicaIdentity::Full {
                return Err(self.wrong("an update without the old row of a table without a key"));
            }
            self.check_key(&new)?;
            return Ok(ChangeKind::Update { old: None, new });
        };
        self.check_old(&old, old_is_full)?;
        // A key that lies in TOAST is sent in the old tuple alone; a row without a key is compared as a
        // whole.
        let new = new.over(&old, |position| whole_row || relation.key_part(position).is_some());
        if whole_row {
            if !new.is_complete() {
                return Err(self.wrong("an update lacks a value"));
            }
            return Ok(ChangeKind::Update { old: Some(old), new });
        }
        let moved = relation.key(&old)? != relation.key(&new)?;
        Ok(ChangeKind::Update { old: moved.then_some(old), new })
    }

    fn tuple(&self, bytes: bytes::Bytes) -> Result<Tuple, Error> {
        Tuple::new(bytes, self.relation.column_count).map_err(|error| self.wrong(&error.to_string()))
    }

    fn check_old(&self, old: &Tuple, old_is_full: bool) -> Result<(), Error> {
        let full_needed = matches!(self.relation.identity, ReplicaIdentity::Full | ReplicaIdentity::None)
            || self.relation.lookup.by == LookupBy::WholeRow;
        if full_needed && !(old_is_full && old.is_complete()) {
            return Err(self.wrong("a change without the whole old row of a table without a key"));
        }
        self.check_key(old)
    }

    fn check_key(&self, tuple: &Tuple) -> Result<(), Error> {
        if self.relation.lookup.by != LookupBy::WholeRow {
            self.relation.key(tuple)?;
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> Error {
        Error::protocol(format!("table {}: {what}", self.relation.target.name))
    }
}
