//! Several tables that become one: `merge: true`.
//!
//! Their rows lie side by side in one table, which is made like the first of them. So they have to be alike, no key may be in two of
//! them, and nothing may be done to one of them that cannot be told apart there: a TRUNCATE is not carried.

use std::collections::{BTreeMap, BTreeSet};

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, ConstraintKind, PrecheckItem, TableName};
use tokio_postgres::error::SqlState;

use super::Mapping;
use super::expression::key_columns;
use super::model::Mapped;
use super::names::Name;
use crate::choices::Carried;
use crate::precheck::item::{failed, list, passed, warning};

/// How long the precheck looks for keys that are in two tables, for each target.
const LOOK_TIMEOUT_MS: u32 = 10_000;

/// The tables that share a target, in the model's order; those of no other are left out.
pub(super) fn groups(model: &v1::SchemaModel) -> Vec<Vec<&v1::Table>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&v1::Table>> = BTreeMap::new();
    for table in &model.tables {
        groups.entry((&table.schema, &table.name)).or_default().push(table);
    }
    groups.into_values().filter(|tables| tables.len() > 1).collect()
}

/// Tables that are not the first of their target, where all of them are to be merged: nothing is made of them.
pub(super) fn followers(mapping: &Mapping, source: &v1::SchemaModel) -> BTreeSet<u32> {
    let mut first: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut followers = BTreeSet::new();
    for table in mapping.merging(source) {
        let TableName { schema, name } = mapping.target(&table.table_name());
        if *first.entry((schema, name)).or_insert(table.table_id) != table.table_id {
            followers.insert(table.table_id);
        }
    }
    followers
}

impl Mapping {
    /// The tables that are to be merged.
    fn merging<'a>(&self, source: &'a v1::SchemaModel) -> impl Iterator<Item = &'a v1::Table> {
        source.tables.iter().filter(|table| self.options(&table.table_name()).merge)
    }

    /// Their names.
    pub(super) fn merged(&self, source: &v1::SchemaModel) -> BTreeSet<Name> {
        self.merging(source).map(|table| (table.schema.clone(), table.name.clone())).collect()
    }

    /// Marks the tables that may share their target, and leaves to the first of each what belongs to the target alone.
    pub(super) fn merge(&self, source: &v1::SchemaModel, tables: &mut [v1::Table]) {
        let merged: BTreeSet<u32> = self.merging(source).map(|table| table.table_id).collect();
        let followers = followers(self, source);
        for table in tables.iter_mut().filter(|table| merged.contains(&table.table_id)) {
            table.merged = true;
            if followers.contains(&table.table_id) {
                table.constraints.clear();
                table.indexes.clear();
                table.storage_parameters.clear();
                for column in &mut table.columns {
                    column.default_expression.clear();
                    column.settings.clear();
                }
            }
        }
    }
}

/// A precheck item where tables are merged.
pub(super) async fn check(
    client: &Client,
    mapping: &Mapping,
    carried: &Carried,
    source: &v1::SchemaModel,
    mapped: &Mapped,
) -> Result<Option<PrecheckItem>, Error> {
    const NAME: &str = "source.merge";
    let merging: Vec<&v1::Table> = mapping.merging(source).collect();
    if merging.is_empty() {
        return Ok(None);
    }
    let by_id: BTreeMap<u32, &v1::Table> = source.tables.iter().map(|it| (it.table_id, it)).collect();
    let groups = groups(&mapped.model);
    let mut problems: Vec<String> = merging
        .iter()
        .filter_map(|table| unfit(table, &mapping.options(&table.table_name()), carried))
        .collect();
    let mut unknown = Vec::new();
    for group in &groups {
        let target = group[0].table_name();
        let sources: Vec<&v1::Table> =
            group.iter().filter_map(|it| by_id.get(&it.table_id).copied()).collect();
        // Columns and keys as the destination has them.
        let shapes: Vec<(TableName, Shape)> =
            sources.iter().filter_map(|it| Some((it.table_name(), Shape::of(it, mapped)?))).collect();
        let Some(((first, shape), others)) = shapes.split_first() else { continue };
        let differ = |(name, other): &(TableName, Shape)| {
            let difference = shape.difference(other)?;
            Some(format!("{first} and {name} would both become {target}, but {difference}"))
        };
        let differences: Vec<String> = others.iter().filter_map(differ).collect();
        let alike = differences.is_empty();
        problems.extend(differences);
        if alike && !shape.key.is_empty() {
            match common_key(client, &sources, &shape.key, mapped).await? {
                Some(true) => problems.push(format!("a key of {target} is in more than one of its tables")),
                Some(false) => {}
                None => unknown.push(target.to_string()),
            }
        }
    }
    let detail = format!("{} tables go into {} with others", merging.len(), groups.len());
    Ok(Some(if !problems.is_empty() {
        let remedy = "Correct `rename`, `columns`, `operations` or the tables, or take `merge` away.";
        failed(NAME, detail, list(problems), remedy)
    } else if unknown.is_empty() {
        passed(NAME, format!("{detail}; no key is in two of them"))
    } else {
        warning(
            NAME,
            detail,
            format!("whether a key is in two tables was not found out in time: {}", list(unknown)),
            "See to it that no key is in two of them: the later change of a key overwrites the other table's row, and is counted \
             as a conflict.",
        )
    }))
}

/// Why a table cannot be merged whatever the others are.
fn unfit(table: &v1::Table, options: &v1::TableOptions, carried: &Carried) -> Option<String> {
    let name = table.table_name();
    if carried.by_table(options).truncate {
        return Some(format!(
            "{name}: merge: true needs `operations` without truncate, because the rows of one table cannot be told from the \
             others' at the destination"
        ));
    }
    let is_part = table.is_structure() || table.partition_of.is_some();
    is_part.then(|| format!("{name}: partitioned tables are merged with partitions: flatten alone"))
}

/// What a table is at the destination, as far as others have to be the same.
struct Shape {
    columns: BTreeMap<String, String>,
    /// In order; empty: none.
    key: Vec<String>,
}

impl Shape {
    fn of(table: &v1::Table, mapped: &Mapped) -> Option<Self> {
        let map = mapped.table(table.table_id)?;
        let types = map.options().column_types;
        let column = |column: &v1::Column| {
            let target = map.columns.target(&column.name)?;
            let type_name = types.get(&target).unwrap_or(&column.type_name).clone();
            let generated = column.generated.as_ref().map_or("", |_| " GENERATED");
            Some((target, format!("{type_name}{generated}")))
        };
        let own = map.options().primary_key;
        let primary = table.constraints.iter().find(|it| it.kind() == ConstraintKind::PrimaryKey);
        let primary = primary.map(|it| key_columns(&it.definition)).unwrap_or_default();
        let primary = primary.iter().filter_map(|it| map.columns.target(it)).collect();
        Some(Self {
            columns: table.columns.iter().filter_map(column).collect(),
            key: if own.is_empty() { primary } else { own },
        })
    }

    fn difference(&self, other: &Self) -> Option<String> {
        let names: BTreeSet<&String> = self.columns.keys().chain(other.columns.keys()).collect();
        for name in names {
            match (self.columns.get(name), other.columns.get(name)) {
                (Some(one), Some(two)) if one == two => {}
                (Some(one), Some(two)) => {
                    return Some(format!("column {name} is {one} in one and {two} in the other"));
                }
                _ => return Some(format!("only one of them has a column {name}")),
            }
        }
        (self.key != other.key).then(|| {
            let words = |key: &[String]| if key.is_empty() { "none".to_owned() } else { key.join(", ") };
            format!("their primary keys differ: {} and {}", words(&self.key), words(&other.key))
        })
    }
}

/// Whether a key is in two of the tables; none where that takes too long, or conditions choose among their rows.
async fn common_key(
    client: &Client,
    tables: &[&v1::Table],
    key: &[String],
    mapped: &Mapped,
) -> Result<Option<bool>, Error> {
    let mut parts = Vec::new();
    for table in tables {
        let Some(map) = mapped.table(table.table_id).filter(|map| map.options().r#where.is_empty()) else {
            return Ok(None);
        };
        let source = |target: &String| {
            let mut columns = table.columns.iter();
            columns.find(|column| map.columns.target(&column.name).as_ref() == Some(target))
        };
        let columns: Option<Vec<String>> =
            key.iter().map(|target| Some(quote::identifier(&source(target)?.name))).collect();
        let Some(columns) = columns else { return Ok(None) };
        let name = quote::qualified(&table.schema, &table.name);
        let only = if table.partitioned { "" } else { "ONLY " };
        parts.push(format!("SELECT {} FROM {only}{name}", columns.join(", ")));
    }
    let places: Vec<String> = (1..=key.len()).map(|place| place.to_string()).collect();
    // Each is unique in itself.
    let sql = format!(
        "SELECT EXISTS (SELECT k.* FROM ({}) AS k GROUP BY {} HAVING count(*) > 1)",
        parts.join(" UNION ALL "),
        places.join(", ")
    );
    client
        .batch_execute(&format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {LOOK_TIMEOUT_MS}"))
        .await?;
    let found = client.query_one(&sql, &[]).await;
    client.batch_execute("ROLLBACK").await?;
    match found {
        Ok(row) => Ok(Some(row.try_get(0)?)),
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
