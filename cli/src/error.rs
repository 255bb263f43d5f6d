//! Why a command did not do what it was asked, and the exit code that says so.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use strait_proto::v1;
use tonic_types::StatusExt as _;

use crate::document::DocumentError;

/// Exit code of a command that did what it was asked.
pub const EXIT_DONE: u8 = 0;
/// Exit code of a command that failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of a command line that cannot be carried out as it is written.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of work that was interrupted before its end, as shells report SIGINT.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument cannot be used.
    #[error("--{argument}: {message}")]
    Argument {
        /// The flag, without its dashes.
        argument: &'static str,
        /// What is wrong with its value. Never the value itself: it may hold a password.
        message: String,
    },
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the coordinator shall be called with cannot be used.
    #[error("call the coordinator")]
    Security(#[from] strait_runtime::security::SecurityError),
    /// A task file is wrong.
    #[error("{path} is not a task file that this version carries out\n{source}")]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong, a line for each.
        source: DocumentError,
    },
    /// The coordinator's URI cannot be used.
    #[error("--coordinator {uri}: {message}")]
    CoordinatorUri {
        /// The URI.
        uri: String,
        /// Why.
        message: String,
    },
    /// Nobody answers at the coordinator's URI.
    #[error("the coordinator at {uri} does not answer: {reason}")]
    Unreachable {
        /// The URI.
        uri: String,
        /// The innermost reason.
        reason: String,
    },
    /// The coordinator refused.
    #[error("{}", refusal(.0))]
    Refused(Box<tonic::Status>),
    /// The coordinator's answer lacks a part that the contract promises.
    #[error("the coordinator answered without {0}; it may be of another version")]
    Answer(&'static str),
    /// The coordinator ended a stream that it should not have ended.
    #[error("the coordinator ended the watch before the task was done")]
    WatchEnded,
    /// A precheck found what keeps the task from starting.
    #[error("{}", precheck_failures(items, *told))]
    PrecheckFailed {
        /// Those that failed.
        items: Vec<v1::PrecheckItem>,
        /// They were printed already.
        told: bool,
    },
    /// Objects could not be created this time either; they were printed.
    #[error("{0} objects have failed again: remove their causes at the destination, then try again")]
    ObjectsFailed(usize),
    /// Databases that agents offer do not answer; they were printed.
    #[error("{0} endpoints do not answer")]
    EndpointsSilent(usize),
    /// A test of alerts reached not every webhook, or there is none; what became of each was printed.
    #[error("the test was not delivered")]
    NotDelivered,
    /// A task has failed.
    #[error("the task failed: {}", .0.cause)]
    TaskFailed(Box<v1::Failure>),
    /// A task ended in a state in which what was asked cannot happen any more.
    #[error("the task is {0}")]
    TaskIs(v1::TaskState),
    /// A release cannot be done until somebody changes something.
    #[error("the release is not complete: {}", .0.cause)]
    ReleaseFailed(Box<v1::Failure>),
    /// A task file says something else than the task that it made.
    #[error("the task file has changed since the task was made: {0}")]
    Changed(String),
    /// A task goes on in the mode that it was started in.
    #[error("the task was started {} --once", if *once { "with" } else { "without" })]
    Mode {
        /// With `--once`.
        once: bool,
    },
    /// The state directory cannot be used.
    #[error("{action} {path}")]
    State {
        /// A verb phrase.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no place for the state.
    #[error("neither XDG_STATE_HOME nor HOME is set, so there is no place for the state")]
    NoStateHome,
    /// The same pair of databases is being synchronised already.
    #[error("another strait sync of the same two databases runs already{}", process(.0))]
    Locked(Option<u32>),
    /// A part of `strait sync` could not be started or ended by itself.
    #[error("{part}")]
    Part {
        /// What failed, as a verb phrase.
        part: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Logging cannot be set up.
    #[error("set up logging")]
    Telemetry(#[from] strait_runtime::telemetry::TelemetryError),
    /// Nothing more can be printed.
    #[error("write to the standard output")]
    Output(#[source] io::Error),
    /// A signal ended the work before its end.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Argument { .. } | Self::CoordinatorUri { .. } => EXIT_USAGE,
            Self::Interrupted => EXIT_INTERRUPTED,
            _ => EXIT_FAILED,
        })
    }

    /// What to do about it, where something is known.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Unreachable { .. } => {
                "start it with `strait-coordinator --config FILE`, or say where it is with \
                                         --coordinator URI or STRAIT_COORDINATOR"
            }
            Self::Refused(status) if status.code() == tonic::Code::Unimplemented => {
                "use a coordinator and a strait of the same version"
            }
            Self::Refused(status) => return remedy_of(status),
            Self::WatchEnded => "the task goes on; run the command again",
            Self::PrecheckFailed { .. } => "mend what failed and run the same command again",
            Self::TaskFailed(failure) | Self::ReleaseFailed(failure) => &failure.remedy,
            Self::Changed(_) => {
                "restore the file, or remove the task with --release (the synchronised tables stay) and \
                 begin anew"
            }
            Self::Mode { once: true } => {
                "run it with --once to its end, or remove it with --release (the synchronised tables stay)"
            }
            Self::Mode { once: false } => {
                "leave --once out, or remove the task with --release (the synchronised tables stay)"
            }
            Self::NoStateHome => "say where it shall be with --state DIR",
            Self::Locked(_) => "end it first; Ctrl-C pauses it",
            Self::Interrupted => "the same command again resumes",
            _ => "",
        };
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Whether the reader of the output went away: nothing is wrong, and nobody is there to be told.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The whole message: what happened, each reason below it, and what to do.
    #[must_use]
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }
}

/// An error as a person reads it.
#[derive(Debug)]
pub struct Report<'a>(&'a Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "strait: {}", self.0)?;
        // A document's problems are in its message already.
        let inner =
            if matches!(self.0, Error::Document { .. }) { None } else { std::error::Error::source(self.0) };
        let mut source = inner;
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        match self.0.remedy() {
            Some(remedy) => write!(f, "\nwhat to do: {remedy}"),
            None => Ok(()),
        }
    }
}

/// What the coordinator says to do about it.
fn remedy_of(status: &tonic::Status) -> Option<String> {
    status.get_details_error_info()?.metadata.remove("remedy")
}

/// The coordinator's own message says what is wrong; a code says it where there is no message.
fn refusal(status: &tonic::Status) -> String {
    match (status.code(), status.message()) {
        (tonic::Code::Unimplemented, _) => "the coordinator does not know this call".to_owned(),
        (code, "") => format!("the coordinator refused: {code}"),
        (tonic::Code::Internal | tonic::Code::Unknown | tonic::Code::DataLoss, message) => {
            format!("the coordinator failed: {message}")
        }
        (_, message) => message.to_owned(),
    }
}

impl Error {
    /// The precheck of a task failed. `told` where its items were printed already.
    pub(crate) fn precheck_failed(task: &v1::Task, told: bool) -> Self {
        let is_failed = |item: &&v1::PrecheckItem| item.outcome() == v1::PrecheckOutcome::Failed;
        Self::PrecheckFailed { items: task.precheck.iter().filter(is_failed).cloned().collect(), told }
    }
}

fn precheck_failures(items: &[v1::PrecheckItem], told: bool) -> String {
    let count = if items.len() == 1 { "1 item".to_owned() } else { format!("{} items", items.len()) };
    let mut text = format!("the precheck failed in {count}");
    if told {
        return text;
    }
    for item in items {
        text.push_str(&format!("\n  {}: {}", item.name, item.cause));
        if !item.remedy.is_empty() {
            text.push_str(&format!("\n    what to do: {}", item.remedy));
        }
    }
    text
}

fn process(id: &Option<u32>) -> String {
    id.map(|id| format!(" (process {id})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_reasons_and_what_to_do() {
        let error =
            Error::Unreachable { uri: "http://127.0.0.1:7400".to_owned(), reason: "refused".to_owned() };
        assert_eq!(
            error.report().to_string(),
            "strait: the coordinator at http://127.0.0.1:7400 does not answer: refused\n\
             what to do: start it with `strait-coordinator --config FILE`, or say where it is with \
             --coordinator URI or STRAIT_COORDINATOR"
        );
        let remedy = [("remedy".to_owned(), "look again".to_owned())];
        let details = tonic_types::ErrorDetails::with_error_info("TASK_NOT_FOUND", "strait", remedy);
        let status = tonic::Status::with_error_details(tonic::Code::NotFound, "no task x", details);
        let error = Error::Refused(Box::new(status));
        assert_eq!(error.report().to_string(), "strait: no task x\nwhat to do: look again");
        let error = Error::Read { path: "f".into(), source: io::Error::from(io::ErrorKind::NotFound) };
        assert_eq!(error.report().to_string(), "strait: read f: entity not found");
    }
}
