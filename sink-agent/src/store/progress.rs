//! Where a task stands at the destination.

use prost::Message as _;
use strait_postgres::Client;
use strait_proto::{Lsn, TaskId, v1};
use tokio_postgres::types::{PgLsn, Type};

use super::claim::{Claim, INT8, TEXT};
use super::connect::settle;
use super::tables::table_states;
use super::{in_transaction, tables};
use crate::error::{Context as _, Error};

/// All that the destination knows about a task.
#[derive(Debug)]
pub(crate) struct Progress {
    /// None before the first table began.
    pub(crate) checkpoint: Option<v1::Checkpoint>,
    pub(crate) tables: Vec<v1::TableState>,
    pub(crate) schema_applied: bool,
    /// The schema model that was applied last.
    pub(crate) model: Option<v1::SchemaModel>,
}

const PROGRESS_SQL: &str =
    "SELECT c.applied_lsn, c.source_system_identifier, c.source_timeline, t.schema_applied, t.model
  FROM strait.checkpoint AS c JOIN strait.task AS t USING (task_id)
 WHERE c.task_id = $1";

/// Reads what is durable. To be called while holding the task, so that nobody else moves it.
pub(crate) async fn progress(client: &Client, task_id: &TaskId) -> Result<Progress, Error> {
    const DOING: &str = "read the checkpoint";
    let row = client.query_typed_one(PROGRESS_SQL, &[(&task_id.as_str(), TEXT)]).await.context(DOING)?;
    let checkpoint = row.get::<_, Option<PgLsn>>(0).map(|applied_lsn| v1::Checkpoint {
        durable_lsn: applied_lsn.into(),
        source: Some(tables::source_identity(&row, 1)),
    });
    let model = match row.get::<_, Option<&[u8]>>(4) {
        Some(encoded) => Some(v1::SchemaModel::decode(encoded).map_err(|_| {
            Error::refused(
                "the schema model in strait.task cannot be read",
                "Release the task and create it anew; the row was changed by something other than Strait.",
            )
        })?),
        None => None,
    };
    let tables = table_states(client, task_id).await?;
    Ok(Progress { checkpoint, tables, schema_applied: row.get(3), model })
}

const SET_SCHEMA_SQL: &str = "UPDATE strait.task SET model = $2, schema_applied = $3 WHERE task_id = $1";

/// Records the model and whether all its tables stand.
pub(crate) async fn set_schema(
    client: &Client,
    claim: &Claim,
    model: &v1::SchemaModel,
    applied: bool,
) -> Result<(), Error> {
    let encoded = model.encode_to_vec();
    in_transaction(client, &claim.begin_sql(), async {
        settle(client).await?;
        client
            .execute_typed(
                SET_SCHEMA_SQL,
                &[(&claim.task_id.as_str(), TEXT), (&encoded, Type::BYTEA), (&applied, Type::BOOL)],
            )
            .await
            .context("record the schema model")?;
        Ok(())
    })
    .await
}

const SET_TIMELINE_SQL: &str = "UPDATE strait.checkpoint SET source_timeline = $2 WHERE task_id = $1";

/// Records that the position counts on another timeline of the same cluster from now on.
pub(crate) async fn set_timeline(client: &Client, claim: &Claim, timeline: u32) -> Result<(), Error> {
    let timeline = i64::from(timeline);
    in_transaction(client, &claim.begin_sql(), async {
        settle(client).await?;
        client
            .execute_typed(SET_TIMELINE_SQL, &[(&claim.task_id.as_str(), TEXT), (&timeline, INT8)])
            .await
            .context("record the timeline")?;
        Ok(())
    })
    .await
}

/// The statement that moves the position of `claim`: the expected one is its first parameter, the next one
/// its second.
pub(crate) fn advance(claim: &Claim) -> String {
    let Claim { task_id, epoch, nonce } = claim;
    format!("SELECT strait.advance('{task_id}', {epoch}, '{nonce}', $1, $2)")
}

/// For parameters and columns of type `pg_lsn`.
pub(super) fn pg_lsn(position: Lsn) -> PgLsn {
    PgLsn::from(position.0)
}
