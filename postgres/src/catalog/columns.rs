//! The columns of the tables taken.

use std::collections::HashMap;

use strait_proto::v1;
use tokio_postgres::Row;

use super::inventory::Inventory;
use super::relations::Relations;
use super::snapshot::Snapshot;
use super::{Skipped, sequence_options, text};
use crate::Error;

pub(super) async fn read(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    relations: &Relations,
    skipped: &mut Skipped,
) -> Result<HashMap<u32, Vec<v1::Column>>, Error> {
    let mut columns: HashMap<u32, Vec<v1::Column>> = HashMap::new();
    for row in snapshot.query_of(include_str!("sql/columns.sql"), &relations.order).await? {
        let relation: u32 = row.try_get("relation")?;
        let column = column(&row)?;
        // A partition gets it from its parent.
        let is_kept = relations.tables[&relation].partition_of.is_some();
        if !is_kept && column.identity.is_none() && !row.try_get::<_, String>("identity")?.is_empty() {
            let table = &inventory.relations[&relation].name;
            let reason =
                "the identity of a partition is its parent's, which is not selected: created without";
            skipped.push("identity column", &table.schema, format!("{}.{}", table.name, column.name), reason);
        }
        columns.entry(relation).or_default().push(column);
    }
    Ok(columns)
}

fn column(row: &Row) -> Result<v1::Column, Error> {
    let expression = text(row, "expression")?;
    let generated = row.try_get::<_, String>("generated")?;
    let (default_expression, generated) = match &*generated {
        "" => (expression, None),
        kind => (String::new(), Some(v1::GeneratedColumn { r#virtual: kind == "v", expression })),
    };
    Ok(v1::Column {
        name: row.try_get("name")?,
        type_name: row.try_get("type_name")?,
        not_null: row.try_get("not_null")? && !row.try_get::<_, bool>("not_null_partial")?,
        default_expression,
        identity: identity(row)?,
        generated,
        collation: text(row, "collation")?,
        settings: row.try_get("settings")?,
        local: row.try_get("local")?,
    })
}

fn identity(row: &Row) -> Result<Option<v1::IdentityColumn>, Error> {
    let Some(sequence_name) = row.try_get("sequence_name")? else { return Ok(None) };
    Ok(Some(v1::IdentityColumn {
        always: row.try_get::<_, String>("identity")? == "a",
        sequence_schema: row.try_get("sequence_schema")?,
        sequence_name,
        options: Some(sequence_options(row)?),
    }))
}
