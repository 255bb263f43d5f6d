//! What the selection covers and the model does not carry.

use tokio_postgres::Row;

use super::Skipped;
use super::inventory::Inventory;
use super::relations::Relations;
use super::selection::Selection;
use super::snapshot::Snapshot;
use crate::Error;

pub(super) async fn read(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    selection: &Selection,
    relations: &Relations,
    skipped: &mut Skipped,
) -> Result<(), Error> {
    let schemas: Vec<u32> = inventory.whole_schemas(selection).map(|schema| schema.oid).collect();
    for row in snapshot.query_of(include_str!("sql/skipped_in_schemas.sql"), &schemas).await? {
        let entry = Entry::read(&row)?;
        // Overloads and argument lists aside, a name that was excluded was not asked for.
        let name = entry.name.split('(').next().unwrap_or_default();
        if !selection.excludes(&entry.schema, name) {
            entry.note(skipped);
        }
    }
    for row in snapshot.query_of(include_str!("sql/skipped_of_tables.sql"), &relations.all()).await? {
        Entry::read(&row)?.note(skipped);
    }
    let leaves: Vec<u32> = relations.leaf_of.keys().copied().collect();
    for row in snapshot.query_of(include_str!("sql/skipped_of_leaves.sql"), &leaves).await? {
        Entry::read(&row)?.note(skipped);
    }
    for row in snapshot.query(include_str!("sql/skipped_in_database.sql")).await? {
        Entry::read(&row)?.note(skipped);
    }
    let owner =
        "every object belongs to the account that the destination is written with; grants are not carried";
    skipped.push("owner", "", "", owner);
    Ok(())
}

struct Entry {
    kind: String,
    schema: String,
    name: String,
    reason: String,
}

impl Entry {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            kind: row.try_get("kind")?,
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            reason: row.try_get("reason")?,
        })
    }

    fn note(self, skipped: &mut Skipped) {
        skipped.push(&self.kind, &self.schema, self.name, self.reason);
    }
}
