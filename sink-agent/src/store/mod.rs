//! What Strait keeps at the destination: schema `strait`, and the only code that reads and writes it.
//!
//! Nothing here decides; it makes what others decided durable, and refuses whoever no longer holds the task.

mod claim;
mod conflicts;
mod connect;
mod foreign_keys;
mod join;
mod lanes;
mod layout;
mod ledger;
mod objects;
mod progress;
mod release;
mod stage;
mod tables;

pub(crate) use claim::{Claim, application_name, claim};
pub(crate) use conflicts::{Conflict, ConflictReason, record_conflicts};
pub(crate) use connect::{build, connect};
pub(crate) use foreign_keys::{ForeignKeyState, foreign_key_states, set_foreign_key_state};
pub(crate) use join::{abandon, are_ready, hand_over, positions as joining_positions, suspend};
pub(crate) use lanes::{LaneLine, begin_lane, lane_lines};
pub(crate) use layout::{SCHEMA, ensure_layout, layout_version};
pub(crate) use ledger::{ChunkLine, enter_chunk, enter_chunk_rows};
pub(crate) use objects::{
    ObjectKey, ObjectRow, adopt_tables, adopted_tables, created_tables, existing_tables, intend, object_rows,
    record_objects, record_retried,
};
pub(crate) use progress::{Progress, advance, progress, set_schema, set_timeline};
pub(crate) use release::release;
pub(crate) use stage::{has_stage, make_stage, merge_stage, stage_name};
pub(crate) use tables::{
    begin_checkpoint, begin_table, finish_copy, forget_table, set_ready, suspend_table, table_states,
};

use strait_postgres::Client;

use crate::error::{Context as _, Error};

/// Starts a transaction whatever the database's and the role's defaults are: the fence relies on READ
/// COMMITTED.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Runs `work` in one transaction of `client` that starts with `begin`, and rolls it back if it fails.
///
/// Dropped half-way it leaves the client within the transaction: such a client must be dropped too.
pub(crate) async fn in_transaction<T>(
    client: &Client,
    begin: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let result = match client.batch_execute(begin).await.context("begin a transaction") {
        Ok(()) => work.await,
        Err(error) => Err(error),
    };
    match result {
        Ok(value) => {
            client.batch_execute("COMMIT").await.context("commit")?;
            Ok(value)
        }
        Err(error) => {
            if let Err(error) = client.batch_execute("ROLLBACK").await {
                tracing::debug!(%error, "roll back after a failure");
            }
            Err(error)
        }
    }
}
