//! Why a request of an operator is not carried out.

use strait_proto::TaskId;

use crate::store::StoreError;
use crate::task::Refused;
use crate::task::spec::{Difference, NotChangeable, Problem};

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
    /// Fields that cannot change now, or not at all.
    #[error("these fields cannot be changed: {}", join(.0, "; "))]
    NotChangeable(Vec<NotChangeable>),
    /// Not in this state.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The coordinator's own bounds.
    #[error("there are {limit} {what}, which is the limit")]
    TooMany { what: &'static str, limit: usize },
    /// A precheck of the same task is under way.
    #[error("a precheck of this task is running; it can be asked for again when that one has ended")]
    PrecheckRunning,
    /// A start that wants every warning confirmed.
    #[error("{}", if .0.is_empty() { "the task is not prechecked yet".to_owned() }
                  else { format!("warnings are not confirmed: {}", join(.0, ", ")) })]
    Unconfirmed(Vec<String>),
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
    /// What to do about it, where that is not said by the error itself.
    pub(crate) fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::NotFound(_) => {
                "`strait task list` shows the tasks there are; `--all` those that are released, too"
            }
            Self::NoToken(_) => "`strait token list` shows the tokens there are",
            Self::Exists { .. } => {
                "change the task that is there with `strait task update`, or create another one under another token and id"
            }
            Self::Agent(failure) => &failure.remedy,
            Self::Unconfirmed(_) => {
                "`strait task precheck TASK`, then confirm what is acceptable with `--confirm ITEM`"
            }
            Self::TooMany { what: "tasks", .. } => "release tasks that are done",
            Self::ShuttingDown => "try again once a coordinator is there",
            _ => "",
        };
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// One wrong field.
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Problem { field: field.to_owned(), message: message.into() }])
    }
}

fn join<T: ToString>(items: &[T], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
