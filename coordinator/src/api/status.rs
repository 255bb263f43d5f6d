//! Where errors become what a gRPC client sees. The only place.

use tonic::Status;

use super::control::HelloError;
use crate::error::RequestError;
use crate::registry::{SessionEnd, TooManySessions};

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let text = error.to_string();
        match error {
            RequestError::NotFound(_) | RequestError::NoToken(_) => Self::not_found(text),
            RequestError::Ambiguous { .. } | RequestError::Invalid(_) | RequestError::NotChangeable(_) => {
                Self::invalid_argument(text)
            }
            RequestError::Exists { .. } | RequestError::Taken(_) => Self::already_exists(text),
            RequestError::Refused(_) | RequestError::PrecheckRunning | RequestError::Agent(_) => {
                Self::failed_precondition(text)
            }
            RequestError::TooMany { .. } => Self::resource_exhausted(text),
            RequestError::ShuttingDown => Self::unavailable(text),
            RequestError::Store(error) => {
                let causes =
                    std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
                tracing::error!(error = text, "a request failed because of the store");
                Self::internal(text)
            }
        }
    }
}

impl From<HelloError> for Status {
    fn from(error: HelloError) -> Self {
        let text = error.to_string();
        match error {
            HelloError::Transport(status) => status,
            HelloError::Somebody { .. } => Self::permission_denied(text),
            HelloError::Late => Self::deadline_exceeded(text),
            HelloError::Missing | HelloError::Invalid { .. } => Self::invalid_argument(text),
            HelloError::Full(TooManySessions) => Self::resource_exhausted(text),
        }
    }
}

impl From<SessionEnd> for Status {
    fn from(end: SessionEnd) -> Self {
        let text = end.to_string();
        match end {
            SessionEnd::Closed => Self::cancelled(text),
            SessionEnd::Replaced => Self::aborted(text),
            SessionEnd::Stalled => Self::resource_exhausted(text),
            SessionEnd::ShuttingDown => Self::unavailable(text),
        }
    }
}
