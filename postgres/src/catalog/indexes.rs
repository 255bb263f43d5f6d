//! The indexes of the tables taken that no constraint owns.

use std::collections::HashMap;

use strait_proto::v1;

use super::inventory::Inventory;
use super::relations::Relations;
use super::selection::Selection;
use super::snapshot::Snapshot;
use super::{Skipped, not_wanted, text};
use crate::Error;

pub(super) async fn read(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    relations: &Relations,
    selection: &Selection,
    skipped: &mut Skipped,
) -> Result<HashMap<u32, Vec<v1::Index>>, Error> {
    let mut unwanted = 0;
    let mut indexes: HashMap<u32, Vec<v1::Index>> = HashMap::new();
    for row in snapshot.query_of(include_str!("sql/indexes.sql"), &relations.all()).await? {
        // NULL: the index was dropped a moment ago.
        let Some(definition) = row.try_get::<_, Option<String>>("definition")? else { continue };
        let relation: u32 = row.try_get("relation")?;
        let name: String = row.try_get("name")?;
        let table = &inventory.relations[&relation].name;
        let mut skip = |reason: &str| {
            skipped.push("index", &table.schema, format!("{}.{name}", table.name), reason);
        };
        if !relations.tables.contains_key(&relation) {
            if !row.try_get::<_, bool>("inherited")? {
                skip("only this partition has it, and the partitions become one table");
            }
        } else if !selection.kind("index") {
            unwanted += 1;
        } else if !row.try_get::<_, bool>("valid")? {
            skip("it is not valid at the source");
        } else if let Some(tail) = definition.strip_prefix(&*row.try_get::<_, String>("head")?) {
            indexes.entry(relation).or_default().push(v1::Index {
                name,
                unique: row.try_get("is_unique")?,
                definition_tail: tail.to_owned(),
                replica_identity: row.try_get("replica_identity")?,
                clustered: row.try_get("clustered")?,
                settings: row.try_get("settings")?,
                part_of: match relations.tables[&relation].partition_of {
                    Some(_) => text(&row, "part_of")?,
                    None => String::new(),
                },
            });
        } else {
            skip("it or its table was renamed while the catalogs were read");
        }
    }
    if unwanted > 0 {
        skipped.push("index", "", "", not_wanted(unwanted));
    }
    Ok(indexes)
}
