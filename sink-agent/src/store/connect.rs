//! Connections to the destination.

use strait_postgres::{Client, ConnectionUri};
use strait_proto::TaskId;

use super::application_name;
use crate::error::{Context as _, Error};

/// What is acknowledged is forgotten by the source, so no commit may return before its log is on disk, whatever the
/// defaults of the server, the database and the role are. A stricter choice stays.
const DURABLE_SQL: &str = "SELECT set_config('synchronous_commit', 'on', false)
 WHERE current_setting('synchronous_commit') = 'off'";

/// Connects for a task: the server knows the connection as the task's, and what it commits is durable.
pub(crate) async fn connect(uri: &ConnectionUri, task_id: &TaskId) -> Result<Client, Error> {
    const DOING: &str = "reach the destination";
    let client = strait_postgres::connect(uri, &application_name(task_id)).await.context(DOING)?;
    client.batch_execute(DURABLE_SQL).await.context(DOING)?;
    Ok(client)
}
