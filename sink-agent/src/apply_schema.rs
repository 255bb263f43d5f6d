//! Creates what must stand before rows arrive. Where something of somebody else's stands it is refused, or used as it is.

use std::collections::HashSet;

use strait_postgres::Client;
use strait_postgres::quote::qualified;
use strait_proto::v1::{self, ObjectOutcome, ObjectResult, TableName};

use crate::error::{Context as _, Error};
use crate::results::Relay;
use crate::schema;
use crate::session::Session;
use crate::store;

/// Applies the model. Called again after a crash it goes on where it stopped.
///
/// # Errors
/// A definite one when a table could not be created, or is not this task's; the results say which.
pub(crate) async fn apply_schema(
    session: &Session,
    request: v1::ApplySchemaRequest,
    relay: &Relay<v1::ApplySchemaResponse>,
) -> Result<(), Error> {
    let mut model = request.model.ok_or_else(|| Error::protocol("no schema model"))?;
    let client = session.building_connection().await?;
    let claim = session.claim();
    let names: Vec<TableName> = model.tables.iter().map(v1::Table::table_name).collect();
    let existing = store::existing_tables(&client, &names).await?;
    let created = store::created_tables(&client, &claim.task_id).await?;
    let mut adopted = store::adopted_tables(&client, &claim.task_id).await?;
    let is_known = |name: &&TableName| created.contains(*name) || adopted.contains(*name);
    let foreign: Vec<&TableName> = existing.iter().filter(|name| !is_known(name)).collect();
    if !foreign.is_empty() && !request.use_existing {
        return refuse_foreign(&foreign, relay).await;
    }
    if claim.task_id.is_joining() {
        let kept = store::table_states(&client, &claim.task_id.task()).await?;
        refuse_kept(&model, &kept, &existing)?;
        leave_target_to_others(&mut model, &kept);
    }
    store::adopt_tables(&client, &claim, &foreign).await?;
    adopted.extend(foreign.into_iter().cloned());
    leave_alone(&mut model, &adopted);
    let remarks = schema::for_dialect(&client, &mut model).await.context("look at the destination")?;
    for remark in remarks {
        relay.send(remark).await?;
    }
    if request.create_nothing {
        return use_as_they_are(session, &client, model, &names, &existing, relay).await;
    }
    // From here on a table of the model that stands is this task's, even if this process dies before it can
    // say so.
    let coming: Vec<&TableName> = names.iter().filter(|name| !existing.contains(name)).collect();
    store::intend(&client, &claim, "table", &coming).await?;
    let replaceable = intend_placeholders(&client, &claim, &model).await?;

    let create = async |results: schema::Results| {
        schema::create_objects(&client, &model, &replaceable, &results).await
    };
    let (outcome, results) = relay.collect(create).await?;
    store::record_objects(&client, &claim, &results).await?;
    let outcome = outcome.context("create the objects of the schema")?;
    finish_merged(&client, &claim, &model, relay).await?;
    store::set_schema(&client, &claim, &model, outcome.is_complete()).await?;
    session.set_model(model);
    if outcome.is_complete() { Ok(()) } else { Err(failed_tables(&outcome.failed_tables, &results)) }
}

/// Views that stand as placeholders for a while: those that are this task's to replace.
async fn intend_placeholders(
    client: &Client,
    claim: &store::Claim,
    model: &v1::SchemaModel,
) -> Result<HashSet<TableName>, Error> {
    let names = schema::placeholders(model);
    let existing = store::existing_tables(client, &names).await?;
    let coming: Vec<&TableName> = names.iter().filter(|name| !existing.contains(name)).collect();
    store::intend(client, claim, "view", &coming).await?;
    let rows = store::object_rows(client, &claim.task_id).await?;
    let unsettled = rows.into_iter().filter(|row| row.key.kind == "view" && !row.is_settled());
    Ok(unsettled.map(|row| TableName::new(row.key.schema, row.key.name)).collect())
}

/// Refuses a table that joins under the name of another one of the task's, which was dropped or renamed at the source: its rows
/// stay as long as it stands.
fn refuse_kept(
    model: &v1::SchemaModel,
    kept: &[v1::TableState],
    existing: &[TableName],
) -> Result<(), Error> {
    let is_kept = |table: &&v1::Table| {
        let name = table.table_name();
        let other =
            |state: &v1::TableState| state.table_id != table.table_id && state.table.as_ref() == Some(&name);
        !table.merged && existing.contains(&name) && kept.iter().any(other)
    };
    let list: Vec<String> =
        model.tables.iter().filter(is_kept).map(|table| qualified(&table.schema, &table.name)).collect();
    if list.is_empty() {
        return Ok(());
    }
    let list = list.join(", ");
    Err(Error::refused(
        format!(
            "the destination keeps tables of these names, which were dropped or renamed at the source: {list}"
        ),
        format!("Drop or rename them at the destination (DROP TABLE {list};): the new ones join then."),
    ))
}

/// A table that joins others in one of the task's tables adds nothing to that but rows.
fn leave_target_to_others(model: &mut v1::SchemaModel, kept: &[v1::TableState]) {
    for table in model.tables.iter_mut().filter(|table| table.merged) {
        let name = table.table_name();
        if kept.iter().any(|state| state.table_id != table.table_id && state.table.as_ref() == Some(&name)) {
            table.constraints.clear();
            table.indexes.clear();
            for column in &mut table.columns {
                column.default_expression.clear();
            }
        }
    }
}

/// Tables that several go into get their keys while they are empty: rows meet each other there from the first on.
async fn finish_merged(
    client: &Client,
    claim: &store::Claim,
    model: &v1::SchemaModel,
    relay: &Relay<v1::ApplySchemaResponse>,
) -> Result<(), Error> {
    for table in model.tables.iter().filter(|table| table.merged) {
        let finish =
            async |results: schema::Results| schema::finish_table(client, model, table, &results).await;
        let (finished, results) = relay.collect(finish).await?;
        store::record_objects(client, claim, &results).await?;
        finished.context(format!("build the keys of table {}", table.table_name()))?;
    }
    Ok(())
}

/// A table that is used as it is.
pub(crate) fn existed_table(name: &TableName) -> ObjectResult {
    table_result(name, ObjectOutcome::Existed)
}

fn table_result(name: &TableName, outcome: ObjectOutcome) -> ObjectResult {
    ObjectResult::new("table", &*name.schema, &*name.name, outcome)
}

/// Nothing is added to a table that stood before the task: no key, no default, no owner of a sequence, no trigger, no comment.
pub(crate) fn leave_alone(model: &mut v1::SchemaModel, adopted: &HashSet<TableName>) {
    for table in &mut model.tables {
        if adopted.contains(&table.table_name()) {
            table.constraints.clear();
            table.indexes.clear();
            table.partition_of = None;
            for column in &mut table.columns {
                column.default_expression.clear();
            }
        }
    }
    for sequence in &mut model.sequences {
        if sequence.owner_table.as_ref().is_some_and(|owner| adopted.contains(owner)) {
            sequence.owner_table = None;
        }
    }
    model.objects.retain(|object| !object.relation.as_ref().is_some_and(|it| adopted.contains(it)));
    model.comments.retain(|comment| !adopted.contains(&TableName::new(&*comment.schema, &*comment.name)));
}

/// The task creates nothing: every table has to stand.
async fn use_as_they_are(
    session: &Session,
    client: &Client,
    model: v1::SchemaModel,
    names: &[TableName],
    existing: &[TableName],
    relay: &Relay<v1::ApplySchemaResponse>,
) -> Result<(), Error> {
    let missing: Vec<String> =
        names.iter().filter(|name| !existing.contains(name)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(Error::refused(
            format!(
                "the task does not synchronise the schema, and these tables are not at the destination: {}",
                missing.join(", ")
            ),
            "Create them there, exclude them from the task, or create the task anew with `schema` in `synchronize`.",
        ));
    }
    for name in names {
        relay.send(existed_table(name)).await?;
    }
    store::set_schema(client, &session.claim(), &model, true).await?;
    session.set_model(model);
    Ok(())
}

async fn refuse_foreign(foreign: &[&TableName], relay: &Relay<v1::ApplySchemaResponse>) -> Result<(), Error> {
    const REASON: &str = "something of that name stands at the destination, and this task did not create it";
    for name in foreign {
        relay.send(table_result(name, ObjectOutcome::Failed).because(REASON)).await?;
    }
    let list: Vec<String> = foreign.iter().map(|name| qualified(&name.schema, &name.name)).collect();
    let list = list.join(", ");
    Err(Error::refused(
        format!("the destination has these already, and this task did not create them: {list}"),
        format!(
            "Drop or rename them at the destination (DROP TABLE {list};), or exclude them from the task."
        ),
    ))
}

fn failed_tables(failed: &[TableName], results: &[ObjectResult]) -> Error {
    let words = |name: &TableName| {
        let of_table = |result: &&ObjectResult| {
            result.outcome() == ObjectOutcome::Failed
                && result.object_kind == "table"
                && (&result.schema, &result.name) == (&name.schema, &name.name)
        };
        let detail = results.iter().find(of_table).map_or("", |result| &result.detail);
        format!("{name}: {detail}")
    };
    let words: Vec<String> = failed.iter().map(words).collect();
    Error::refused(
        format!("tables could not be created at the destination: {}", words.join("; ")),
        "Remove the cause at the destination, or exclude the tables, then resume the task.",
    )
}
