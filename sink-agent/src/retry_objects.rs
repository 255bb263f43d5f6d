//! Tries again to create the objects that have failed, because a person says that the cause is gone.
//!
//! Beside the change stream, if that runs: nothing here touches rows, and each statement takes its own locks for as long as it
//! runs.

use strait_postgres::{Client, ConnectionUri};
use strait_proto::{TaskId, v1};

use crate::after_data::failed_objects;
use crate::error::{Context as _, Error};
use crate::results::gather;
use crate::schema::{self, ForeignKey};
use crate::store::{self, ForeignKeyState, foreign_key_states, set_foreign_key_state};

/// How long a statement may wait for its locks: the stream waits behind it.
const LOCK_TIMEOUT_SQL: &str = "SET lock_timeout = '10s'";

/// Tries each failed object of the task once, foreign keys last, and returns and records what became of them.
pub(crate) async fn retry_objects(
    uri: &ConnectionUri,
    task_id: &TaskId,
) -> Result<Vec<v1::ObjectResult>, Error> {
    let client = store::connect(uri, task_id).await?;
    if store::layout_version(&client).await?.is_none() {
        return Ok(Vec::new());
    }
    client.batch_execute(LOCK_TIMEOUT_SQL).await.context("set up the connection for objects")?;
    let failed = failed_objects(&client, task_id).await?;
    let retry = async |results: schema::Results| schema::retry(&client, failed, &results).await;
    let (retried, mut results) = gather(schema::Results::new, retry).await;
    store::record_retried(&client, task_id, &results).await?;
    retried.context("create the objects that have failed")?;
    results.extend(retry_foreign_keys(&client, task_id).await?);
    Ok(results)
}

async fn retry_foreign_keys(client: &Client, task_id: &TaskId) -> Result<Vec<v1::ObjectResult>, Error> {
    let states = foreign_key_states(client, task_id).await?;
    if !states.values().any(|state| *state == ForeignKeyState::Failed) {
        return Ok(Vec::new());
    }
    let model = store::progress(client, task_id).await?.model.unwrap_or_default();
    let mut results = Vec::new();
    for key in schema::foreign_keys(&model) {
        let name = (key.table.schema.clone(), key.table.name.clone(), key.name.clone());
        if states.get(&name) != Some(&ForeignKeyState::Failed) {
            continue;
        }
        let (state, result) = match add(client, &key).await {
            Ok(()) => (ForeignKeyState::Done, key.result(v1::ObjectOutcome::Created, "", "")),
            Err(error) if client.is_closed() => return Err(error),
            Err(error) => {
                let result = key.result(v1::ObjectOutcome::Failed, &error.failure().cause, &key.add_sql);
                (ForeignKeyState::Failed, result)
            }
        };
        set_foreign_key_state(client, task_id, &name, state, &result.detail).await?;
        results.push(result);
    }
    Ok(results)
}

async fn add(client: &Client, key: &ForeignKey) -> Result<(), Error> {
    let state = schema::foreign_key_state(client, key).await.context("look for a foreign key")?;
    if state == schema::ForeignKeyState::Absent {
        client.batch_execute(&key.add_sql).await.context("add a foreign key")?;
    }
    match &key.validate_sql {
        Some(validate_sql) if state != schema::ForeignKeyState::Validated => {
            client.batch_execute(validate_sql).await.context("validate a foreign key")
        }
        _ => Ok(()),
    }
}
