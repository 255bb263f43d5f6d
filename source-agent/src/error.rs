//! Why a run broke off, apart from what to do about it.
//!
//! Everything that an attempt does ends in a [`RunError`], which becomes a [`v1::Failure`] in one place: whether trying
//! again may help decides between `interrupted` and `failed`, its kind decides which retry window counts.

use std::error::Error as _;

use prost::Message as _;
use strait_proto::v1::{self, FailureKind};
use tonic::{Code, Status};

/// Something on the way from the source to the sink did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The source database.
    #[error("{doing}")]
    Source {
        /// A verb phrase: `create the publication`.
        doing: String,
        #[source]
        source: strait_postgres::Error,
    },
    /// The sink-agent answered with an error, or the call broke.
    #[error("{doing}")]
    Sink {
        /// A verb phrase: `copy a chunk of public.orders`.
        doing: String,
        #[source]
        source: Box<Status>,
    },
    /// The sink-agent could not be reached.
    #[error("connect to the sink-agent at {address}")]
    SinkConnect {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// The exported snapshot is gone; what is unfinished has to begin again under a new one.
    #[error("the snapshot of the full copy is gone")]
    SnapshotGone,
    /// A transaction in progress cannot be streamed: the next session goes without streaming, until it is over.
    #[error("transaction {xid} has to come whole: {reason}")]
    StreamingPutOff {
        xid: u32,
        /// Why, for people.
        reason: String,
    },
    /// What streaming was put off for is over: the next session streams again.
    #[error("transactions in progress are streamed again")]
    StreamingAgain,
    /// What comes of a table cannot be followed any more: it alone begins over.
    #[error("{reason}")]
    BeginOver {
        table_id: u32,
        /// Why, for people.
        reason: String,
    },
    /// Tables have joined the task: the next session has them.
    #[error("tables have joined the task")]
    TablesJoined,
    /// What Strait itself found.
    #[error("{}", .0.cause)]
    Found(Box<v1::Failure>),
}

impl RunError {
    /// Something that stays wrong until a person acts.
    pub(crate) fn definite(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::found(FailureKind::Other, true, cause.into(), remedy.into())
    }

    /// Something that may be gone at the next attempt.
    pub(crate) fn transient(cause: impl Into<String>) -> Self {
        Self::found(FailureKind::Other, false, cause.into(), String::new())
    }

    /// A connection that is lost.
    pub(crate) fn connection(cause: impl Into<String>) -> Self {
        Self::found(FailureKind::Connection, false, cause.into(), String::new())
    }

    fn found(kind: FailureKind, definite: bool, cause: String, remedy: String) -> Self {
        Self::Found(Box::new(v1::Failure { kind: kind.into(), definite, cause, remedy }))
    }

    /// What happened and what it means, for the coordinator and for people.
    pub(crate) fn failure(&self) -> v1::Failure {
        match self {
            Self::Source { doing, source } => within(doing, source.failure()),
            Self::Sink { doing, source } => within(doing, status_failure(source)),
            Self::SinkConnect { source, .. } => v1::Failure {
                kind: FailureKind::Connection.into(),
                definite: false,
                cause: chain(&self.to_string(), source.source()),
                remedy: "Check that the sink-agent runs and that its data address is reachable from here."
                    .into(),
            },
            Self::SnapshotGone => v1::Failure {
                kind: FailureKind::Other.into(),
                definite: false,
                cause: format!("{self}: unfinished tables begin again under a new one"),
                remedy: String::new(),
            },
            Self::StreamingPutOff { .. } | Self::StreamingAgain | Self::TablesJoined => v1::Failure {
                kind: FailureKind::Other.into(),
                definite: false,
                cause: self.to_string(),
                remedy: String::new(),
            },
            Self::BeginOver { reason, .. } => v1::Failure {
                kind: FailureKind::Other.into(),
                definite: true,
                cause: reason.clone(),
                remedy: String::new(),
            },
            Self::Found(failure) => (**failure).clone(),
        }
    }

    /// Whether a newer assignment has taken the task over, so that this run is the zombie.
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self, Self::Sink { source, .. } if source.code() == Code::FailedPrecondition)
    }

    /// Whether the sink may not have received the assignment yet.
    pub(crate) fn may_be_early(&self) -> bool {
        let early = [Code::Unauthenticated, Code::Unavailable];
        matches!(self, Self::Sink { source, .. } if early.contains(&source.code()))
    }
}

/// A task of ours panicked: a fault of this program, which may not come again.
impl From<tokio::task::JoinError> for RunError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::transient(format!("a part of the run ended unexpectedly: {error}"))
    }
}

/// Says what was being done when a lower layer failed.
pub(crate) trait During<T> {
    /// `doing` is a verb phrase without an end: `create the slot`.
    fn during(self, doing: impl Into<String>) -> Result<T, RunError>;
}

impl<T> During<T> for Result<T, strait_postgres::Error> {
    fn during(self, doing: impl Into<String>) -> Result<T, RunError> {
        self.map_err(|source| RunError::Source { doing: doing.into(), source })
    }
}

impl<T> During<T> for Result<T, tokio_postgres::Error> {
    fn during(self, doing: impl Into<String>) -> Result<T, RunError> {
        self.map_err(strait_postgres::Error::from).during(doing)
    }
}

impl<T> During<T> for Result<T, Status> {
    fn during(self, doing: impl Into<String>) -> Result<T, RunError> {
        self.map_err(|source| RunError::Sink { doing: doing.into(), source: Box::new(source) })
    }
}

fn within(doing: &str, failure: v1::Failure) -> v1::Failure {
    v1::Failure { cause: format!("{doing}: {}", failure.cause), ..failure }
}

/// What a status of the sink means. The sink's own failure in the details wins.
fn status_failure(status: &Status) -> v1::Failure {
    if !status.details().is_empty()
        && let Ok(failure) = v1::Failure::decode(status.details())
        && !failure.cause.is_empty()
    {
        return failure;
    }
    let (kind, definite, remedy) = match status.code() {
        Code::Unavailable
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unauthenticated => (FailureKind::Connection, false, ""),
        // HTTP/2 and transport trouble of an established connection comes as Internal with a source.
        Code::Internal if status.source().is_some() => (FailureKind::Connection, false, ""),
        Code::FailedPrecondition => {
            (FailureKind::Other, true, "A newer assignment of the task has taken over; nothing to do here.")
        }
        Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange | Code::PermissionDenied => {
            (FailureKind::Other, true, "Check that both agents run the same version.")
        }
        _ => (FailureKind::Other, false, ""),
    };
    let words = match status.message() {
        "" => status.code().description(),
        message => message,
    };
    v1::Failure { kind: kind.into(), definite, cause: chain(words, status.source()), remedy: remedy.into() }
}

/// A text and all that caused it, in one line, without saying the same twice in a row.
fn chain(text: &str, mut source: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut chain = text.to_owned();
    while let Some(error) = source {
        let words = error.to_string();
        if !chain.ends_with(&words) {
            chain.push_str(": ");
            chain.push_str(&words);
        }
        source = error.source();
    }
    chain
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sink(status: Status) -> v1::Failure {
        Err::<(), _>(status).during("open the task").unwrap_err().failure()
    }

    #[test]
    fn codes_of_the_sink_decide_between_retrying_and_failing() {
        for (code, kind, definite) in [
            (Code::Unavailable, FailureKind::Connection, false),
            (Code::Cancelled, FailureKind::Connection, false),
            (Code::Unknown, FailureKind::Connection, false),
            (Code::Unauthenticated, FailureKind::Connection, false),
            (Code::Aborted, FailureKind::Other, false),
            (Code::Internal, FailureKind::Other, false),
            (Code::ResourceExhausted, FailureKind::Other, false),
            (Code::FailedPrecondition, FailureKind::Other, true),
            (Code::InvalidArgument, FailureKind::Other, true),
        ] {
            let failure = sink(Status::new(code, "words"));
            assert_eq!((failure.kind(), failure.definite), (kind, definite), "{code:?}");
            assert_eq!(failure.cause, "open the task: words");
        }
    }

    #[test]
    fn the_sinks_own_failure_wins_over_the_code() {
        let told = v1::Failure {
            kind: FailureKind::Other.into(),
            definite: true,
            cause: "column x is missing".into(),
            remedy: "ALTER TABLE …".into(),
        };
        let details = Bytes::from(told.encode_to_vec());
        let failure = sink(Status::with_details(Code::Unavailable, "failed", details));
        assert_eq!(failure, v1::Failure { cause: format!("open the task: {}", told.cause), ..told });
    }

    #[test]
    fn details_that_are_no_failure_are_ignored() {
        let failure = sink(Status::with_details(Code::Unavailable, "down", Bytes::from_static(b"\xff\xff")));
        assert_eq!(failure.cause, "open the task: down");
    }
}
