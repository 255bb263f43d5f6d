//! The sequences that stand for themselves, belong to a column of a table taken, or are called by what is taken.

use std::collections::BTreeSet;

use strait_proto::v1;

use super::dependencies::Node;
use super::inventory::Inventory;
use super::relations::Relations;
use super::selection::Selection;
use super::snapshot::Snapshot;
use super::{sequence_options, text};
use crate::Error;

pub(super) async fn read(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    selection: &Selection,
    relations: &Relations,
    types_taken: &[u32],
    needed: &BTreeSet<Node>,
) -> Result<Vec<(u32, v1::Sequence)>, Error> {
    let mut sequences = Vec::new();
    for row in snapshot.query(include_str!("sql/sequences.sql")).await? {
        let oid: u32 = row.try_get("oid")?;
        let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
        let owner: Option<u32> = row.try_get("owner_table")?;
        let used_by_tables: Vec<u32> = row.try_get("used_by_tables")?;
        let used_by_types: Vec<u32> = row.try_get("used_by_types")?;

        let owner_table = owner.filter(|owner| relations.tables.contains_key(owner));
        let asked_for = owner.is_none()
            && selection.kind("sequence")
            && selection.object(&schema, &name)
            && !inventory.is_extension_schema(&schema);
        let needed = owner_table.is_some()
            || needed.contains(&Node::relation(oid))
            || used_by_tables.iter().any(|table| relations.tables.contains_key(table))
            || used_by_types.iter().any(|needed_by| types_taken.contains(needed_by));
        if asked_for || needed {
            let sequence = v1::Sequence {
                schema,
                name,
                options: Some(sequence_options(&row)?),
                owner_table: owner_table.map(|owner| inventory.relations[&owner].name.clone()),
                owner_column: if owner_table.is_some() { text(&row, "owner_column")? } else { String::new() },
                creation_order: 0,
            };
            sequences.push((oid, sequence));
        }
    }
    Ok(sequences)
}
