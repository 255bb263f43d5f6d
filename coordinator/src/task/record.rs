//! What the coordinator keeps about a task.

use strait_proto::v1;
use strait_proto::{Epoch, TaskId};

use super::{Side, State};

/// A task as it is stored, without what became of each object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskRecord {
    pub(crate) task_id: TaskId,
    /// Normalised: every default is filled in.
    pub(crate) spec: v1::TaskSpec,
    /// The name was not given by whoever created the task.
    pub(crate) name_generated: bool,
    /// Empty where the creator gave none.
    pub(crate) client_token: String,
    pub(crate) state: State,
    /// The epoch of the last assignment. Never goes back, not even when a released task is created anew.
    pub(crate) epoch: Epoch,
    /// Whether the task was ever given to agents.
    pub(crate) assigned: bool,
    pub(crate) once: bool,
    pub(crate) created_at_us: i64,
    pub(crate) state_changed_at_us: i64,
    pub(crate) precheck: Vec<v1::PrecheckItem>,
    /// As of the last time it was stored; a running task's is newer in memory.
    pub(crate) progress: Option<v1::TaskProgress>,
}

impl TaskRecord {
    /// What operators see; lists leave `objects` empty.
    pub(crate) fn to_task(&self, objects: Vec<v1::ObjectResult>) -> v1::Task {
        let (attempt, next_attempt_us, retry_until_us) = match &self.state {
            State::Retrying(retry) => {
                let (attempt, next_attempt_us) = retry.attempt();
                (attempt, next_attempt_us, retry.until_us)
            }
            _ => (0, 0, 0),
        };
        v1::Task {
            task_id: self.task_id.to_string(),
            spec: Some(self.spec.clone()),
            state: self.state.shown().into(),
            return_to: self.state.return_to().map_or(0, |phase| phase.task_state().into()),
            epoch: self.epoch.0,
            created_at_us: self.created_at_us,
            state_changed_at_us: self.state_changed_at_us,
            failure: self.state.failure().cloned(),
            retry_until_us,
            next_attempt_us,
            attempt,
            progress: self.progress.clone(),
            precheck: self.precheck.clone(),
            objects,
            alerts: Vec::new(),
        }
    }

    /// The name of the agent that serves one side.
    pub(crate) fn agent(&self, side: Side) -> &str {
        self.endpoint(side).map_or("", |endpoint| &endpoint.agent)
    }

    /// Always there in a validated spec.
    pub(crate) fn endpoint(&self, side: Side) -> Option<&v1::EndpointReference> {
        match side {
            Side::Source => self.spec.source.as_ref(),
            Side::Sink => self.spec.destination.as_ref(),
        }
    }

    /// Whether both tasks use one endpoint of one agent, on the same side.
    pub(crate) fn shares_endpoint(&self, other: &Self) -> bool {
        Side::BOTH.into_iter().any(|side| match (self.endpoint(side), other.endpoint(side)) {
            (Some(mine), Some(theirs)) => mine.agent == theirs.agent && mine.endpoint == theirs.endpoint,
            _ => false,
        })
    }
}
