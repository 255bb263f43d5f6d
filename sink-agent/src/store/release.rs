//! Forgetting a task, and schema `strait` with the last one.

use strait_postgres::Client;
use strait_proto::TaskId;

use super::claim::{TEXT, terminate_leftovers};
use super::lanes::lock_out_lanes;
use super::layout::{LAYOUT_LOCK_SQL, layout_version};
use super::stage::drop_stages;
use super::{BEGIN, in_transaction};
use crate::error::{Context as _, Error};

/// Every table that has rows of tasks. The checkpoint comes first: whoever still writes for the task raises
/// from then on.
const TABLES: [&str; 8] =
    ["checkpoint", "lane", "table_state", "chunk", "object", "foreign_key", "conflict", "task"];

const LAST_SQL: &str = "SELECT NOT EXISTS (SELECT FROM strait.task)";

/// Only what `layout.sql` made; what somebody else put into the schema or built on it stays, and keeps the
/// schema.
const DROP_SQL: &str = "DROP FUNCTION strait.advance(text, bigint, uuid, pg_lsn, pg_lsn);
DROP FUNCTION strait.hold(text, bigint, uuid);
DROP FUNCTION strait.hold_lane(text, bigint, uuid, pg_lsn);
DROP FUNCTION strait.lane_lock(text);
DROP TABLE strait.checkpoint, strait.lane, strait.table_state, strait.chunk, strait.object, strait.foreign_key,
           strait.conflict, strait.task, strait.layout";

const SCHEMA_SQL: &str = "SELECT pg_has_role(n.nspowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND d.deptype = 'n')
  FROM pg_namespace AS n WHERE n.nspname = 'strait'";

/// Removes all that schema `strait` holds about a task. Idempotent; returns what was done.
pub(crate) async fn release(client: &Client, task_id: &TaskId) -> Result<Vec<String>, Error> {
    let mut actions = Vec::new();
    let terminated =
        terminate_leftovers(client, task_id).await? + terminate_leftovers(client, &task_id.joining()).await?;
    if terminated > 0 {
        actions.push(format!("destination: ended {terminated} connections of the task"));
    }
    if layout_version(client).await?.is_none() {
        return Ok(actions);
    }
    let released = in_transaction(client, &format!("{BEGIN}; {LAYOUT_LOCK_SQL}"), async {
        // Another task's release may have dropped it while we waited for the lock.
        if layout_version(client).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut actions = forget(client, task_id).await?;
        let last = client.query_one(LAST_SQL, &[]).await.context("look for other tasks")?;
        if last.get(0) {
            actions.push(drop_schema(client).await?);
        }
        Ok(actions)
    })
    .await?;
    actions.extend(released);
    Ok(actions)
}

async fn forget(client: &Client, task_id: &TaskId) -> Result<Vec<String>, Error> {
    // The task first: whoever holds it cannot hand anything over any more.
    let removed = forget_rows(client, task_id).await? + forget_rows(client, &task_id.joining()).await?;
    let action = "destination: removed the task's checkpoint and records from schema strait";
    Ok(if removed > 0 { vec![action.to_owned()] } else { Vec::new() })
}

/// Within a transaction: removes all rows that stand under an id, and counts them.
pub(super) async fn forget_rows(client: &Client, task_id: &TaskId) -> Result<u64, Error> {
    lock_out_lanes(client, task_id).await?;
    drop_stages(client, task_id).await?;
    let mut removed = 0;
    for table in TABLES {
        let delete = format!("DELETE FROM strait.{table} WHERE task_id = $1");
        removed += client
            .execute_typed(&delete, &[(&task_id.as_str(), TEXT)])
            .await
            .context(format!("remove the task from strait.{table}"))?;
    }
    Ok(removed)
}

async fn drop_schema(client: &Client) -> Result<String, Error> {
    const DOING: &str = "drop schema strait";
    client.batch_execute(DROP_SQL).await.context(DOING)?;
    let row = client.query_opt(SCHEMA_SQL, &[]).await.context(DOING)?;
    if row.is_some_and(|row| row.get(0)) {
        client.batch_execute("DROP SCHEMA strait").await.context(DOING)?;
        Ok("destination: dropped schema strait".to_owned())
    } else {
        let kept = "the schema itself holds or belongs to something else";
        Ok(format!("destination: dropped all of Strait's in schema strait; {kept}"))
    }
}
