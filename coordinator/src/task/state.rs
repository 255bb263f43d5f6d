//! The states of a task, each with the data that belongs to it. All of it is durable.

use std::fmt;

use serde::{Deserialize, Serialize};
use strait_proto::v1::{self, TaskState};

use super::FailureFields;

/// Where a task stands. The comment says who brings a task there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum State {
    /// Stored, nothing done yet. Set by its creation.
    Created,
    /// The agents are answering the checks. Set by an operator.
    Prechecking {
        /// Whether to start once all have passed.
        then_start: bool,
    },
    /// At least one check failed. Set by the coordinator.
    PrecheckFailed,
    /// Every check passed. Set by the coordinator.
    Ready,
    /// Both agents are assigned. The phase is the one that the source-agent reported last, or the one
    /// expected before it did.
    Running {
        /// How far the task is.
        phase: Phase,
    },
    /// Assigned or waiting for an agent, and not getting on. Set by reports and by lost sessions.
    Retrying(Retry),
    /// An operator asked for a pause; the agents are finishing. Shown as what the task was doing.
    Pausing {
        /// The phase to continue in.
        return_to: Phase,
        /// Set where it was not getting on.
        retry: Option<Retry>,
    },
    /// Nothing runs; slot and position stay. Set by the coordinator once the agents have stopped.
    Paused {
        /// The phase to continue in.
        return_to: Phase,
    },
    /// `once` is fulfilled. Set by the source-agent's report.
    Finished,
    /// A person is needed. Set by an agent's report or by the end of a retry window.
    Failed {
        /// The phase to continue in.
        return_to: Phase,
        /// Why.
        #[serde(with = "FailureFields")]
        failure: v1::Failure,
    },
    /// What the task made is being removed; tried until it is done. Set by an operator.
    Releasing {
        /// How far the source is.
        source: SideRelease,
        /// How far the destination is.
        sink: SideRelease,
    },
    /// Nothing is left of the task but this line. Set by the coordinator.
    Released,
}

/// The parts of a task's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    SchemaSync,
    FullSync,
    Incremental,
}

/// Why a task is not getting on, and until when that is tolerated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retry {
    /// The phase to continue in.
    pub(crate) return_to: Phase,
    /// When it last ran, microseconds since the Unix epoch: the window counts from here.
    pub(crate) since_us: i64,
    /// When the window closes, microseconds since the Unix epoch.
    pub(crate) until_us: i64,
    pub(crate) reason: RetryReason,
}

/// What keeps a task from running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RetryReason {
    /// An agent said so, and has not yet taken it back by reporting a phase.
    Interrupted(Interruption),
    /// Agents are out of contact, which hides what was last heard of them.
    Absent {
        absence: Absence,
        /// The last word of an agent, where that was an interruption.
        before: Option<Interruption>,
    },
}

/// Broken off, as an agent reported it; the agent tries again by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interruption {
    #[serde(with = "FailureFields")]
    pub(crate) failure: v1::Failure,
    /// From 1; 0 where the task waits for the agents after an assignment.
    pub(crate) attempt: u32,
    /// Microseconds since the Unix epoch; 0 where not known.
    pub(crate) next_attempt_us: i64,
}

/// Agents that the task needs and the coordinator does not reach. At least one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Absence {
    pub(crate) source: bool,
    pub(crate) sink: bool,
    /// Whether they were working on the task when contact was lost.
    pub(crate) lost: bool,
    #[serde(with = "FailureFields")]
    pub(crate) failure: v1::Failure,
}

/// How far one side's release is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SideRelease {
    /// Not done, and nothing known to be in the way.
    Pending,
    /// The last attempt met an obstacle; the next one follows.
    Blocked(#[serde(with = "FailureFields")] v1::Failure),
    /// Nothing of the task is left there.
    Done,
}

/// The two ends of a task, and so the two kinds of agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Side {
    Source,
    Sink,
}

impl State {
    /// What operators see.
    pub(crate) fn shown(&self) -> TaskState {
        match self {
            Self::Created => TaskState::Created,
            Self::Prechecking { .. } => TaskState::Prechecking,
            Self::PrecheckFailed => TaskState::PrecheckFailed,
            Self::Ready => TaskState::Ready,
            Self::Running { phase } | Self::Pausing { return_to: phase, retry: None } => phase.task_state(),
            Self::Retrying(_) | Self::Pausing { retry: Some(_), .. } => TaskState::Retrying,
            Self::Paused { .. } => TaskState::Paused,
            Self::Finished => TaskState::Finished,
            Self::Failed { .. } => TaskState::Failed,
            Self::Releasing { .. } => TaskState::Releasing,
            Self::Released => TaskState::Released,
        }
    }

    /// The phase that a broken-off task continues in.
    pub(crate) fn return_to(&self) -> Option<Phase> {
        match self {
            Self::Retrying(retry) | Self::Pausing { retry: Some(retry), .. } => Some(retry.return_to),
            Self::Paused { return_to } | Self::Failed { return_to, .. } => Some(*return_to),
            _ => None,
        }
    }

    /// Why it failed, why it is retrying, or what its release waits for.
    pub(crate) fn failure(&self) -> Option<&v1::Failure> {
        match self {
            Self::Retrying(retry) | Self::Pausing { retry: Some(retry), .. } => Some(retry.failure()),
            Self::Failed { failure, .. }
            | Self::Releasing { source: SideRelease::Blocked(failure), .. }
            | Self::Releasing { sink: SideRelease::Blocked(failure), .. } => Some(failure),
            _ => None,
        }
    }

    /// Whether the agents are to work on the task.
    pub(crate) const fn wants_agents(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Retrying(_))
    }

    /// Whether the coordinator is in the middle of something that an operator may be waiting for.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Prechecking { .. } | Self::Pausing { .. })
    }
}

impl Phase {
    pub(crate) const fn task_state(self) -> TaskState {
        match self {
            Self::SchemaSync => TaskState::SchemaSync,
            Self::FullSync => TaskState::FullSync,
            Self::Incremental => TaskState::Incremental,
        }
    }

    /// None for a state that is not a phase.
    pub(crate) const fn from_task_state(state: TaskState) -> Option<Self> {
        match state {
            TaskState::SchemaSync => Some(Self::SchemaSync),
            TaskState::FullSync => Some(Self::FullSync),
            TaskState::Incremental => Some(Self::Incremental),
            _ => None,
        }
    }
}

impl Retry {
    /// What is shown.
    pub(crate) const fn failure(&self) -> &v1::Failure {
        match &self.reason {
            RetryReason::Interrupted(interruption) => &interruption.failure,
            RetryReason::Absent { absence, .. } => &absence.failure,
        }
    }

    /// The agent's attempt and when the next one is due, where an agent is trying.
    pub(crate) const fn attempt(&self) -> (u32, i64) {
        match &self.reason {
            RetryReason::Interrupted(interruption) => (interruption.attempt, interruption.next_attempt_us),
            RetryReason::Absent { .. } => (0, 0),
        }
    }

    /// The agents that are out of contact.
    pub(crate) const fn absence(&self) -> Option<&Absence> {
        match &self.reason {
            RetryReason::Interrupted(_) => None,
            RetryReason::Absent { absence, .. } => Some(absence),
        }
    }
}

impl Absence {
    /// Without one side; None where nobody is left.
    pub(crate) fn without(self, side: Side) -> Option<Self> {
        let rest = match side {
            Side::Source => Self { source: false, ..self },
            Side::Sink => Self { sink: false, ..self },
        };
        (rest.source || rest.sink).then_some(rest)
    }
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Source, Self::Sink];

    pub(crate) const fn role(self) -> v1::AgentRole {
        match self {
            Self::Source => v1::AgentRole::Source,
            Self::Sink => v1::AgentRole::Sink,
        }
    }

    pub(crate) const fn from_role(role: v1::AgentRole) -> Option<Self> {
        match role {
            v1::AgentRole::Source => Some(Self::Source),
            v1::AgentRole::Sink => Some(Self::Sink),
            v1::AgentRole::Unspecified => None,
        }
    }

    /// The binary of this side's agent.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Source => "strait-source-agent",
            Self::Sink => "strait-sink-agent",
        }
    }

    /// What people call this side's database; also the field of the task file.
    pub(crate) const fn database(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "destination",
        }
    }
}

/// The kind of agent.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source-agent",
            Self::Sink => "sink-agent",
        })
    }
}
