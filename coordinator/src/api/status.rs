//! Where errors become what a gRPC client sees. The only place.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::control::HelloError;
use crate::error::RequestError;
use crate::registry::{SessionEnd, TooManySessions};

/// Of the reasons, as google.rpc.ErrorInfo has it.
const DOMAIN: &str = "strait";
/// The key of what to do about an error.
const REMEDY: &str = "remedy";

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let mut text = error.to_string();
        if let RequestError::Store(error) = &error {
            let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
            text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            tracing::error!(error = text, "a request failed because of the store");
        }
        let (code, reason) = class(&error);
        Self::with_error_details(code, text, details(&error, reason))
    }
}

/// The code, and the reason that programs may rely on.
const fn class(error: &RequestError) -> (Code, &'static str) {
    match error {
        RequestError::NotFound(_) => (Code::NotFound, "TASK_NOT_FOUND"),
        RequestError::NoToken(_) => (Code::NotFound, "TOKEN_NOT_FOUND"),
        RequestError::Taken(_) => (Code::AlreadyExists, "TOKEN_EXISTS"),
        RequestError::Ambiguous { .. } => (Code::InvalidArgument, "NAME_AMBIGUOUS"),
        RequestError::Invalid(_) => (Code::InvalidArgument, "FIELDS_INVALID"),
        RequestError::NotChangeable(_) => (Code::InvalidArgument, "FIELDS_FIXED"),
        RequestError::Exists { .. } => (Code::AlreadyExists, "TASK_EXISTS"),
        RequestError::Refused(_) => (Code::FailedPrecondition, "STATE_FORBIDS"),
        RequestError::PrecheckRunning => (Code::FailedPrecondition, "PRECHECK_RUNNING"),
        RequestError::Unconfirmed(_) => (Code::FailedPrecondition, "WARNINGS_UNCONFIRMED"),
        RequestError::Agent(_) => (Code::FailedPrecondition, "AGENT_FAILED"),
        RequestError::TooMany { .. } => (Code::ResourceExhausted, "LIMIT_REACHED"),
        RequestError::ShuttingDown => (Code::Unavailable, "SHUTTING_DOWN"),
        RequestError::Store(_) => (Code::Internal, "STORE_FAILED"),
    }
}

fn details(error: &RequestError, reason: &str) -> ErrorDetails {
    let remedy = error.remedy();
    let metadata: HashMap<String, String> =
        remedy.map(|remedy| (REMEDY.to_owned(), remedy)).into_iter().collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    match error {
        RequestError::Invalid(problems) => {
            for problem in problems {
                details.add_bad_request_violation(&problem.field, &problem.message);
            }
        }
        RequestError::NotChangeable(fields) => {
            for field in fields {
                details.add_bad_request_violation(&field.difference.field, field.to_string());
            }
        }
        RequestError::Exists { differences, .. } => {
            for difference in differences {
                details.add_bad_request_violation(&difference.field, difference.to_string());
            }
        }
        RequestError::Refused(refused) => {
            details.add_precondition_failure_violation("STATE", refused.state.name(), refused.to_string());
        }
        _ => {}
    }
    details
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
