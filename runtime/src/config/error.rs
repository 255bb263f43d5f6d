//! What can be wrong with a configuration, said so that it can be mended without the manual.

use std::fmt;
use std::path::{Path, PathBuf};

/// The exit code of a program that was called or configured wrongly.
const EXIT_USAGE: i32 = 2;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A flag or an environment variable is wrong; also the way in which `--help` ends.
    #[error(transparent)]
    Usage(clap::Error),
    /// Values are wrong or missing.
    #[error("{}", display(file.as_deref(), problems))]
    Invalid {
        /// The file that was read, if any.
        file: Option<PathBuf>,
        /// All of it.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The option's or table's name; empty where the whole file is meant.
    pub field: String,
    /// What is wrong with it and what is allowed.
    pub message: String,
}

impl Problem {
    /// The field's name is put before the message.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl ConfigError {
    /// One problem, found by the program itself.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { file: None, problems: vec![Problem::new(field, message)] }
    }

    /// Prints the error to stderr (help to stdout) and ends the process, with 2 (help with 0).
    pub fn exit(&self) -> ! {
        match self {
            Self::Usage(error) => error.exit(),
            Self::Invalid { .. } => {
                eprintln!("error: {self}");
                std::process::exit(EXIT_USAGE)
            }
        }
    }

    /// The problems, where they are of the configuration and not of how the program was called.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Usage(_) => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }

    /// Names the file in an error that does not name one yet.
    pub(super) fn in_file(self, path: Option<&Path>) -> Self {
        match self {
            Self::Invalid { file: None, problems } => {
                Self::Invalid { file: path.map(PathBuf::from), problems }
            }
            other => other,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "`{}` {}", self.field, self.message)
        }
    }
}

fn display(file: Option<&Path>, problems: &[Problem]) -> String {
    let name = file.map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
    match problems {
        [problem] => format!("{name}: {problem}"),
        _ => {
            let lines = problems.iter().map(|problem| format!("\n  {problem}"));
            format!("{name}: {} problems{}", problems.len(), lines.collect::<String>())
        }
    }
}
