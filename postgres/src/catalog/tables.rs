//! Puts the tables of the model together.

use std::collections::HashMap;

use strait_proto::v1;

use super::inventory::{Inventory, Relation, RelationKind};
use super::relations::{Relations, TakenTable};
use super::selection::Selection;
use super::snapshot::Snapshot;
use super::{Skipped, columns, constraints, greenplum, indexes, text};
use crate::Error;

pub(super) async fn read(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    relations: &Relations,
    selection: &Selection,
    skipped: &mut Skipped,
) -> Result<Vec<v1::Table>, Error> {
    let mut columns = columns::read(snapshot, inventory, relations, skipped).await?;
    let mut constraints = constraints::read(snapshot, inventory, relations, skipped).await?;
    let mut indexes = indexes::read(snapshot, inventory, relations, selection, skipped).await?;
    let leaves = Leaves::read(snapshot, inventory, relations).await?;
    let mut partitions = partitions(snapshot, inventory, relations).await?;
    let mut family = greenplum::read(snapshot, relations).await?;

    let assemble = |oid: &u32| {
        let relation = &inventory.relations[oid];
        let taken = &relations.tables[oid];
        let (size_bytes, estimated_rows) = leaves.extent(relation, taken);
        v1::Table {
            table_id: *oid,
            schema: relation.name.schema.clone(),
            name: relation.name.name.clone(),
            columns: columns.remove(oid).unwrap_or_default(),
            constraints: constraints.remove(oid).unwrap_or_default(),
            indexes: indexes.remove(oid).unwrap_or_default(),
            leaves: taken.leaves.iter().map(|leaf| leaves.leaf(*leaf)).collect(),
            partitioned: relation.kind == RelationKind::Partitioned,
            inherits: taken.inherits.iter().map(|parent| inventory.relations[parent].name.clone()).collect(),
            unlogged: relation.unlogged,
            replica_identity: relation.replica_identity.into(),
            size_bytes,
            estimated_rows,
            creation_order: 0,
            storage_parameters: relation.storage_parameters.clone(),
            distribution: family.distribution.remove(oid),
            storage: family.storage.remove(oid).unwrap_or_default(),
            dialect_clauses: String::new(),
            partition_key: partitions.keys.remove(oid).unwrap_or_default(),
            partition_of: partitions.places.remove(oid),
            merged: false,
        }
    };
    Ok(relations.order.iter().map(assemble).collect())
}

/// How the tables that keep their structure are partitioned.
struct Partitions {
    /// By the partitioned table.
    keys: HashMap<u32, String>,
    /// By the partition.
    places: HashMap<u32, v1::PartitionOf>,
}

async fn partitions(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    relations: &Relations,
) -> Result<Partitions, Error> {
    let (mut keys, mut places) = (HashMap::new(), HashMap::new());
    let kept = relations.tables.iter().filter(|(_, it)| it.keeps_partitions || it.partition_of.is_some());
    let kept: Vec<u32> = kept.map(|(oid, _)| *oid).collect();
    for row in snapshot.query_of(include_str!("sql/partitions.sql"), &kept).await? {
        let oid: u32 = row.try_get("oid")?;
        let taken = &relations.tables[&oid];
        if taken.keeps_partitions {
            keys.insert(oid, text(&row, "key")?);
        }
        if let Some(parent) = taken.partition_of {
            let parent = Some(inventory.relations[&parent].name.clone());
            places.insert(oid, v1::PartitionOf { parent, bound: text(&row, "bound")? });
        }
    }
    Ok(Partitions { keys, places })
}

/// What the leaves of flattened tables add.
struct Leaves<'a> {
    inventory: &'a Inventory,
    size_bytes: HashMap<u32, u64>,
    bounds: HashMap<u32, String>,
}

impl<'a> Leaves<'a> {
    async fn read(
        snapshot: &Snapshot<'_>,
        inventory: &'a Inventory,
        relations: &Relations,
    ) -> Result<Self, Error> {
        let mut size_bytes = HashMap::new();
        for row in snapshot.query_of(include_str!("sql/sizes.sql"), &relations.all()).await? {
            let bytes = u64::try_from(row.try_get::<_, i64>("size_bytes")?).unwrap_or_default();
            size_bytes.insert(row.try_get("oid")?, bytes);
        }
        let leaves: Vec<u32> = relations.leaf_of.keys().copied().collect();
        let mut bounds = HashMap::new();
        for row in snapshot.query_of(include_str!("sql/partition_bounds.sql"), &leaves).await? {
            bounds.insert(row.try_get("oid")?, portable_bounds(text(&row, "bounds")?));
        }
        Ok(Self { inventory, size_bytes, bounds })
    }

    fn leaf(&self, oid: u32) -> v1::Leaf {
        let relation = &self.inventory.relations[&oid];
        v1::Leaf {
            relation_id: oid,
            schema: relation.name.schema.clone(),
            name: relation.name.name.clone(),
            bounds_expression: self.bounds.get(&oid).cloned().unwrap_or_default(),
            replica_identity: relation.replica_identity.into(),
        }
    }

    /// Bytes and rows of a table, or of all its leaves.
    fn extent(&self, relation: &Relation, taken: &TakenTable) -> (u64, u64) {
        let own = [relation.oid];
        let stored = if relation.kind == RelationKind::Partitioned { &taken.leaves[..] } else { &own[..] };
        stored.iter().fold((0, 0), |(bytes, rows), oid| {
            let size_bytes = self.size_bytes.get(oid).copied().unwrap_or_default();
            (bytes + size_bytes, rows + self.inventory.relations[oid].estimated_rows)
        })
    }
}

/// The bounds as a condition that holds on another server too: the test for hash partitions names the parent
/// by its oid. The only partition of a table, a default one, has no bounds: it takes every row.
fn portable_bounds(bounds: String) -> String {
    if bounds.is_empty() {
        "true".to_owned()
    } else if bounds.contains("satisfies_hash_partition(") {
        String::new()
    } else {
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_portable_or_empty() {
        for (bounds, expected) in [
            ("", "true"),
            ("((id IS NOT NULL) AND (id >= 1))", "((id IS NOT NULL) AND (id >= 1))"),
            ("satisfies_hash_partition('16400'::oid, 2, 0, id)", ""),
            ("((a = 1) AND satisfies_hash_partition('16400'::oid, 2, 0, id))", ""),
        ] {
            assert_eq!(portable_bounds(bounds.to_owned()), expected);
        }
    }
}
