//! What is wrong with a document, and where.

use std::fmt;

use serde_saphyr::{Location, SnippetMode, UserMessageFormatter};

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 where it concerns the document as a whole.
    pub line: u64,
    /// From 1, in characters; 0 where it concerns the document as a whole.
    pub column: u64,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    pub(super) fn at(location: Location, message: impl Into<String>) -> Self {
        Self { line: location.line(), column: location.column(), message: message.into() }
    }

    pub(super) fn of_document(message: impl Into<String>) -> Self {
        Self { line: 0, column: 0, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a document, in the order of its lines; one line each when displayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct DocumentError {
    problems: Vec<Problem>,
}

impl DocumentError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Self { problems }
    }

    /// What the YAML reader says, in this program's words where a person meets it often.
    pub(super) fn yaml(error: &serde_saphyr::Error) -> Self {
        use serde_saphyr::Error;
        let error = error.without_snippet();
        let message = match error {
            Error::SerdeUnknownField { field, expected, .. } => {
                format!("unknown field `{field}`; known here: {}", expected.join(", "))
            }
            Error::SerdeUnknownVariant { variant, expected, .. } => {
                format!("unknown value `{variant}`; known here: {}", expected.join(", "))
            }
            Error::SerdeMissingField { field, .. } => format!("field `{field}` is missing"),
            Error::DuplicateMappingKey { key: Some(key), .. } => format!("field `{key}` appears twice"),
            Error::Message { msg, .. } => msg.clone(),
            other => without_place(&other.render_with_options(serde_saphyr::render_options! {
                formatter: &UserMessageFormatter,
                snippets: SnippetMode::Off,
            })),
        };
        let problem = match error.location() {
            Some(location) => Problem::at(location, message),
            None => Problem::of_document(message),
        };
        Self { problems: vec![problem] }
    }

    /// Each problem.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The YAML reader ends its messages with the place, which stands in front of ours already.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text).to_owned()
}
