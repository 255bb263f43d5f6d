//! Why a request of an operator is not carried out.

use strait_proto::TaskId;

use crate::store::StoreError;
use crate::task::Refused;
use crate::task::spec::{Difference, Problem};

/// The answer to a request that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// No task has this id or name.
    #[error("there is no task {0:?}")]
    NotFound(String),
    /// More than one task has this name.
    #[error("{} tasks are called {name:?}; use an id: {}", ids.len(), join(ids, ", "))]
    Ambiguous { name: String, ids: Vec<TaskId> },
    /// No token has this name.
    #[error("there is no token {0:?}")]
    NoToken(String),
    /// A name that has to be the only one of its kind is not.
    #[error("{0}")]
    Taken(String),
    /// Fields are wrong.
    #[error("{}", join(.0, "; "))]
    Invalid(Vec<Problem>),
    /// The task is there already and is not the one that was asked for.
    #[error("{what}, and differs: {}", join(differences, "; "))]
    Exists { what: String, differences: Vec<Difference> },
    /// Only some fields may change while a task exists, and some of those only while it is at rest.
    #[error(
        "these fields cannot be changed now: {}; retry, on_error and apply can be while the task is paused, others need a \
         task that is released and created anew",
        join(.0, "; ")
    )]
    NotChangeable(Vec<Difference>),
    /// Not in this state.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The coordinator's own bounds.
    #[error("there are {limit} {what}, which is the limit")]
    TooMany { what: &'static str, limit: usize },
    /// A precheck of the same task is under way.
    #[error("a precheck of this task is running; it can be asked for again when that one has ended")]
    PrecheckRunning,
    /// An agent could not do what was asked for.
    #[error("{}", .0.cause)]
    Agent(strait_proto::v1::Failure),
    /// What was asked for could not be stored, and so was not done.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordinator ends.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

impl RequestError {
    /// One wrong field.
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Problem { field: field.to_owned(), message: message.into() }])
    }
}

fn join<T: ToString>(items: &[T], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
