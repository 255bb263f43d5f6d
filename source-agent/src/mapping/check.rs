//! Whether the task's names, columns, keys and types can be had, before anything is made.

use std::collections::{BTreeMap, BTreeSet};

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, ConstraintKind, PrecheckItem, TableName};

use super::expression::{Refusal, key_columns};
use super::model::Mapped;
use super::{Mapping, merge, types};
use crate::choices::Carried;
use crate::precheck::item::{failed, list, passed, statements, warning};

/// PostgreSQL's limit of a name: NAMEDATALEN without the end.
const NAME_BYTES_MAX: usize = 63;

/// The columns of each identity: of the key that PostgreSQL logs with updates and deletes, of leaves too.
const IDENTITIES: &str = "
    SELECT root.oid AS table_id, n.nspname::text AS schema, c.relname::text AS name,
           array_agg(DISTINCT a.attname::text) AS columns
    FROM unnest($1::oid[]) AS root(oid)
    CROSS JOIN LATERAL (SELECT relid FROM pg_partition_tree(root.oid) WHERE isleaf
                        UNION SELECT root.oid) AS part(oid)
    JOIN pg_class AS c ON c.oid = part.oid AND c.relkind = 'r' AND c.relreplident IN ('d', 'i')
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
                          AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
    GROUP BY 1, 2, 3";

/// A precheck item for names and columns, and where they are asked for, for keys and types.
pub(crate) async fn check(
    client: &Client,
    mapping: &Mapping,
    carried: &Carried,
    source: &v1::SchemaModel,
    mapped: &Mapped,
) -> Result<Vec<PrecheckItem>, Error> {
    const NAME: &str = "source.mapping";
    if mapping.is_identity() {
        return Ok(Vec::new());
    }
    let mut problems = Problems::default();
    for table in &source.tables {
        columns_exist(mapping, table, mapped, &mut problems);
        partition_key_carried(table, mapped, &mut problems);
        inherited_alike(table, source, mapped, &mut problems);
    }
    collisions(source, mapping, mapped, &mut problems);
    identities(client, source, mapped, &mut problems).await?;
    let item = if problems.causes.is_empty() {
        passed(NAME, format!("{} tables have their places", source.tables.len()))
    } else {
        let remedy = statements(problems.remedies);
        failed(NAME, format!("{} problems", problems.causes.len()), list(problems.causes), remedy)
    };
    let mut items = vec![item];
    items.extend(merge::check(client, mapping, carried, source, mapped).await?);
    items.extend(primary_keys(source, mapping, mapped));
    items.extend(column_types(source, mapping, mapped));
    Ok(items)
}

/// What is wrong, and what to do about it.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) causes: Vec<String>,
    pub(super) remedies: BTreeSet<String>,
}

impl Problems {
    pub(super) fn add(&mut self, cause: String, remedy: impl Into<String>) {
        if !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
        self.remedies.insert(remedy.into());
    }
}

/// Columns that the task mentions, and what generated columns need.
fn columns_exist(mapping: &Mapping, table: &v1::Table, mapped: &Mapped, problems: &mut Problems) {
    let Some(map) = mapped.table(table.table_id) else { return };
    let known: BTreeSet<&str> = table.columns.iter().map(|column| &*column.name).collect();
    // What a pattern says holds for the tables that have such a column.
    if mapping.is_exact(&map.source) {
        let unknown: BTreeSet<&String> =
            map.columns.mentioned().filter(|it| !known.contains(&***it)).collect();
        if !unknown.is_empty() {
            problems.add(
                format!("{} has no column {}", map.source, list(unknown)),
                "Correct `columns` and `rename.columns` of the entry: names are the source's, case included.",
            );
        }
    }
    for column in table.columns.iter().filter(|column| map.columns.target(&column.name).is_some()) {
        let generated = column.generated.as_ref().map(|generated| map.expression(&generated.expression));
        if let Some(Err(Refusal::LeftOut(needed))) = generated {
            problems.add(
                format!("{}: generated column {} needs column {needed}", map.source, column.name),
                "Add what a generated column needs to `columns`, or leave the generated column out as well.",
            );
        }
    }
}

/// A table cannot be partitioned by what it does not have.
fn partition_key_carried(table: &v1::Table, mapped: &Mapped, problems: &mut Problems) {
    let Some(map) = mapped.table(table.table_id) else { return };
    if let Err(refusal) = map.expression(&table.partition_key) {
        problems.add(
            format!(
                "{}: partitions: preserve keeps PARTITION BY {}: {refusal}",
                map.source, table.partition_key
            ),
            "Add the columns of a partition key to `columns`, or choose partitions: flatten.",
        );
    }
}

/// A child has its parents' columns, so they have to be called alike.
fn inherited_alike(table: &v1::Table, source: &v1::SchemaModel, mapped: &Mapped, problems: &mut Problems) {
    let Some(map) = mapped.table(table.table_id) else { return };
    let above = table.partition_of.as_ref().and_then(|place| place.parent.as_ref());
    for parent in table.inherits.iter().chain(above) {
        let parent = source.tables.iter().find(|it| it.schema == parent.schema && it.name == parent.name);
        let Some(parent) = parent else { continue };
        let Some(above) = mapped.table(parent.table_id) else { continue };
        let differs = |it: &&v1::Column| map.columns.target(&it.name) != above.columns.target(&it.name);
        if let Some(column) = parent.columns.iter().find(differs) {
            problems.add(
                format!(
                    "column {} of {} comes from {}, which has it otherwise",
                    column.name, map.source, above.source
                ),
                "Give the tables of an inheritance tree the same `columns` and `rename.columns`.",
            );
        }
    }
}

/// What shares names at the destination: relations of a schema, types of a schema, columns and constraints of a table.
fn collisions(source: &v1::SchemaModel, mapping: &Mapping, mapped: &Mapped, problems: &mut Problems) {
    let mut places: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
    let mut place = |space: &'static str, at: String, what: String| {
        places.entry((space, at)).or_default().insert(what);
    };
    let mut lengths: BTreeSet<String> = BTreeSet::new();
    let followers = merge::followers(mapping, source);
    let owned_by_follower = |sequence: &&v1::Sequence| {
        let is_owner = |table: &&v1::Table| sequence.owner_table.as_ref() == Some(&table.table_name());
        source.tables.iter().filter(is_owner).any(|table| followers.contains(&table.table_id))
    };
    for table in source.tables.iter().filter(|table| !followers.contains(&table.table_id)) {
        let Some(map) = mapped.table(table.table_id) else { continue };
        let (from, to) = (&map.source, &map.target);
        place("relation", to.to_string(), format!("table {from}"));
        // Each has a type of its name.
        place("type", to.to_string(), format!("table {from}"));
        lengths.extend([to.schema.clone(), to.name.clone()]);
        for column in &table.columns {
            if let Some(name) = map.columns.target(&column.name) {
                place("column", format!("{to}.{name}"), format!("column {from}.{}", column.name));
                lengths.insert(name);
            }
            if let Some(identity) = &column.identity {
                let name = TableName::new(&*identity.sequence_schema, &*identity.sequence_name);
                place("relation", mapped.sequence(&name).to_string(), format!("sequence {name}"));
            }
        }
        for added in &map.added {
            if let Some(name) = map.columns.target(&added.name) {
                place("column", format!("{to}.{name}"), format!("new column {} of {from}", added.name));
                lengths.insert(name);
            }
        }
        for constraint in &table.constraints {
            let name = mapping.cased(&constraint.name);
            let indexed = [ConstraintKind::PrimaryKey, ConstraintKind::Unique, ConstraintKind::Exclusion]
                .contains(&constraint.kind());
            let at = if indexed { format!("{}.{name}", to.schema) } else { format!("{to} {name}") };
            let space = if indexed { "relation" } else { "constraint" };
            place(space, at, format!("constraint {} of {from}", constraint.name));
            lengths.insert(name);
        }
        for index in &table.indexes {
            let name = mapping.cased(&index.name);
            place("relation", format!("{}.{name}", to.schema), format!("index {} of {from}", index.name));
            lengths.insert(name);
        }
    }
    for sequence in source.sequences.iter().filter(|it| !owned_by_follower(it)) {
        let name = TableName::new(&*sequence.schema, &*sequence.name);
        place("relation", mapped.sequence(&name).to_string(), format!("sequence {name}"));
    }
    for user_type in &source.types {
        let name = TableName::new(&*user_type.schema, &*user_type.name);
        place("type", mapped.sequence(&name).to_string(), format!("type {name}"));
    }
    for ((_, at), sources) in places.iter().filter(|(_, sources)| sources.len() > 1) {
        problems.add(
            format!("{} would all become {at}", list(sources)),
            "Rename one of them with `rename` of its entry, or exclude it: only one can have the name at the destination.",
        );
    }
    for name in lengths.iter().filter(|name| name.len() > NAME_BYTES_MAX || name.is_empty()) {
        problems.add(
            format!("the name {name:?} has {} bytes, PostgreSQL takes 1 to {NAME_BYTES_MAX}", name.len()),
            "Choose a shorter name in `rename`.",
        );
    }
}

/// What identifies rows has to be carried: updates and deletes name it and nothing else.
async fn identities(
    client: &Client,
    source: &v1::SchemaModel,
    mapped: &Mapped,
    problems: &mut Problems,
) -> Result<(), Error> {
    let subset = source
        .tables
        .iter()
        .filter(|table| mapped.table(table.table_id).is_some_and(|map| map.columns.is_subset()));
    let subset: Vec<u32> = subset.map(|table| table.table_id).collect();
    for row in client.query(IDENTITIES, &[&subset]).await? {
        let Some(map) = mapped.table(row.try_get("table_id")?) else { continue };
        let columns: Vec<String> = row.try_get("columns")?;
        let left_out: Vec<&String> = columns.iter().filter(|it| map.columns.target(it).is_none()).collect();
        if !left_out.is_empty() {
            let relation = quote::qualified(row.try_get("schema")?, row.try_get("name")?);
            problems.add(
                format!("{}: `columns` leaves out {}, by which the source identifies rows", map.source, list(left_out)),
                format!(
                    "Add them to `columns`, or let other columns that are carried identify rows: ALTER TABLE {relation} \
                     REPLICA IDENTITY USING INDEX …;"
                ),
            );
        }
    }
    Ok(())
}

/// A key of the destination's own has to hold for the rows of the source.
fn primary_keys(source: &v1::SchemaModel, mapping: &Mapping, mapped: &Mapped) -> Option<PrecheckItem> {
    const NAME: &str = "source.primary_key";
    let mut problems = Problems::default();
    let mut count = 0;
    for table in &source.tables {
        let Some(map) = mapped.table(table.table_id) else { continue };
        let key = mapping.options(&map.source).primary_key;
        if key.is_empty() {
            continue;
        }
        count += 1;
        let named = |target: &String| {
            let mut columns = table.columns.iter();
            columns.find(|column| map.columns.target(&column.name).as_ref() == Some(target))
        };
        let unknown: Vec<&String> = key.iter().filter(|it| named(it).is_none()).collect();
        if !unknown.is_empty() {
            problems.add(
                format!("{} has no column {} at the destination", map.target, list(unknown)),
                "Correct `primary_key`: names are the destination's.",
            );
            continue;
        }
        let columns: Vec<&v1::Column> = key.iter().filter_map(named).collect();
        let names: BTreeSet<String> = columns.iter().map(|column| column.name.clone()).collect();
        let quoted = list(columns.iter().map(|column| quote::identifier(&column.name)));
        let name = quote::qualified(&table.schema, &table.name);
        if !is_unique(table, &names) {
            problems.add(
                format!("nothing at the source keeps {} of {} unique", list(&names), map.source),
                format!("CREATE UNIQUE INDEX CONCURRENTLY ON {name} ({quoted});"),
            );
        }
        for column in columns.iter().filter(|column| !column.not_null) {
            problems.add(
                format!("{} of {} can be NULL at the source", column.name, map.source),
                format!("ALTER TABLE {name} ALTER COLUMN {} SET NOT NULL;", quote::identifier(&column.name)),
            );
        }
    }
    if problems.causes.is_empty() {
        return (count > 0)
            .then(|| passed(NAME, format!("{count} keys of the destination's own hold at the source")));
    }
    let remedy = statements(problems.remedies);
    Some(failed(NAME, format!("{} problems", problems.causes.len()), list(problems.causes), remedy))
}

/// Whether a key, or an index of plain columns and all rows, keeps exactly these columns unique.
fn is_unique(table: &v1::Table, columns: &BTreeSet<String>) -> bool {
    let of = |definition: &str| key_columns(definition).into_iter().collect::<BTreeSet<_>>();
    let keys = [ConstraintKind::PrimaryKey, ConstraintKind::Unique];
    let mut constraints = table.constraints.iter().filter(|it| keys.contains(&it.kind()) && !it.deferrable);
    let plain = |tail: &str| tail.matches('(').count() == 1 && !tail.contains(" WHERE ");
    let mut indexes = table.indexes.iter().filter(|it| it.unique && plain(&it.definition_tail));
    constraints.any(|it| of(&it.definition) == *columns)
        || indexes.any(|it| of(&it.definition_tail) == *columns)
}

/// Types of the destination's own, and what each may lose.
fn column_types(source: &v1::SchemaModel, mapping: &Mapping, mapped: &Mapped) -> Option<PrecheckItem> {
    const NAME: &str = "source.column_types";
    let mut unknown = Vec::new();
    let mut lossy = Vec::new();
    let mut count = 0;
    for table in &source.tables {
        let Some(map) = mapped.table(table.table_id) else { continue };
        let wanted = mapping.options(&map.source).column_types;
        for (target, type_name) in &wanted {
            count += 1;
            let mut columns = table.columns.iter();
            let column = columns.find(|it| map.columns.target(&it.name).as_ref() == Some(target));
            let rules = mapping.options(&map.source).transform;
            let mut set = rules.iter().flat_map(|rule| rule.set.keys());
            if set.any(|it| map.columns.target(it).as_ref() == Some(target)) {
                // The rules are checked against it.
                continue;
            }
            match column {
                None => unknown.push(format!("{} has no column {target}", map.target)),
                Some(column) if column.identity.is_some() && !types::is_integer(type_name) => {
                    unknown.push(format!(
                        "{}.{target} is an identity column: smallint, integer or bigint",
                        map.target
                    ));
                }
                Some(column) if !types::is_lossless(&column.type_name, type_name) => {
                    lossy.push(format!("{}.{target}: {} to {type_name}", map.target, column.type_name));
                }
                Some(_) => {}
            }
        }
    }
    if !unknown.is_empty() {
        let remedy = "Correct `column_types`: names are the destination's.";
        return Some(failed(NAME, format!("{} problems", unknown.len()), list(unknown), remedy));
    }
    if !lossy.is_empty() {
        return Some(warning(
            NAME,
            list(lossy),
            "values travel as text: one that the other type does not read, or that is too long for it, stops its table's copy \
             or, in the change stream, the task; one that it rounds arrives rounded",
            "Nothing, if every value fits; otherwise choose wider types in `column_types`.",
        ));
    }
    (count > 0).then(|| passed(NAME, format!("{count} columns have types that hold every value")))
}

impl Mapping {
    /// Whether an include names the table without a wildcard.
    fn is_exact(&self, table: &TableName) -> bool {
        self.selection.include.iter().any(|it| it.schema == table.schema && it.table == table.name)
    }
}
