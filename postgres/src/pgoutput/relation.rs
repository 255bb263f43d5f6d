//! Relation: `R`, OID, schema, name, replica identity, and of each column: flags, name, type, type modifier.

use super::{Cursor, DecodeError, LogicalMessage};

/// The schema of a relation in `pg_catalog` is sent as an empty string.
const CATALOG_SCHEMA: &str = "pg_catalog";

const COLUMN_IS_KEY: u8 = 1;

/// What a relation looks like from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its OID, by which changes name it.
    pub relation_id: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `pg_class.relreplident`: `d` default, `n` nothing, `f` full, `i` index.
    pub replica_identity: u8,
    /// The published columns, in the order of every tuple. Generated ones are missing.
    pub columns: Vec<RelationColumn>,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationColumn {
    /// Whether it belongs to the replica identity; under FULL every column does.
    pub key: bool,
    /// Its name.
    pub name: String,
    /// OID of its type.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`; -1 where the type has none.
    pub type_modifier: i32,
}

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let relation_id = cursor.u32()?;
    let mut schema = cursor.string()?;
    if schema.is_empty() {
        schema = CATALOG_SCHEMA.to_owned();
    }
    let name = cursor.string()?;
    let replica_identity = cursor.u8()?;
    let count = cursor.u16()?;
    let columns = (0..count).map(|_| column(cursor)).collect::<Result<_, _>>()?;
    Ok(LogicalMessage::Relation(Relation { relation_id, schema, name, replica_identity, columns }))
}

fn column(cursor: &mut Cursor) -> Result<RelationColumn, DecodeError> {
    Ok(RelationColumn {
        key: cursor.u8()? & COLUMN_IS_KEY != 0,
        name: cursor.string()?,
        type_oid: cursor.u32()?,
        type_modifier: cursor.i32()?,
    })
}
