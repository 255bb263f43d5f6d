//! Chooses the tables of a task. Pure: everything it needs is in the inventory.
//!
//! Where partitioned tables are flattened, a partition is never a table of its own where a table above it was
//! asked for. Where they keep their structure, every partition of a table that was asked for is a table as well, with its place.
//! Where none was asked for, the partition that was asked for is treated as what it is by itself: a plain
//! table, or the root of its own tree. Excluding a partitioned table excludes its partitions.

use std::collections::BTreeMap;

use super::Skipped;
use super::inventory::{Inventory, Relation, RelationKind};
use super::order::dependency_order;
use super::selection::Selection;
use super::types::Types;

const UNLOGGED: &str = "an unlogged table has no WAL: its changes cannot be followed";

/// The tables taken.
#[derive(Default)]
pub(super) struct Relations {
    /// Oids in the order of creation.
    pub(super) order: Vec<u32>,
    pub(super) tables: BTreeMap<u32, TakenTable>,
    /// The flattened table of each leaf, by the leaf's oid.
    pub(super) leaf_of: BTreeMap<u32, u32>,
}

/// One table to be.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct TakenTable {
    /// In the order of their names; empty unless it is partitioned.
    pub(super) leaves: Vec<u32>,
    /// Parents of plain inheritance that are taken too, in order.
    pub(super) inherits: Vec<u32>,
    /// The structure of the partitioned table is kept.
    pub(super) keeps_partitions: bool,
    /// The table that it is a partition of, where that one keeps its structure.
    pub(super) partition_of: Option<u32>,
}

impl Relations {
    /// The tables and their leaves.
    pub(super) fn all(&self) -> Vec<u32> {
        self.tables.keys().chain(self.leaf_of.keys()).copied().collect()
    }

    /// Takes a table with its partitions, each as a table.
    fn keep(&mut self, inventory: &Inventory, root: &Relation, partitions: &[&Relation]) {
        let taken = |it: &Relation| TakenTable {
            keeps_partitions: it.kind == RelationKind::Partitioned,
            ..TakenTable::default()
        };
        self.tables.insert(root.oid, taken(root));
        for partition in partitions {
            let partition_of = inventory.parents_of(partition.oid).first().copied();
            self.tables.insert(partition.oid, TakenTable { partition_of, ..taken(partition) });
        }
    }
}

pub(super) fn choose(
    inventory: &Inventory,
    selection: &Selection,
    types: &Types,
    skipped: &mut Skipped,
) -> Relations {
    let mut relations = Relations::default();
    let mut by_name: Vec<&Relation> = inventory.relations.values().collect();
    by_name.sort_by(|one, other| {
        (&one.name.schema, &one.name.name).cmp(&(&other.name.schema, &other.name.name))
    });

    for relation in &by_name {
        if is_taken(inventory, selection, relation, skipped) {
            let partitions = partitions(inventory, selection, relation, skipped);
            if selection.keeps_partitions() {
                relations.keep(inventory, relation, &partitions);
            } else {
                let leaves = partitions.into_iter().filter(|it| it.kind == RelationKind::Table);
                let leaves: Vec<u32> = leaves.map(|leaf| leaf.oid).collect();
                relations.leaf_of.extend(leaves.iter().map(|leaf| (*leaf, relation.oid)));
                relations.tables.insert(relation.oid, TakenTable { leaves, ..TakenTable::default() });
            }
        }
    }
    inherit(inventory, &mut relations, skipped);
    note_missing(inventory, selection, skipped);

    let names: Vec<u32> =
        by_name.iter().map(|it| it.oid).filter(|oid| relations.tables.contains_key(oid)).collect();
    let by_row_type: BTreeMap<u32, u32> =
        by_name.iter().map(|relation| (relation.row_type, relation.oid)).collect();
    relations.order = dependency_order(&names, |oid| {
        let row_type = inventory.relations[&oid].row_type;
        let by_column = types.closure([row_type]).into_iter().filter(|it| *it != row_type);
        let by_column = by_column.filter_map(|needed| by_row_type.get(&needed).copied());
        let table = &relations.tables[&oid];
        by_column.chain(table.inherits.iter().copied()).chain(table.partition_of).collect()
    });
    relations
}

fn is_taken(
    inventory: &Inventory,
    selection: &Selection,
    relation: &Relation,
    skipped: &mut Skipped,
) -> bool {
    let name = &relation.name;
    if relation.extension.is_some()
        || relation.kind == RelationKind::Foreign
        || inventory.is_extension_schema(&name.schema)
        || !selection.table(&name.schema, &name.name)
    {
        return false;
    }
    let ancestors = inventory.ancestors_of(relation);
    let above = |decides: fn(&Selection, &str, &str) -> bool| {
        ancestors.iter().any(|it| decides(selection, &it.name.schema, &it.name.name))
    };
    // One that is being detached stands for itself where its tree keeps its structure.
    let is_leaving = relation.detaching && selection.keeps_partitions();
    if !is_leaving && (above(Selection::table) || above(Selection::excludes)) {
        return false;
    }
    if relation.unlogged {
        skipped.push("table", &name.schema, &name.name, UNLOGGED);
        return false;
    }
    if relation.is_partition && !is_leaving {
        note_partition_alone(relation, &ancestors, skipped);
    }
    if let Some(of_type) = &relation.of_type {
        let reason =
            format!("typed table of {of_type}: created with the same columns, without the tie to the type");
        skipped.push("typed table", &name.schema, &name.name, reason);
    }
    true
}

fn note_partition_alone(relation: &Relation, ancestors: &[&Relation], skipped: &mut Skipped) {
    let above = ancestors.first().map_or_else(String::new, |it| it.name.to_string());
    let reason = format!("{above} is not selected: its partition becomes a table of its own");
    skipped.push("partition", &relation.name.schema, &relation.name.name, reason);
}

/// Every partition below a partitioned table that can be followed, those that have partitions themselves included, in the order
/// of their names.
fn partitions<'a>(
    inventory: &'a Inventory,
    selection: &Selection,
    root: &Relation,
    skipped: &mut Skipped,
) -> Vec<&'a Relation> {
    let mut partitions: Vec<&Relation> = Vec::new();
    let mut pending: Vec<u32> = vec![root.oid];
    pending.retain(|_| root.kind == RelationKind::Partitioned);
    while let Some(above) = pending.pop() {
        for child in inventory.children_of(above).iter().filter_map(|oid| inventory.relations.get(oid)) {
            let name = &child.name;
            let left_out = if selection.excludes(&name.schema, &name.name) {
                Some("excluded by the selection")
            } else if child.detaching {
                if selection.keeps_partitions() {
                    // A table of its own, if it was asked for.
                    continue;
                }
                Some("it is being detached")
            } else if child.kind == RelationKind::Foreign {
                Some("its rows are not in this database")
            } else if child.unlogged && child.kind == RelationKind::Table {
                Some(UNLOGGED)
            } else {
                None
            };
            match (left_out, child.kind) {
                (Some(reason), _) => {
                    let reason = format!("partition of {}, its rows stay behind: {reason}", root.name);
                    skipped.push("partition", &name.schema, &name.name, reason);
                }
                (None, kind) => {
                    partitions.push(child);
                    if kind == RelationKind::Partitioned {
                        pending.push(child.oid);
                    }
                }
            }
        }
    }
    partitions.sort_by(|one, other| {
        (&one.name.schema, &one.name.name).cmp(&(&other.name.schema, &other.name.name))
    });
    partitions
}

/// Plain inheritance: kept among the tables taken, said where it is cut.
fn inherit(inventory: &Inventory, relations: &mut Relations, skipped: &mut Skipped) {
    let taken: Vec<u32> = relations.tables.keys().copied().collect();
    for oid in taken {
        let relation = &inventory.relations[&oid];
        if !relation.is_partition {
            for parent in inventory.parents_of(oid) {
                if relations.tables.contains_key(parent) {
                    relations.tables.entry(oid).or_default().inherits.push(*parent);
                } else if let Some(parent) = inventory.relations.get(parent) {
                    let reason =
                        format!("inherits from {}, which is not taken: created without it", parent.name);
                    let name = format!("{} INHERITS {}", relation.name.name, parent.name);
                    skipped.push("inheritance", &relation.name.schema, name, reason);
                }
            }
        }
        if relation.kind == RelationKind::Table {
            for child in inventory.children_of(oid).iter().filter(|it| !relations.tables.contains_key(it)) {
                if let Some(child) = inventory.relations.get(child) {
                    let reason =
                        format!("not taken: its rows will be missing where {} is read", relation.name);
                    let name = format!("{} INHERITS {}", child.name.name, relation.name);
                    skipped.push("inheritance", &child.name.schema, name, reason);
                }
            }
        }
    }
}

/// What was asked for by its exact name and is not there.
fn note_missing(inventory: &Inventory, selection: &Selection, skipped: &mut Skipped) {
    for (schema, table) in selection.exact_includes() {
        match table {
            None => match inventory.schemas.iter().find(|it| it.name == schema) {
                Some(found) => {
                    if let Some(extension) = &found.extension {
                        skipped.push(
                            "schema",
                            "",
                            schema,
                            format!("it belongs to the extension {extension}"),
                        );
                    }
                }
                None => skipped.push("schema", "", schema, "there is no such schema that can be taken"),
            },
            Some(table) => {
                let named = |it: &&Relation| it.name.schema == schema && it.name.name == table;
                match inventory.relations.values().find(named) {
                    None => skipped.push("table", schema, table, "there is no such table that can be taken"),
                    Some(found) if found.kind == RelationKind::Foreign => {
                        skipped.push("foreign table", schema, table, "its rows are not in this database");
                    }
                    Some(found) => {
                        let schema_extension =
                            || inventory.schemas.iter().find(|it| it.name == schema)?.extension.as_ref();
                        if let Some(extension) = found.extension.as_ref().or_else(schema_extension) {
                            let reason = format!("it belongs to the extension {extension}");
                            skipped.push("table", schema, table, reason);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_proto::v1;

    use super::super::inventory::Schema;
    use super::*;

    const TREE: &[(u32, &str, &str, u32)] = &[
        // Oid, kind and flags as in pg_class, name, parent.
        (1, "p", "orders", 0),
        (2, "p", "orders_eu", 1),
        (3, "r", "orders_eu_2024", 2),
        (4, "r", "orders_eu_2023", 2),
        (5, "r", "orders_us", 1),
        (6, "u", "orders_unlogged", 1),
        (7, "f", "orders_foreign", 1),
        (8, "d", "orders_detaching", 1),
        (10, "r", "z_parent", 0),
        (11, "r", "child", 10),
        (12, "u", "unlogged", 0),
        (13, "f", "foreign", 0),
        (14, "e", "of_extension", 0),
    ];

    fn inventory() -> Inventory {
        let mut inventory = Inventory::default();
        inventory.schemas.push(Schema { oid: 99, name: "s".into(), extension: None });
        for (oid, kind, name, parent) in TREE {
            let relation = Relation {
                oid: *oid,
                name: v1::TableName::new("s", *name),
                row_type: 1000 + oid,
                kind: match *kind {
                    "p" => RelationKind::Partitioned,
                    "f" => RelationKind::Foreign,
                    _ => RelationKind::Table,
                },
                unlogged: *kind == "u",
                is_partition: (1..10).contains(parent),
                detaching: *kind == "d",
                replica_identity: v1::ReplicaIdentity::PrimaryKey,
                estimated_rows: 0,
                of_type: None,
                extension: (*kind == "e").then(|| "ext".to_owned()),
                storage_parameters: Vec::new(),
            };
            inventory.relations.insert(*oid, relation);
            if *parent != 0 {
                inventory.parents.entry(*oid).or_default().push(*parent);
                inventory.children.entry(*parent).or_default().push(*oid);
            }
        }
        inventory
    }

    fn chosen(include: &[&str], exclude: &[&str]) -> (Relations, Vec<String>) {
        chosen_with(v1::Partitions::Flatten, include, exclude)
    }

    fn chosen_with(
        partitions: v1::Partitions,
        include: &[&str],
        exclude: &[&str],
    ) -> (Relations, Vec<String>) {
        let patterns = |names: &[&str]| {
            let pattern =
                |name: &&str| v1::ObjectPattern { schema: "s".into(), table: (*name).into(), options: None };
            names.iter().map(pattern).collect()
        };
        let selection = v1::ObjectSelection {
            include: patterns(include),
            exclude: patterns(exclude),
            partitions: partitions.into(),
            ..Default::default()
        };
        let mut skipped = Skipped::default();
        let relations = choose(&inventory(), &Selection::new(&selection), &Types::default(), &mut skipped);
        let skipped =
            skipped.entries.into_iter().map(|it| format!("{} {}", it.object_kind, it.name)).collect();
        (relations, skipped)
    }

    fn leaves(relations: &Relations, oid: u32) -> &[u32] {
        &relations.tables[&oid].leaves
    }

    #[test]
    fn a_whole_schema_is_flattened_and_what_cannot_be_followed_is_told() {
        let (relations, skipped) = chosen(&[""], &[]);
        assert_eq!(relations.order, [1, 10, 11], "parents come before their children");
        assert_eq!(leaves(&relations, 1), [4, 3, 5], "in the order of their names");
        assert_eq!(relations.tables[&11].inherits, [10]);
        let expected = [
            "partition orders_detaching",
            "partition orders_foreign",
            "partition orders_unlogged",
            "table unlogged",
        ];
        let mut skipped = skipped;
        skipped.sort();
        assert_eq!(skipped, expected);
    }

    #[test]
    fn a_partition_is_a_table_of_its_own_only_where_nothing_above_it_is_taken() {
        for (include, exclude, expected) in [
            (&["orders_eu_2023"][..], &[][..], &[(4, &[][..])][..]),
            (&["orders_eu*"], &[], &[(2, &[4, 3])]),
            (&["orders*"], &[], &[(1, &[4, 3, 5])]),
            (&["orders", "orders_us"], &[], &[(1, &[4, 3, 5])]),
            (&["orders"], &["orders_eu_2023"], &[(1, &[3, 5])]),
            (&["orders"], &["orders_eu"], &[(1, &[5])]),
            (&["orders*"], &["orders"], &[]),
            (&["orders*"], &["orders", "orders_eu"], &[]),
        ] {
            let (relations, _) = chosen(include, exclude);
            let tables: Vec<_> = relations.tables.iter().map(|(oid, it)| (*oid, &it.leaves[..])).collect();
            assert_eq!(tables, expected, "include {include:?}, exclude {exclude:?}");
        }
    }

    #[test]
    fn partitions_that_are_kept_are_tables_with_their_places() {
        let kept = |include: &[&str], exclude: &[&str]| {
            let (relations, _) = chosen_with(v1::Partitions::Preserve, include, exclude);
            assert!(relations.leaf_of.is_empty());
            let place = |oid: &u32| (*oid, relations.tables[oid].partition_of.unwrap_or_default());
            let places: Vec<_> = relations.order.iter().map(place).collect();
            let parents = relations.tables.iter().filter(|(_, table)| table.keeps_partitions);
            (places, parents.map(|(oid, _)| *oid).collect::<Vec<_>>())
        };
        let (mut places, parents) = kept(&["orders*"], &[]);
        let at = |oid| places.iter().position(|(other, _)| *other == oid);
        assert!(at(1) < at(2) && at(2) < at(3), "parents come before their partitions");
        places.sort_unstable();
        // What is being detached stands for itself.
        assert_eq!(places, [(1, 0), (2, 1), (3, 2), (4, 2), (5, 1), (8, 0)]);
        assert_eq!(parents, [1, 2]);
        assert_eq!(kept(&["orders"], &["orders_eu"]).0, [(1, 0), (5, 1)]);
        assert_eq!(kept(&["orders_eu"], &[]).0, [(2, 0), (4, 2), (3, 2)]);
        assert_eq!(kept(&["orders_eu_2023"], &[]).0, [(4, 0)]);
    }

    #[test]
    fn inheritance_that_is_cut_is_told() {
        let (relations, skipped) = chosen(&["child"], &[]);
        assert_eq!(relations.tables[&11], TakenTable::default());
        assert_eq!(skipped, ["inheritance child INHERITS s.z_parent"]);
        let (_, skipped) = chosen(&["z_parent"], &[]);
        assert_eq!(skipped, ["inheritance child INHERITS s.z_parent"]);
    }

    #[test]
    fn names_that_are_not_there_are_told() {
        let (relations, skipped) = chosen(&["nope", "foreign", "of_extension", "no*pe"], &[]);
        assert_eq!(relations.order, [0; 0]);
        assert_eq!(skipped, ["table nope", "foreign table foreign", "table of_extension"]);
    }
}
