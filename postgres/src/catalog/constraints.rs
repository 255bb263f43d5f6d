//! The constraints of the tables taken.

use std::collections::{HashMap, HashSet};

use strait_proto::v1;
use tokio_postgres::Row;

use super::inventory::Inventory;
use super::relations::Relations;
use super::snapshot::Snapshot;
use super::{Skipped, text};
use crate::Error;

pub(super) async fn read(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    relations: &Relations,
    skipped: &mut Skipped,
) -> Result<HashMap<u32, Vec<v1::Constraint>>, Error> {
    let mut found = Vec::new();
    for row in snapshot.query_of(include_str!("sql/constraints.sql"), &relations.all()).await? {
        found.extend(Found::read(&row)?);
    }
    let inheritable: HashSet<(u32, &str)> =
        found.iter().filter(|it| it.is_inheritable()).map(|it| (it.relation, &*it.name)).collect();

    let mut constraints: HashMap<u32, Vec<v1::Constraint>> = HashMap::new();
    for it in &found {
        let table = &inventory.relations[&it.relation].name;
        let mut skip = |reason: &str| {
            skipped.push("constraint", &table.schema, format!("{}.{}", table.name, it.name), reason);
        };
        let Some(taken) = relations.tables.get(&it.relation) else {
            if !it.inherited {
                skip("only this partition has it, and the partitions become one table");
            }
            continue;
        };
        if it.inherited && it.kind == v1::ConstraintKind::ForeignKey && taken.partition_of.is_some() {
            // Its table's attachment brings it.
            continue;
        }
        if !it.is_local && taken.inherits.iter().any(|parent| inheritable.contains(&(*parent, &*it.name))) {
            // It comes with the parent's.
            continue;
        }
        if !it.index_valid {
            skip("its index is not valid at the source");
            continue;
        }
        let mut references = None;
        if it.kind == v1::ConstraintKind::ForeignKey {
            if !relations.tables.contains_key(&it.references) {
                skip(&outside(inventory, relations, it));
                continue;
            }
            references = Some(inventory.relations[&it.references].name.clone());
        }
        constraints.entry(it.relation).or_default().push(v1::Constraint {
            name: it.name.clone(),
            kind: it.kind.into(),
            definition: it.definition.clone(),
            references,
            deferrable: it.deferrable,
            validated: it.validated,
            clustered: it.clustered,
            part_of: if taken.partition_of.is_some() { it.part_of.clone() } else { String::new() },
        });
    }
    Ok(constraints)
}

/// Why a foreign key cannot point where it points at the source.
fn outside(inventory: &Inventory, relations: &Relations, key: &Found) -> String {
    match relations.leaf_of.get(&key.references) {
        Some(root) => format!(
            "it refers to the partition {}, which becomes part of {}",
            key.references_name, inventory.relations[root].name
        ),
        None => format!("it refers to {}, which is not among the tables taken", key.references_name),
    }
}

struct Found {
    relation: u32,
    name: String,
    kind: v1::ConstraintKind,
    definition: String,
    references: u32,
    references_name: String,
    deferrable: bool,
    validated: bool,
    is_local: bool,
    no_inherit: bool,
    inherited: bool,
    index_valid: bool,
    clustered: bool,
    part_of: String,
}

impl Found {
    /// None: the constraint was dropped a moment ago.
    fn read(row: &Row) -> Result<Option<Self>, Error> {
        let Some(definition) = row.try_get("definition")? else { return Ok(None) };
        let kind = match &*row.try_get::<_, String>("kind")? {
            "p" => v1::ConstraintKind::PrimaryKey,
            "u" => v1::ConstraintKind::Unique,
            "x" => v1::ConstraintKind::Exclusion,
            "f" => v1::ConstraintKind::ForeignKey,
            _ => v1::ConstraintKind::Check,
        };
        Ok(Some(Self {
            relation: row.try_get("relation")?,
            name: row.try_get("name")?,
            kind,
            definition,
            references: row.try_get("references_oid")?,
            references_name: row.try_get("references_name")?,
            deferrable: row.try_get("deferrable")?,
            validated: row.try_get("validated")?,
            is_local: row.try_get("is_local")?,
            no_inherit: row.try_get("no_inherit")?,
            inherited: row.try_get("inherited")?,
            index_valid: row.try_get("index_valid")?,
            clustered: row.try_get("clustered")?,
            part_of: text(row, "part_of")?,
        }))
    }

    /// Whether children of plain inheritance have it as well.
    fn is_inheritable(&self) -> bool {
        self.kind == v1::ConstraintKind::Check && !self.no_inherit
    }
}
