//! User-defined types: which are needed, in which order, and what they look like.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use strait_proto::v1;
use strait_proto::v1::user_type::Definition;
use tokio_postgres::Row;

use super::dependencies::Node;
use super::inventory::Inventory;
use super::order::dependency_order;
use super::relations::Relations;
use super::selection::Selection;
use super::snapshot::Snapshot;
use super::{Skipped, text};
use crate::Error;

/// Every type of the database that can be carried, and what needs which.
#[derive(Default)]
pub(super) struct Types {
    /// By oid, as read.
    found: BTreeMap<u32, Found>,
    /// In the order of their names.
    by_name: Vec<u32>,
    /// Between all types, arrays and tables' row types included.
    needs: HashMap<u32, Vec<u32>>,
}

struct Found {
    definition: v1::UserType,
    /// A range with a canonical function.
    has_canonical: bool,
    /// The multirange type of a range, where it lies in another schema.
    multirange_elsewhere: Option<String>,
}

impl Types {
    pub(super) async fn read(snapshot: &Snapshot<'_>) -> Result<Self, Error> {
        let mut types = Self::default();
        for row in snapshot.query(include_str!("sql/types.sql")).await? {
            let oid = row.try_get("oid")?;
            types.by_name.push(oid);
            let found = Found {
                definition: definition(&row)?,
                has_canonical: row.try_get("has_canonical")?,
                multirange_elsewhere: row.try_get("multirange_elsewhere")?,
            };
            types.found.insert(oid, found);
        }
        for row in snapshot.query(include_str!("sql/type_dependencies.sql")).await? {
            types.needs.entry(row.try_get("type")?).or_default().push(row.try_get("needs")?);
        }
        Ok(types)
    }

    /// The given types and all that they need, directly or not.
    pub(super) fn closure(&self, types: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        let mut closure = BTreeSet::new();
        let mut pending: Vec<u32> = types.into_iter().collect();
        while let Some(next) = pending.pop() {
            if closure.insert(next) {
                pending.extend(self.needs.get(&next).into_iter().flatten());
            }
        }
        closure
    }

    /// The types of whole schemas and those that the tables and other objects need, each after what it uses.
    pub(super) fn choose(
        &self,
        inventory: &Inventory,
        selection: &Selection,
        relations: &Relations,
        needed: &BTreeSet<Node>,
    ) -> Vec<u32> {
        let asked_for = |oid: &&u32| {
            let definition = &self.found[oid].definition;
            selection.kind("type")
                && selection.object(&definition.schema, &definition.name)
                && !inventory.is_extension_schema(&definition.schema)
        };
        let of_schemas = self.by_name.iter().filter(asked_for).copied();
        let of_tables = relations.order.iter().map(|oid| inventory.relations[oid].row_type);
        let of_objects = needed.iter().filter(|node| node.is_type()).map(|node| node.oid);
        let needed = self.closure(of_schemas.chain(of_tables).chain(of_objects));
        let taken: Vec<u32> = self.by_name.iter().copied().filter(|oid| needed.contains(oid)).collect();
        dependency_order(&taken, |oid| self.closure([oid]).into_iter().collect())
    }

    /// The definitions of the types taken, without those that cannot be created.
    pub(super) async fn definitions(
        mut self,
        inventory: &Inventory,
        snapshot: &Snapshot<'_>,
        taken: &[u32],
        relations: &Relations,
        skipped: &mut Skipped,
    ) -> Result<Vec<(u32, v1::UserType)>, Error> {
        self.read_composite_attributes(snapshot, taken).await?;
        self.read_domain_constraints(snapshot, taken, skipped).await?;

        let tables: BTreeMap<u32, &v1::TableName> = inventory
            .relations
            .values()
            .filter(|it| !relations.tables.contains_key(&it.oid))
            .map(|relation| (relation.row_type, &relation.name))
            .collect();
        let mut left_out = BTreeSet::new();
        let mut definitions = Vec::with_capacity(taken.len());
        for oid in taken {
            let found = &self.found[oid];
            let needs = self.closure([*oid]);
            let reason = if found.has_canonical {
                "its canonical function needs a library of the server".to_owned()
            } else if let Some(table) = needs.iter().find_map(|needed| tables.get(needed)) {
                format!("it uses the row type of {table}, which is not taken")
            } else if let Some(lacking) = needs.iter().find(|needed| left_out.contains(*needed)) {
                format!("it uses the type {}, which is not carried", name_of(&self.found[lacking].definition))
            } else {
                definitions.push((*oid, found.definition.clone()));
                note_multirange(found, skipped);
                continue;
            };
            left_out.insert(*oid);
            skipped.push("type", &found.definition.schema, &found.definition.name, reason);
        }
        Ok(definitions)
    }

    async fn read_composite_attributes(
        &mut self,
        snapshot: &Snapshot<'_>,
        types: &[u32],
    ) -> Result<(), Error> {
        for row in snapshot.query_of(include_str!("sql/composite_attributes.sql"), types).await? {
            if let Some(Definition::Composite(composite)) = self.definition_mut(row.try_get("type")?) {
                composite.attributes.push(v1::CompositeAttribute {
                    name: row.try_get("name")?,
                    type_name: row.try_get("type_name")?,
                    collation: text(&row, "collation")?,
                });
            }
        }
        Ok(())
    }

    async fn read_domain_constraints(
        &mut self,
        snapshot: &Snapshot<'_>,
        types: &[u32],
        skipped: &mut Skipped,
    ) -> Result<(), Error> {
        for row in snapshot.query_of(include_str!("sql/domain_constraints.sql"), types).await? {
            // NULL: the constraint was dropped a moment ago.
            let Some(definition) = row.try_get("definition")? else { continue };
            let oid: u32 = row.try_get("type")?;
            let name: String = row.try_get("name")?;
            if !row.try_get::<_, bool>("validated")? {
                let domain = &self.found[&oid].definition;
                let reason = "it is not validated at the source: values that violate it could not be copied";
                skipped.push("constraint", &domain.schema, format!("{}.{name}", domain.name), reason);
            } else if let Some(Definition::Domain(domain)) = self.definition_mut(oid) {
                domain.constraints.push(v1::DomainConstraint { name, definition });
            }
        }
        Ok(())
    }

    fn definition_mut(&mut self, oid: u32) -> Option<&mut Definition> {
        self.found.get_mut(&oid)?.definition.definition.as_mut()
    }
}

fn note_multirange(found: &Found, skipped: &mut Skipped) {
    if let Some(multirange) = &found.multirange_elsewhere {
        let reason =
            format!("its multirange type {multirange} lies in another schema: it gets the default name here");
        let name = format!("{} multirange", found.definition.name);
        skipped.push("type", &found.definition.schema, name, reason);
    }
}

fn name_of(definition: &v1::UserType) -> String {
    v1::TableName::new(&*definition.schema, &*definition.name).to_string()
}

fn definition(row: &Row) -> Result<v1::UserType, Error> {
    let definition = match &*row.try_get::<_, String>("kind")? {
        "e" => Definition::Enum(v1::EnumType { labels: row.try_get("labels")? }),
        "d" => Definition::Domain(v1::DomainType {
            base_type: text(row, "base_type")?,
            not_null: row.try_get("not_null")?,
            default_expression: text(row, "default_expression")?,
            collation: text(row, "collation")?,
            constraints: Vec::new(),
        }),
        "r" => Definition::Range(v1::RangeType {
            subtype: text(row, "subtype")?,
            subtype_opclass: text(row, "subtype_opclass")?,
            collation: text(row, "subtype_collation")?,
            subtype_diff: text(row, "subtype_diff")?,
            multirange_name: text(row, "multirange_name")?,
        }),
        _ => Definition::Composite(v1::CompositeType::default()),
    };
    Ok(v1::UserType {
        schema: row.try_get("schema")?,
        name: row.try_get("name")?,
        definition: Some(definition),
        creation_order: 0,
    })
}
