//! Removes what a task made in schema `strait`; the synchronised objects stay.

use strait_postgres::ConnectionUri;
use strait_proto::TaskId;

use crate::error::Error;
use crate::open_task::refuse_recovery;
use crate::store;

/// Connects and removes; idempotent. Returns what was done.
pub(crate) async fn release(uri: &ConnectionUri, task_id: &TaskId) -> Result<Vec<String>, Error> {
    let client = store::connect(uri, task_id).await?;
    refuse_recovery(&client).await?;
    store::release(&client, task_id).await
}
