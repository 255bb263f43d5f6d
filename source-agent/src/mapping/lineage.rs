//! Which table each partition belongs to, where partitioned tables keep their structure: what an entry of the task says of a
//! table holds for its partitions as well.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use strait_proto::v1::{SchemaModel, TableName};

/// The table above each partition, by the source's names; grows as models are read. Its copies are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Lineage(Arc<RwLock<HashMap<TableName, TableName>>>);

impl Lineage {
    /// Takes over what a model says. What stands for itself there is no partition any more.
    pub(super) fn learn(&self, model: &SchemaModel) {
        let mut parents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for table in &model.tables {
            let parent = table.partition_of.as_ref().and_then(|place| place.parent.clone());
            match parent {
                Some(parent) => parents.insert(table.table_name(), parent),
                None => parents.remove(&table.table_name()),
            };
        }
    }

    /// The table above a partition.
    pub(super) fn parent_of(&self, table: &TableName) -> Option<TableName> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }
}

impl PartialEq for Lineage {
    fn eq(&self, other: &Self) -> bool {
        let all = |lineage: &Self| lineage.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        Arc::ptr_eq(&self.0, &other.0) || all(self) == all(other)
    }
}
