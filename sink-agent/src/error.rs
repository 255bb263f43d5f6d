//! What can go wrong at the destination, and the one place that turns it into a gRPC status.
//!
//! The status' code says whose turn it is; its details are the encoded [`v1::Failure`] that the source-agent
//! reports.

use std::borrow::Cow;

use prost::Message as _;
use strait_proto::{Epoch, v1};
use tonic::{Code, Status};

/// Raised by the fence functions when another session, or a newer epoch, holds the task (`store/layout.sql`).
const LOST_SQLSTATE: &str = "STR01";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database said no, or could not be reached.
    #[error("{doing}")]
    Database {
        /// What was being done, as a bare verb phrase.
        doing: Cow<'static, str>,
        /// What the database said.
        #[source]
        source: strait_postgres::Error,
    },
    /// It cannot work until a person changes something.
    #[error("{}", .0.cause)]
    Refused(Box<v1::Failure>),
    /// It does not work now and may work later, for the reason given.
    #[error("{0}")]
    NotNow(String),
    /// This agent was not assigned the task, or not with this epoch yet.
    #[error("task {task_id} is not assigned to this sink-agent with epoch {epoch}")]
    NotAssigned {
        /// The task.
        task_id: String,
        /// What the caller holds.
        epoch: Epoch,
    },
    /// The caller does not know the secret of its epoch.
    #[error("the token does not belong to this assignment")]
    WrongToken,
    /// The caller's certificate is that of another agent than the task's.
    #[error(
        "the task is assigned to source-agent {assigned}, and the certificate is of source-agent {given}"
    )]
    WrongAgent {
        /// Whom the certificate names.
        given: String,
        /// Whom the coordinator assigned.
        assigned: String,
    },
    /// The caller is a zombie.
    #[error("epoch {given} is over: epoch {current} holds the task")]
    StaleEpoch {
        /// What the caller holds.
        given: Epoch,
        /// What the assignment or the destination holds.
        current: Epoch,
    },
    /// No session is open: the sink-agent has started anew, for instance.
    #[error("no session is open for the task: it starts with OpenTask")]
    NotOpen,
    /// A newer session of the task has taken over.
    #[error("a newer session has taken over the task")]
    Replaced,
    /// The assignment was revoked, or the process stops.
    #[error("the sink-agent stops working on the task")]
    Stopped,
    /// The caller did not keep to the contract.
    #[error("violation of the protocol: {0}")]
    Protocol(String),
}

impl Error {
    /// A definite refusal: what is wrong, and what to do about it.
    pub(crate) fn refused(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused(Box::new(v1::Failure {
            kind: v1::FailureKind::Other.into(),
            definite: true,
            cause: cause.into(),
            remedy: remedy.into(),
        }))
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }

    /// The database failed while something was being done, said as a bare verb phrase.
    pub(crate) fn database(
        doing: impl Into<Cow<'static, str>>,
        source: impl Into<strait_postgres::Error>,
    ) -> Self {
        let source = source.into();
        if source.sqlstate().is_some_and(|state| state.code() == LOST_SQLSTATE) {
            return Self::Replaced;
        }
        Self::Database { doing: doing.into(), source }
    }

    /// What the database said, where it was the database.
    pub(crate) fn database_error(&self) -> Option<&strait_postgres::Error> {
        match self {
            Self::Database { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The five characters that the server gave, where it was the server that failed.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        self.database_error()?.sqlstate().map(|state| state.code())
    }

    /// For programs and people.
    pub fn failure(&self) -> v1::Failure {
        let (kind, definite) = match self {
            Self::Database { doing, source } => {
                let failure = source.failure();
                return v1::Failure { cause: format!("{doing}: {}", failure.cause), ..failure };
            }
            Self::Refused(failure) => return v1::Failure::clone(failure),
            Self::NotAssigned { .. } | Self::NotOpen | Self::Replaced | Self::Stopped => {
                (v1::FailureKind::Connection, false)
            }
            Self::NotNow(_) | Self::Protocol(_) => (v1::FailureKind::Other, false),
            Self::WrongToken | Self::WrongAgent { .. } | Self::StaleEpoch { .. } => {
                (v1::FailureKind::Other, true)
            }
        };
        v1::Failure { kind: kind.into(), definite, cause: self.to_string(), remedy: String::new() }
    }

    fn code(&self) -> Code {
        match self {
            Self::Database { source, .. } if source.is_connection() => Code::Unavailable,
            Self::Database { .. } | Self::Refused(_) => Code::Internal,
            Self::NotAssigned { .. } | Self::NotOpen | Self::Stopped | Self::NotNow(_) => Code::Unavailable,
            Self::WrongToken => Code::Unauthenticated,
            Self::WrongAgent { .. } => Code::PermissionDenied,
            Self::StaleEpoch { .. } => Code::FailedPrecondition,
            Self::Replaced => Code::Aborted,
            Self::Protocol(_) => Code::InvalidArgument,
        }
    }
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Self {
        let failure = error.failure();
        Self::with_details(error.code(), failure.cause.clone(), failure.encode_to_vec().into())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Context<T> {
    /// `doing` is a bare verb phrase: "load the table states".
    fn context(self, doing: impl Into<Cow<'static, str>>) -> Result<T, Error>;
}

impl<T, E: Into<strait_postgres::Error>> Context<T> for Result<T, E> {
    fn context(self, doing: impl Into<Cow<'static, str>>) -> Result<T, Error> {
        self.map_err(|error| Error::database(doing, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whose_turn_it_is_and_carries_the_failure() {
        let stale = Error::StaleEpoch { given: Epoch(1), current: Epoch(2) };
        for (error, code, definite) in [
            (Error::WrongToken, Code::Unauthenticated, true),
            (stale, Code::FailedPrecondition, true),
            (Error::Replaced, Code::Aborted, false),
            (Error::NotOpen, Code::Unavailable, false),
            (Error::protocol("gap"), Code::InvalidArgument, false),
            (Error::refused("the table is gone", "create it"), Code::Internal, true),
        ] {
            let status = Status::from(&error);
            assert_eq!(status.code(), code, "{error}");
            let failure = v1::Failure::decode(status.details()).unwrap();
            assert_eq!(failure, error.failure());
            assert_eq!(failure.definite, definite, "{error}");
        }
    }
}
