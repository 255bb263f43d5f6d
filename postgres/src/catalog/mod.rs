//! Reads the catalogs of a source into the schema model.
//!
//! ```text
//!  schemas, relations, inheritance ──► Selection ──► the tables taken, with their leaves ──┐
//!  types, dependencies between types ────────────► the types they need, in order ──────────┤
//!  sequences, their owners and users ────────────► the sequences they need ────────────────┼──► v1::SchemaModel
//!  columns, constraints, indexes, sizes, bounds of the tables taken ───────────────────────┤
//!  views, routines, triggers, …, as statements; who needs whom; comments ─────────────────┤
//!  everything else that the selection covers ────► skipped, each with its reason ──────────┘
//! ```
//!
//! A fixed number of set-based queries, whatever the number of tables, in one read-only transaction. It takes
//! no locks: the deparse functions see the catalogs as they are now while the queries see the transaction's
//! snapshot, so DDL in the meantime can show in parts. Whoever needs certainty loads twice and compares with
//! [`same_structure`].
//!
//! Nothing is dropped silently: what is left out stands in `skipped`.

mod columns;
mod comments;
mod constraints;
mod creation_order;
mod dependencies;
mod greenplum;
mod indexes;
mod inventory;
mod objects;
mod options;
mod order;
mod relations;
mod requirements;
mod selection;
mod sequence_values;
mod sequences;
mod skipped;
mod snapshot;
mod tables;
mod types;

use std::collections::BTreeSet;

use strait_proto::v1;
use tokio_postgres::Row;

use crate::{Client, Error};

pub use options::{laid_over, options_of};
pub use selection::covers;
pub use sequence_values::{SequenceReference, read_sequences, sequence_values};

use dependencies::{Dependencies, Node};
use inventory::Inventory;
use objects::{Object, Objects};
use selection::Selection;
use snapshot::Snapshot;
use types::Types;

/// How the database sorts texts and what it takes for a letter, as `provider locale character-type`. Providers and their locale
/// stand in columns that came with 15 and changed their name with 17.
pub const DATABASE_COLLATION: &str = "
    SELECT concat_ws(' ',
               CASE d ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
               coalesce(d ->> 'datlocale', d ->> 'daticulocale', d ->> 'datcollate'), d ->> 'datctype')
    FROM (SELECT to_jsonb(pg_database) AS d FROM pg_database WHERE datname = current_database()) AS database";

/// Reads the selected part of the database that `client` is connected to, a PostgreSQL 12 to 18.
///
/// Errors are those of the server or the connection; the transaction is over in any case. A table that is
/// dropped in the meantime may be missing parts, see the module.
pub async fn load(client: &Client, selection: &v1::ObjectSelection) -> Result<v1::SchemaModel, Error> {
    let snapshot = Snapshot::begin(client).await?;
    let model = read(&snapshot, &Selection::new(selection)).await;
    snapshot.end().await?;
    model
}

/// Whether two models describe the same objects: sizes, row estimates and what was skipped do not count.
pub fn same_structure(one: &v1::SchemaModel, other: &v1::SchemaModel) -> bool {
    structure(one) == structure(other)
}

fn structure(model: &v1::SchemaModel) -> v1::SchemaModel {
    let mut structure = v1::SchemaModel { skipped: Vec::new(), ..model.clone() };
    // Where something stands in the order may depend on objects that are not of the model.
    structure.types.iter_mut().for_each(|it| it.creation_order = 0);
    structure.sequences.iter_mut().for_each(|it| it.creation_order = 0);
    structure.objects.iter_mut().for_each(|it| it.creation_order = 0);
    for table in &mut structure.tables {
        table.creation_order = 0;
        table.size_bytes = 0;
        table.estimated_rows = 0;
    }
    structure
}

async fn read(snapshot: &Snapshot<'_>, selection: &Selection) -> Result<v1::SchemaModel, Error> {
    let mut skipped = Skipped::default();
    let inventory = Inventory::read(snapshot).await?;
    let types = Types::read(snapshot).await?;
    let relations = relations::choose(&inventory, selection, &types, &mut skipped);

    let dependencies = Dependencies::read(snapshot).await?;
    let asked_for = types.choose(&inventory, selection, &relations, &BTreeSet::new());
    let asked_for = asked_for.into_iter().map(Node::type_).collect();
    let objects = Objects::read(snapshot, selection).await?;
    let objects = objects.choose(&inventory, selection, &relations, asked_for, &dependencies, &mut skipped);
    let of_objects = objects.iter().map(|object| object.node);
    let of_tables = relations.order.iter().copied().map(Node::relation);
    let needed = dependencies.closure(of_objects.chain(of_tables));

    let tables = tables::read(snapshot, &inventory, &relations, selection, &mut skipped).await?;
    let types_taken = types.choose(&inventory, selection, &relations, &needed);
    let sequences =
        sequences::read(snapshot, &inventory, selection, &relations, &types_taken, &needed).await?;
    let types = types.definitions(&inventory, snapshot, &types_taken, &relations, &mut skipped).await?;
    skipped::read(snapshot, &inventory, selection, &relations, &mut skipped).await?;

    let mut schemas: BTreeSet<&str> =
        inventory.whole_schemas(selection).map(|schema| &*schema.name).collect();
    schemas.extend(tables.iter().map(|table| &*table.schema));
    schemas.extend(types.iter().map(|(_, definition)| &*definition.schema));
    schemas.extend(sequences.iter().map(|(_, sequence)| &*sequence.schema));
    schemas.extend(objects.iter().map(|object| &*object.schema).filter(|schema| !schema.is_empty()));
    let identity_columns =
        tables.iter().flat_map(|table| &table.columns).filter_map(|it| it.identity.as_ref());
    schemas.extend(identity_columns.map(|identity| &*identity.sequence_schema));
    let schemas: Vec<String> = schemas.into_iter().map(str::to_owned).collect();

    let mut parts = Parts { types, sequences, tables, objects };
    let comments = comments::read(snapshot, &inventory, selection, &schemas, &parts).await?;
    let requirements = requirements::of(&dependencies, &parts);
    let objects = parts.in_creation_order(&dependencies);
    Ok(v1::SchemaModel {
        schemas,
        types: parts.types.into_iter().map(|(_, definition)| definition).collect(),
        sequences: parts.sequences.into_iter().map(|(_, sequence)| sequence).collect(),
        tables: parts.tables,
        skipped: skipped.entries,
        objects,
        comments,
        requirements,
    })
}

/// What is taken, with the oids that the model does not have.
struct Parts {
    types: Vec<(u32, v1::UserType)>,
    sequences: Vec<(u32, v1::Sequence)>,
    tables: Vec<v1::Table>,
    objects: Vec<Object>,
}

/// Why the given number of objects is left out.
fn not_wanted(count: usize) -> String {
    format!("not among the object_kinds of the task (objects: {count})")
}

/// Collects what is left out; the first reason for an object stays.
#[derive(Default)]
struct Skipped {
    seen: BTreeSet<(String, String, String)>,
    entries: Vec<v1::ObjectResult>,
}

impl Skipped {
    fn push(&mut self, kind: &str, schema: &str, name: impl Into<String>, reason: impl Into<String>) {
        let (name, reason) = (name.into(), reason.into());
        // An empty name summarises several objects: each reason is a line of its own then.
        let distinct = if name.is_empty() { reason.clone() } else { name.clone() };
        if self.seen.insert((kind.to_owned(), schema.to_owned(), distinct)) {
            let skipped = v1::ObjectResult::new(kind, schema, name, v1::ObjectOutcome::Skipped);
            self.entries.push(skipped.because(reason));
        }
    }
}

/// The options of a sequence out of the columns of `pg_sequence`.
fn sequence_options(row: &Row) -> Result<v1::SequenceOptions, Error> {
    Ok(v1::SequenceOptions {
        data_type: row.try_get("data_type")?,
        start: row.try_get("seqstart")?,
        increment: row.try_get("seqincrement")?,
        minimum: row.try_get("seqmin")?,
        maximum: row.try_get("seqmax")?,
        cache: row.try_get("seqcache")?,
        cycle: row.try_get("seqcycle")?,
    })
}

/// NULL as the empty text, which is how the model says "none".
fn text(row: &Row, column: &str) -> Result<String, Error> {
    Ok(row.try_get::<_, Option<String>>(column)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_skipped_once_and_summaries_are_kept_apart() {
        let mut skipped = Skipped::default();
        skipped.push("foreign table", "s", "t", "first");
        skipped.push("foreign table", "s", "t", "second");
        skipped.push("column", "s", "", "three columns");
        skipped.push("column", "s", "", "two columns");
        let details: Vec<_> = skipped.entries.iter().map(|entry| &*entry.detail).collect();
        assert_eq!(details, ["first", "three columns", "two columns"]);
    }

    #[test]
    fn sizes_and_skipped_objects_do_not_make_a_structure_differ() {
        let table = v1::Table { table_id: 1, size_bytes: 8192, estimated_rows: 10, ..Default::default() };
        let grown = v1::Table { size_bytes: 16384, estimated_rows: 20, ..table.clone() };
        let altered = v1::Table { columns: vec![v1::Column::default()], ..table.clone() };
        let model = |table: v1::Table| v1::SchemaModel { tables: vec![table], ..Default::default() };
        let mut noted = model(grown);
        noted.skipped.push(v1::ObjectResult::default());
        assert!(same_structure(&model(table.clone()), &noted));
        assert!(!same_structure(&model(table), &model(altered)));
    }
}
