//! Creates what must stand before rows arrive, and only where nothing of somebody else's stands.

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
    model: v1::SchemaModel,
    relay: &Relay<v1::ApplySchemaResponse>,
) -> Result<(), Error> {
    let client = session.building_connection().await?;
    let claim = session.claim();
    let names: Vec<TableName> =
        model.tables.iter().map(|table| TableName::new(&*table.schema, &*table.name)).collect();
    let existing = store::existing_tables(&client, &names).await?;
    let created = store::created_tables(&client, &claim.task_id).await?;
    let is_own = |name: &&TableName| created.contains(&(name.schema.clone(), name.name.clone()));
    let foreign: Vec<&TableName> = existing.iter().filter(|name| !is_own(name)).collect();
    if !foreign.is_empty() {
        return refuse_foreign(&foreign, relay).await;
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

async fn refuse_foreign(foreign: &[&TableName], relay: &Relay<v1::ApplySchemaResponse>) -> Result<(), Error> {
    const REASON: &str = "something of that name stands at the destination, and this task did not create it";
    for name in foreign {
        relay
            .send(ObjectResult {
                object_kind: "table".to_owned(),
                schema: name.schema.clone(),
                name: name.name.clone(),
                outcome: ObjectOutcome::Failed.into(),
                detail: REASON.to_owned(),
                statement: String::new(),
            })
            .await?;
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
