//! Which tables a task's selection covers that are not the task's yet.
//!
//! No message of the stream tells of a table that is not published, so the catalog is asked: often, with one query that says
//! whether anything is there that was not there before, and only then for the whole model.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use strait_postgres::{Client, catalog};
use strait_proto::v1::{self, TableName};

use crate::capture::record::Record;
use crate::error::{During, RunError};
use crate::mapping::{ExtensionMembers, Mapping};
use crate::pipeline::{Run, fits};

/// Every relation that could hold rows and is not the task's ($1), with what decides whether it is taken.
const OTHERS: &str = "
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN unnest($1::oid[]) AS known(oid) ON known.oid = c.oid
    WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND known.oid IS NULL
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'strait')";

/// What a look at the catalog found.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// Tables that can join, by their oids.
    pub(super) tables: BTreeMap<u32, TableName>,
    /// Those that cannot, as far as a person would expect them to, and why.
    pub(super) left_out: Vec<v1::ObjectResult>,
}

/// Looks for newcomers; remembers what it has seen.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    /// What was there when there was nothing to do.
    seen: Option<String>,
}

impl Lookout {
    /// Has the next look ask for everything again.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// What is new since the last look that found nothing. `known` are the task's tables.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        run: &Run,
        known: &[u32],
        suspended: &[v1::TableState],
        leaving: &[v1::TableState],
    ) -> Result<Newcomers, RunError> {
        const DOING: &str = "look for new tables";
        let fingerprint = format!(
            "SELECT coalesce(md5(string_agg(
                    format('%s %s %s %I.%I', c.oid, c.relpersistence, c.relispartition, n.nspname, c.relname),
                    ',' ORDER BY c.oid)), '') {OTHERS}"
        );
        let row = client.query_one(&fingerprint, &[&known]).await.during(DOING)?;
        let mut fingerprint: String = row.try_get(0).during(DOING)?;
        if !suspended.is_empty() {
            fingerprint.push_str(&columns(client, suspended).await?);
        }
        if self.seen.as_ref() == Some(&fingerprint) {
            return Ok(Newcomers::default());
        }
        let others = format!("SELECT n.nspname, c.relname {OTHERS}");
        let mut others_by_name = HashSet::new();
        for row in client.query(&others, &[&known]).await.during(DOING)? {
            let part = |column| row.try_get::<_, String>(column).during(DOING);
            others_by_name.insert(TableName::new(part("nspname")?, part("relname")?));
        }
        let model = catalog::load(client, &run.selection).await.during("read the catalog of the source")?;
        run.mapping.learn(&model);
        let record = Record::read(client, &run.source.publication).await.during(DOING)?;
        let leaves = record.unwrap_or_default().0.leaves.into_values().flatten();
        let leaves: HashSet<u32> = leaves.map(|leaf| leaf.relation_id).collect();
        let known = known.iter().copied().collect();
        let mut newcomers = newcomers(&model, &run.mapping, &others_by_name, &known, suspended, &leaves);
        let before = newcomers.tables.len();
        newcomers.tables.retain(|_, name| !is_held(&run.mapping.target(name), &model, leaving));
        if newcomers.tables.is_empty() && before == 0 {
            self.seen = Some(fingerprint);
        }
        Ok(newcomers)
    }
}

/// Whether a partition that the source has dropped, and the destination is about to drop, has the name still.
fn is_held(name: &TableName, model: &v1::SchemaModel, leaving: &[v1::TableState]) -> bool {
    let is_gone = |state: &v1::TableState| !model.tables.iter().any(|table| table.table_id == state.table_id);
    leaving.iter().any(|state| state.table.as_ref() == Some(name) && is_gone(state))
}

fn newcomers(
    model: &v1::SchemaModel,
    mapping: &Mapping,
    others: &HashSet<TableName>,
    known: &BTreeSet<u32>,
    suspended: &[v1::TableState],
    leaves: &HashSet<u32>,
) -> Newcomers {
    let mut found = Newcomers::default();
    // Nothing but columns and names is asked of it.
    let mapped = mapping.apply(model, ExtensionMembers::default(), suspended);
    // What a table that is used as it is missed cannot be told from what it had.
    for state in suspended.iter().filter(|state| !state.adopted) {
        let table = model.tables.iter().find(|table| table.table_id == state.table_id);
        let name = table.map(v1::Table::table_name);
        let keeps_name = name.as_ref().map(|name| mapping.target(name)) == state.table;
        if keeps_name && table.is_some_and(|table| fits(table, state, &mapped)) {
            found.tables.extend(name.map(|name| (state.table_id, name)));
        }
    }
    for table in model.tables.iter().filter(|table| !known.contains(&table.table_id)) {
        if leaves.contains(&table.table_id) {
            let reason =
                "it was a partition of one of the task's tables, which keeps its rows at the destination";
            found.left_out.push(left_out(table, reason));
        } else {
            found.tables.insert(table.table_id, table.table_name());
        }
    }
    let of_other = |result: &&v1::ObjectResult| {
        others.contains(&TableName::new(&*result.schema, &*result.name))
            && (result.object_kind.ends_with("table") || result.object_kind == "partition")
            && !found.tables.values().any(|name| name.schema == result.schema && name.name == result.name)
    };
    let skipped: Vec<v1::ObjectResult> = model.skipped.iter().filter(of_other).cloned().collect();
    found.left_out.extend(skipped);
    found
}

/// What decides whether suspended tables fit again, on both sides.
async fn columns(client: &Client, suspended: &[v1::TableState]) -> Result<String, RunError> {
    const DOING: &str = "look at the columns of suspended tables";
    const SQL: &str = "
        SELECT coalesce(md5(string_agg(format('%s %I', attrelid, attname), ',' ORDER BY attrelid, attnum)), '')
        FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped";
    let oids: Vec<u32> = suspended.iter().map(|state| state.table_id).collect();
    let row = client.query_one(SQL, &[&oids]).await.during(DOING)?;
    let at_source: String = row.try_get(0).during(DOING)?;
    let at_destination: Vec<_> =
        suspended.iter().map(|state| (state.table_id, &state.destination_columns)).collect();
    Ok(format!("{at_source} {at_destination:?}"))
}

fn left_out(table: &v1::Table, reason: &str) -> v1::ObjectResult {
    v1::ObjectResult::new("table", &*table.schema, &*table.name, v1::ObjectOutcome::Skipped).because(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_joins_and_what_cannot_is_told_with_its_reason() {
        let table = |table_id, name: &str| v1::Table {
            table_id,
            schema: "s".into(),
            name: name.into(),
            ..Default::default()
        };
        let skip = |kind: &str, name: &str| v1::ObjectResult {
            object_kind: kind.into(),
            schema: "s".into(),
            name: name.into(),
            ..Default::default()
        };
        let model = v1::SchemaModel {
            tables: vec![table(1, "old"), table(2, "new"), table(3, "detached")],
            skipped: vec![skip("table", "unlogged"), skip("index", "new.i"), skip("table", "long known")],
            ..Default::default()
        };
        let others = [TableName::new("s", "new"), TableName::new("s", "unlogged")].into();
        let found = newcomers(&model, &Mapping::default(), &others, &[1].into(), &[], &[3].into());
        assert_eq!(found.tables.keys().copied().collect::<Vec<_>>(), [2]);
        let names: Vec<_> = found.left_out.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["detached", "unlogged"]);
    }
}
