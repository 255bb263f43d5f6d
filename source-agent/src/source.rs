//! One task's source: how to reach it, and the names of what the task makes there.

use strait_postgres::replication::{ReplicationConnection, SystemIdentity, TimelineSwitch};
use strait_postgres::{Client, ConnectionUri, Error, PublicationName, SlotName};
use strait_proto::{TaskId, v1};

use crate::choices::{Carried, Parts};

/// Which cluster a connection has reached.
pub(crate) struct Identified {
    pub(crate) identity: v1::SourceIdentity,
    /// The ancestors of its timeline.
    pub(crate) history: Vec<v1::TimelineSwitch>,
    /// Where changes are to follow: a connection that can create a slot.
    pub(crate) replication: Option<ReplicationConnection>,
}

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
    /// What is synchronised.
    pub(crate) parts: Parts,
    /// The operations that are sent.
    pub(crate) carried: Carried,
    /// Partitioned tables keep their structure: their partitions are tables of the task.
    pub(crate) keeps_partitions: bool,
    uri: ConnectionUri,
}

impl Source {
    pub(crate) fn new(task_id: TaskId, uri: ConnectionUri, spec: Option<&v1::TaskSpec>) -> Self {
        Self {
            slot: SlotName::for_task(&task_id),
            copy_slot: SlotName::temporary_for_task(&task_id),
            catch_up_slot: SlotName::catch_up_for_task(&task_id),
            publication: PublicationName::for_task(&task_id),
            application_name: format!("strait-source {task_id}"),
            parts: Parts::of(spec),
            carried: Carried::of(spec),
            keeps_partitions: spec.is_some_and(|it| it.partitions() == v1::Partitions::Preserve),
            task_id,
            uri,
        }
    }

    pub(crate) fn uri(&self) -> &ConnectionUri {
        &self.uri
    }

    /// Whether a partition that the source drops is dropped at the destination: it takes its rows along, as TRUNCATE does.
    pub(crate) fn drops_partitions(&self) -> bool {
        self.keeps_partitions && self.carried.by_task().truncate
    }

    /// Every slot that the task makes.
    pub(crate) fn slots(&self) -> [&SlotName; 3] {
        [&self.slot, &self.copy_slot, &self.catch_up_slot]
    }

    /// A connection for SQL.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        strait_postgres::connect(&self.uri, &self.application_name).await
    }

    /// Which cluster `client` is connected to. Where changes are to follow that is asked on a connection for replication, which
    /// needs the right to it.
    pub(crate) async fn identify(&self, client: &Client) -> Result<Identified, Error> {
        if !self.parts.incremental {
            let identity = Self::identify_by_sql(client).await?;
            return Ok(Identified { identity, history: Vec::new(), replication: None });
        }
        let mut replication = self.connect_replication().await?;
        let SystemIdentity { system_identifier, timeline, .. } = replication.identify_system().await?;
        let history = replication.timeline_history(timeline).await?.into_iter();
        let history = history.map(|TimelineSwitch { timeline, switch_lsn }| v1::TimelineSwitch {
            timeline,
            switch_lsn: switch_lsn.0,
        });
        Ok(Identified {
            identity: v1::SourceIdentity { system_identifier, timeline },
            history: history.collect(),
            replication: Some(replication),
        })
    }

    /// The same without the right to replicate.
    async fn identify_by_sql(client: &Client) -> Result<v1::SourceIdentity, Error> {
        const SQL: &str = "SELECT system_identifier::text, timeline_id
            FROM pg_control_system(), pg_control_checkpoint()";
        let row = client.query_one(SQL, &[]).await?;
        let timeline: i32 = row.try_get(1)?;
        Ok(v1::SourceIdentity { system_identifier: row.try_get(0)?, timeline: timeline.unsigned_abs() })
    }

    /// A connection for the replication protocol.
    pub(crate) async fn connect_replication(&self) -> Result<ReplicationConnection, Error> {
        ReplicationConnection::connect(&self.uri, &self.application_name).await
    }
}
