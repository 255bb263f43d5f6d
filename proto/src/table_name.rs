//! Table names as people read them.

use std::fmt;

use crate::v1::{Table, TableName};

impl TableName {
    /// A name from its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl Table {
    /// Its name.
    pub fn table_name(&self) -> TableName {
        TableName::new(&*self.schema, &*self.name)
    }

    /// Whether it is a partitioned table that becomes one table, with the rows of its leaves.
    pub fn is_flattened(&self) -> bool {
        self.partitioned && !self.is_structure()
    }

    /// Whether it is a partitioned table that keeps its structure: it has no rows, its partitions are tables themselves.
    pub fn is_structure(&self) -> bool {
        !self.partition_key.is_empty()
    }

    /// The table that it is a partition of, where that one keeps its structure.
    pub fn partition_parent(&self) -> Option<&TableName> {
        self.partition_of.as_ref()?.parent.as_ref()
    }
}

/// For people: `schema.name` without quotes. SQL quotes for itself.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}
