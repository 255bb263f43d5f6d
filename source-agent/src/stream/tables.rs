//! The task's tables as the stream needs them: which relation belongs to which.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use strait_proto::v1::CopyPhase;
use strait_proto::{Lsn, v1};

use crate::capture::record::LeafRecord;
use crate::choices::{Carried, Operations};
use crate::mapping::{Mapped, TableMap};
use crate::rows::{Filter, RowRules};
use crate::transform::TransformText;

/// A table of the task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SyncedTable {
    pub(super) table_id: u32,
    /// Its name at the destination. None where that is not known: its changes come with the source's name then.
    pub(super) name: Option<v1::TableName>,
    /// Its changes count if and only if their commit_lsn is at or past this.
    pub(super) begin_lsn: Lsn,
    /// What becomes of its columns; None where the source does not have the table any more.
    pub(super) map: Option<TableMap>,
    /// Non-empty for a flattened table: every leaf known, those that went included.
    pub(super) leaves: Vec<LeafRecord>,
    /// Those that are sent.
    pub(super) operations: Operations,
}

/// All tables of the task.
#[derive(Debug, Default)]
pub(super) struct TableSet {
    tables: BTreeMap<u32, SyncedTable>,
    leaf_of: HashMap<u32, u32>,
    rules: RowRules,
}

impl TableSet {
    pub(super) fn new(tables: impl IntoIterator<Item = SyncedTable>) -> Self {
        let mut set = Self::default();
        for table in tables {
            set.leaf_of.extend(table.leaves.iter().map(|leaf| (leaf.relation_id, table.table_id)));
            set.tables.insert(table.table_id, table);
        }
        set
    }

    /// The tables that the destination has begun.
    pub(super) fn begun(
        states: &[v1::TableState],
        mapped: &Mapped,
        leaves: &BTreeMap<u32, Vec<LeafRecord>>,
        rules: RowRules,
        carried: &Carried,
    ) -> Self {
        let names: HashMap<u32, v1::TableName> =
            mapped.model.tables.iter().map(|table| (table.table_id, table.table_name())).collect();
        let mut set = Self::new(states.iter().map(|state| {
            let map = mapped.table(state.table_id).cloned();
            SyncedTable {
                table_id: state.table_id,
                // As the destination calls it, whatever has become of its name since.
                name: state.table.clone().or_else(|| names.get(&state.table_id).cloned()),
                begin_lsn: match state.phase() {
                    // Its changes do not count until it has begun over, and are not sent.
                    CopyPhase::Suspended | CopyPhase::Copying => Lsn(u64::MAX),
                    _ => Lsn(state.begin_lsn),
                },
                leaves: leaves.get(&state.table_id).cloned().unwrap_or_default(),
                operations: map
                    .as_ref()
                    .map_or_else(|| carried.by_task(), |map| carried.by_table(&map.options())),
                map,
            }
        }));
        set.rules = rules;
        set
    }

    /// The condition on a table's rows, if there is one.
    pub(super) fn filter(&self, table_id: u32) -> Option<Arc<Filter>> {
        self.rules.filter(table_id).cloned()
    }

    /// The rules for a table's rows, if there are any.
    pub(super) fn transform(&self, table_id: u32) -> Option<Arc<TransformText>> {
        self.rules.transform(table_id).cloned()
    }

    /// The table that a relation is, or is a leaf of.
    pub(super) fn of_relation(&self, relation_id: u32) -> Option<&SyncedTable> {
        let table_id = self.leaf_of.get(&relation_id).unwrap_or(&relation_id);
        self.tables.get(table_id)
    }

    /// A new leaf of a flattened table.
    pub(super) fn adopt(&mut self, table_id: u32, leaf: LeafRecord) {
        if let Some(table) = self.tables.get_mut(&table_id) {
            self.leaf_of.insert(leaf.relation_id, table_id);
            table.leaves.push(leaf);
        }
    }
}
