//! What stands at the endpoints.

use serde::Serialize;
use strait_proto::v1::{self, AgentRole};

use super::FailureView;

/// A database as it answered just now.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointStatusView {
    pub(crate) agent: String,
    /// source, sink.
    pub(crate) role: &'static str,
    pub(crate) endpoint: String,
    pub(crate) database: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureView>,
    pub(crate) slots: Vec<SlotView>,
    /// What belongs to no task of this coordinator.
    pub(crate) orphans: Vec<OrphanView>,
}

/// A replication slot of a task.
#[derive(Debug, Serialize)]
pub(crate) struct SlotView {
    pub(crate) name: String,
    pub(crate) task_id: String,
    pub(crate) database: String,
    pub(crate) active: bool,
    pub(crate) retained_bytes: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) wal_status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) safe_wal_bytes: Option<i64>,
    pub(crate) xmin_age: u64,
}

/// Something that a task has made which this coordinator does not know.
#[derive(Debug, Serialize)]
pub(crate) struct OrphanView {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) task_id: String,
}

impl From<&v1::EndpointStatus> for EndpointStatusView {
    fn from(status: &v1::EndpointStatus) -> Self {
        let slot = |slot: &v1::SlotInfo| SlotView {
            name: slot.name.clone(),
            task_id: slot.task_id.clone(),
            database: slot.database.clone(),
            active: slot.active,
            retained_bytes: slot.retained_bytes,
            wal_status: slot.wal_status.clone(),
            safe_wal_bytes: slot.safe_wal_bytes,
            xmin_age: slot.xmin_age,
        };
        let orphan = |orphan: &v1::Leftover| OrphanView {
            kind: orphan.kind.clone(),
            name: orphan.name.clone(),
            task_id: orphan.task_id.clone(),
        };
        Self {
            agent: status.agent.clone(),
            role: role(status.role()),
            endpoint: status.endpoint.clone(),
            database: status.database.clone(),
            server: status.server.clone(),
            failure: status.failure.as_ref().map(FailureView::from),
            slots: status.slots.iter().map(slot).collect(),
            orphans: status.orphans.iter().map(orphan).collect(),
        }
    }
}

/// The word for a kind of agent.
pub(super) fn role(role: AgentRole) -> &'static str {
    match role {
        AgentRole::Source => "source",
        AgentRole::Sink => "sink",
        AgentRole::Unspecified => "unspecified",
    }
}
