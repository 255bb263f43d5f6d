//! Removes what a task made in schema `strait`; the synchronised objects stay.

use strait_postgres::{ConnectionUri, connect};
use strait_proto::TaskId;

use crate::error::{Context as _, Error};
use crate::open_task::refuse_recovery;
use crate::store;

/// Connects and removes; idempotent. Returns what was done.
pub(crate) async fn release(uri: &ConnectionUri, task_id: &TaskId) -> Result<Vec<String>, Error> {
    let name = store::application_name(task_id);
    let client = connect(uri, &name).await.context("reach the destination")?;
    refuse_recovery(&client).await?;
    store::release(&client, task_id).await
}
