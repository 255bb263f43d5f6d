//! What can happen to a task, and what is to be done about it.

use std::fmt;

use strait_proto::v1::{self, FailureKind, TaskState};

use super::spec::Effect;
use super::{Absence, Phase, Side, State};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A person wants something. The only kind of event that can be refused.
    Asked(Operation),
    /// The coordinator came back and read the task from its store.
    Restored,
    /// Every check has answered.
    Prechecked { passed: bool },
    /// An agent runs the task, in this phase.
    PhaseReached { side: Side, phase: Phase },
    /// An agent broke off and tries again.
    Interrupted { failure: v1::Failure, attempt: u32, next_attempt_us: i64 },
    /// An agent broke off for good.
    AgentFailed { failure: v1::Failure },
    /// `once` is fulfilled.
    AgentFinished,
    /// The coordinator does not reach these agents.
    AgentsAbsent(Absence),
    /// Both agents are there, working under the current epoch.
    AgentsPresent,
    /// Both agents are there, and at least one does not work on the task; the failure says which.
    AgentsFree { failure: v1::Failure },
    /// The retry window closed.
    WindowSpent,
    /// Nothing runs at either agent any more, or what runs there is fenced off.
    Stopped,
    /// Nothing of the task is left on this side.
    SideReleased { side: Side },
    /// This side's release met an obstacle.
    ReleaseBlocked { side: Side, failure: v1::Failure },
}

/// What operators ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Precheck,
    Start,
    Pause,
    Resume,
    Release,
    /// The specification changes, with this effect.
    Update(Effect),
}

/// What is to be done once the new state is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Ask both agents for their checks; ends in [`Event::Prechecked`].
    Precheck,
    /// Assign the task to both agents. The epoch that is stored with the new state is a new one.
    Assign,
    /// Tell both agents to stop; nobody waits for it.
    Revoke,
    /// Stop the source-agent, so that it drains, then the sink-agent; ends in [`Event::Stopped`].
    Stop,
    /// Remove what is left on each side; ends in [`Event::SideReleased`] for each.
    Release,
}

/// What the decision depends on besides the state.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Microseconds since the Unix epoch.
    pub(crate) now_us: i64,
    pub(crate) windows: Windows,
    /// The agents that are not connected at this moment.
    pub(crate) absence: Option<Absence>,
    /// Whether the task was ever given to agents, so that there may be something to remove.
    pub(crate) assigned: bool,
}

/// How long a task may retry, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) connection_us: i64,
    pub(crate) other_us: i64,
}

impl Windows {
    pub(crate) fn of(self, failure: &v1::Failure) -> i64 {
        if failure.kind() == FailureKind::Connection { self.connection_us } else { self.other_us }
    }

    /// The shorter of each.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            connection_us: self.connection_us.min(other.connection_us),
            other_us: self.other_us.min(other.other_us),
        }
    }
}

/// The decision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) state: State,
    pub(crate) commands: Vec<Command>,
}

impl Outcome {
    pub(crate) fn new(state: State, commands: impl Into<Vec<Command>>) -> Self {
        Self { state, commands: commands.into() }
    }

    pub(crate) fn unchanged(state: &State) -> Self {
        Self::new(state.clone(), [])
    }
}

/// The task's state does not allow what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task is {state}: {operation} is possible in {}", list(allowed))]
pub(crate) struct Refused {
    pub(crate) operation: Operation,
    pub(crate) state: TaskState,
    pub(crate) allowed: &'static [TaskState],
}

impl Operation {
    /// The states that allow it. A pause and a release that were asked for before are not refused either.
    pub(crate) const fn allowed(self) -> &'static [TaskState] {
        use TaskState::{
            Created, Failed, FullSync, Incremental, Paused, PrecheckFailed, Prechecking, Ready, Retrying,
            SchemaSync,
        };
        match self {
            Self::Precheck => &[Created, PrecheckFailed, Ready, Paused, Failed],
            Self::Start => &[Created, Prechecking, PrecheckFailed, Ready],
            Self::Pause => &[SchemaSync, FullSync, Incremental, Retrying],
            Self::Resume => &[Paused, Failed],
            Self::Release => &[],
            Self::Update(_) => &[
                Created,
                Prechecking,
                PrecheckFailed,
                Ready,
                SchemaSync,
                FullSync,
                Incremental,
                Retrying,
                Paused,
                Failed,
            ],
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Precheck => "precheck",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Release => "release",
            Self::Update(_) => "update",
        })
    }
}

fn list(states: &[TaskState]) -> String {
    let names: Vec<_> = states.iter().map(|state| state.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "no state".to_owned(),
    }
}
