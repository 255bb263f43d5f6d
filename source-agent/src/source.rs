//! One task's source: how to reach it, and the names of what the task makes there.

use strait_postgres::replication::ReplicationConnection;
use strait_postgres::{Client, ConnectionUri, Error, PublicationName, SlotName};
use strait_proto::TaskId;

/// The source database of a task.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) task_id: TaskId,
    /// The slot that guards what is not durable at the destination yet.
    pub(crate) slot: SlotName,
    /// The temporary slot whose snapshot a repeated copy reads.
    pub(crate) copy_slot: SlotName,
    /// The temporary copy of `slot` from which a long backlog is read.
    pub(crate) catch_up_slot: SlotName,
    pub(crate) publication: PublicationName,
    /// What `pg_stat_activity` and `pg_stat_replication` show.
    pub(crate) application_name: String,
    uri: ConnectionUri,
}

impl Source {
    pub(crate) fn new(task_id: TaskId, uri: ConnectionUri) -> Self {
        Self {
            slot: SlotName::for_task(&task_id),
            copy_slot: SlotName::temporary_for_task(&task_id),
            catch_up_slot: SlotName::catch_up_for_task(&task_id),
            publication: PublicationName::for_task(&task_id),
            application_name: format!("strait-source {task_id}"),
            task_id,
            uri,
        }
    }

    pub(crate) fn uri(&self) -> &ConnectionUri {
        &self.uri
    }

    /// Every slot that the task makes.
    pub(crate) fn slots(&self) -> [&SlotName; 3] {
        [&self.slot, &self.copy_slot, &self.catch_up_slot]
    }

    /// A connection for SQL.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        strait_postgres::connect(&self.uri, &self.application_name).await
    }

    /// A connection for the replication protocol.
    pub(crate) async fn connect_replication(&self) -> Result<ReplicationConnection, Error> {
        ReplicationConnection::connect(&self.uri, &self.application_name).await
    }
}
