//! Ends a table's copy: keys, checks, indexes, statistics.

use std::sync::atomic::{AtomicU64, Ordering};

use strait_postgres::Client;
use strait_postgres::quote::qualified;
use strait_proto::{TaskId, v1};

use super::begin::written_columns;
use super::indexes;
use crate::error::{Context as _, Error};
use crate::results::Relay;
use crate::schema;
use crate::session::Session;
use crate::store::{self, finish_copy, set_ready};

/// Marks the table copied, builds what rows did not have to wait for, marks it ready. After a crash at any
/// point the same call goes on where it stopped.
pub(crate) async fn finish_table(
    session: &Session,
    request: &v1::FinishTableRequest,
    relay: &Relay<v1::FinishTableResponse>,
) -> Result<(), Error> {
    let table = session.table(request.table_id)?;
    let claim = session.claim();
    let name = table.table_name();
    // Merging writes rows, and neither triggers nor foreign keys are to see them.
    let connection = session.writing_connection().await?;
    let left_out = AtomicU64::new(0);
    let merge = async || merge(connection.client(), &claim.task_id, &table, &left_out).await;
    let copied = (request.table_id, request.generation, request.chunks);
    let begin = connection.begin(&claim.begin_sql());
    if finish_copy(connection.client(), &claim, &begin, copied, merge).await? {
        session.give_back(connection);
        return Ok(());
    }
    session.give_back(connection);
    let _permit = session.permit_to_build().await;
    let client = session.building_connection().await?;
    tell_left_out(&client, &claim, &name, left_out.into_inner(), relay).await?;
    let build = async |results: schema::Results| build(session, &client, &table, &results).await;
    let (built, results) = relay.collect(build).await?;
    store::record_objects(&client, &claim, &results).await?;
    built?;
    let analyze = format!("ANALYZE {}", qualified(&table.schema, &table.name));
    client.batch_execute(&analyze).await.context(format!("analyse table {name}"))?;
    // Only now durable, with everything before it: a crash before it begins this call again.
    set_ready(&client, &claim, request.table_id, request.generation).await?;
    session.give_back_building(client);
    Ok(())
}

async fn build(
    session: &Session,
    client: &Client,
    table: &v1::Table,
    results: &schema::Results,
) -> Result<(), Error> {
    let doing = || format!("build the keys and indexes of table {}", table.table_name());
    let missing = schema::add_constraints(client, table, results).await.context(doing())?;
    indexes::create(session, client, table, missing, results).await?;
    schema::complete_table(client, &session.model(), table, results).await.context(doing())
}

/// The rows of a table that stood before the task, or that others go into, come out of its stage. Counts those of a table that
/// others go into whose keys were there.
async fn merge(
    client: &Client,
    task_id: &TaskId,
    table: &v1::Table,
    left_out: &AtomicU64,
) -> Result<(), Error> {
    let (stage, name) = (store::stage_name(task_id, table.table_id), table.table_name());
    if store::has_stage(client, &stage).await? {
        let merged = store::merge_stage(client, &stage, &name, &written_columns(table)).await?;
        tracing::info!(table = %name, added = merged.added, "merged the rows of a table");
        if table.merged {
            left_out.store(merged.left_out, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Keys that are in two of the tables that go into one are the user's mistake, which has to be seen.
async fn tell_left_out(
    client: &Client,
    claim: &store::Claim,
    name: &v1::TableName,
    left_out: u64,
    relay: &Relay<v1::FinishTableResponse>,
) -> Result<(), Error> {
    if left_out == 0 {
        return Ok(());
    }
    let reason = format!(
        "{left_out} rows of a table that goes into this one were left out: their keys were there already, from another one"
    );
    let result = v1::ObjectResult::new("table", &*name.schema, &*name.name, v1::ObjectOutcome::Created);
    let result = result.because(reason);
    store::record_objects(client, claim, std::slice::from_ref(&result)).await?;
    relay.send(result).await
}
