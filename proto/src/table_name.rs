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
}

/// For people: `schema.name` without quotes. SQL quotes for itself.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}
