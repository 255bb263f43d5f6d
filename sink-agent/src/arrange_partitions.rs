//! Partitions that come, go and move while the task runs.
//!
//! The source-agent says how they hung together at a moment that the destination has passed, whatever is under way since. So the
//! destination becomes what the source was, step by step, each in a transaction of its own that holds the task: what a crash
//! leaves undone is done by the next call, and what is refused now is told and tried again. Only tables that the task has made
//! are touched.

use std::collections::HashMap;

use strait_postgres::Client;
use strait_proto::v1::{self, PartitionOf, TableName};

use crate::error::{Context as _, Error};
use crate::schema::{self, Move};
use crate::session::Session;
use crate::store::{self, in_transaction};

/// How long a step may wait for its locks: the change stream waits behind it.
const LOCK_TIMEOUT_MS: u32 = 3_000;

/// Brings the partitions of the task into the places that the request gives them.
pub(crate) async fn arrange_partitions(
    session: &Session,
    request: v1::ArrangePartitionsRequest,
) -> Result<v1::ArrangePartitionsResponse, Error> {
    let client = session.building_connection().await?;
    let mut model = v1::SchemaModel::clone(&session.model());
    let moves = moves(&client, session, &model, &request).await?;
    let mut response = v1::ArrangePartitionsResponse::default();
    for step in moves {
        match carry_out(&client, session, &step).await {
            Ok(()) => {
                note(&mut model, &step);
                response.done.push(step.done());
            }
            Err(error) if client.is_closed() || matches!(error, Error::Replaced) => return Err(error),
            Err(error) => {
                let reason = error.failure().cause;
                response.problems.push(v1::PartitionProblem { table: Some(step.table().clone()), reason });
            }
        }
    }
    if !response.done.is_empty() {
        store::set_schema(&client, &session.claim(), &model, true).await?;
        session.set_model(model);
    }
    session.give_back_building(client);
    Ok(response)
}

/// The task's model says how its tables are now.
fn note(model: &mut v1::SchemaModel, step: &Move) {
    let place = match step {
        Move::Drop { table_id, .. } => return model.tables.retain(|table| table.table_id != *table_id),
        Move::Detach { .. } => None,
        Move::Attach { parent, bound, .. } => {
            Some(PartitionOf { parent: Some(parent.clone()), bound: bound.clone() })
        }
    };
    for table in model.tables.iter_mut().filter(|table| table.table_name() == *step.table()) {
        table.partition_of.clone_from(&place);
    }
}

async fn moves(
    client: &Client,
    session: &Session,
    model: &v1::SchemaModel,
    request: &v1::ArrangePartitionsRequest,
) -> Result<Vec<Move>, Error> {
    let task_id = session.task_id();
    let created = store::created_tables(client, task_id).await?;
    let states = store::table_states(client, task_id).await?;
    let names: HashMap<u32, TableName> = states
        .into_iter()
        .filter_map(|state| Some((state.table_id, state.table.filter(|name| created.contains(name))?)))
        .collect();
    let of_task: Vec<TableName> = names.values().cloned().collect();
    let mut standing = schema::places(client, &of_task).await.context("look at the partitions")?;
    as_at_source(&mut standing, model);
    let wanted: Vec<(TableName, Option<PartitionOf>)> = request
        .places
        .iter()
        .filter_map(|place| Some((names.get(&place.table_id)?.clone(), place.partition_of.clone())))
        .collect();
    let gone: Vec<(u32, TableName)> =
        request.dropped.iter().filter_map(|id| Some((*id, names.get(id)?.clone()))).collect();
    Ok(schema::moves(&wanted, &gone, &standing))
}

/// The same bounds in the source's words, as they were attached: servers and types print values in their own ways.
fn as_at_source(standing: &mut HashMap<TableName, Option<PartitionOf>>, model: &v1::SchemaModel) {
    for table in &model.tables {
        if let Some(Some(stands)) = standing.get_mut(&table.table_name())
            && let Some(attached) = table.partition_of.as_ref().filter(|it| it.parent == stands.parent)
        {
            stands.bound.clone_from(&attached.bound);
        }
    }
}

async fn carry_out(client: &Client, session: &Session, step: &Move) -> Result<(), Error> {
    let begin = format!("SET lock_timeout = {LOCK_TIMEOUT_MS}; {}", session.claim().begin_sql());
    let done = in_transaction(client, &begin, async {
        client.batch_execute(&step.sql()).await.context("arrange the partitions")?;
        match step {
            Move::Drop { table_id, table, .. } => {
                store::forget_table(client, session.task_id(), *table_id, table).await
            }
            Move::Detach { .. } | Move::Attach { .. } => Ok(()),
        }
    })
    .await;
    if !client.is_closed() {
        client.batch_execute("RESET lock_timeout").await.context("arrange the partitions")?;
    }
    done
}
