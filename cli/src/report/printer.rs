//! How lines look.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use super::bars::Bars;
use super::lines::text;
use crate::error::Error;
use crate::output::{write_text, yaml};
use crate::view::Line;

/// The looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// One YAML document a line.
    Yaml,
    /// Lines of text.
    Lines,
    /// Progress bars, and lines of text above them.
    Bars,
}

/// Prints lines to the standard output.
pub(crate) enum Printer {
    /// See [`Format::Json`].
    Json,
    /// See [`Format::Yaml`].
    Yaml,
    /// See [`Format::Lines`].
    Lines,
    /// See [`Format::Bars`].
    Bars(Box<Bars>),
    /// Keeps the lines.
    #[cfg(test)]
    Test(std::sync::Arc<std::sync::Mutex<Vec<Line>>>),
}

impl Format {
    /// Bars on a terminal, lines otherwise.
    pub(crate) fn for_people() -> Self {
        if io::stdout().is_terminal() { Self::Bars } else { Self::Lines }
    }
}

impl Printer {
    pub(crate) fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Yaml => Self::Yaml,
            Format::Lines => Self::Lines,
            Format::Bars => Self::Bars(Box::default()),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> (Self, std::sync::Arc<std::sync::Mutex<Vec<Line>>>) {
        let lines = std::sync::Arc::<std::sync::Mutex<Vec<Line>>>::default();
        (Self::Test(lines.clone()), lines)
    }

    /// Whether a person reads along, who is told nothing twice.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self, Self::Lines | Self::Bars(_))
    }

    /// How often progress is worth a line.
    pub(crate) fn progress_interval(&self) -> Duration {
        match self {
            Self::Json | Self::Yaml => Duration::from_millis(500),
            Self::Lines => Duration::from_secs(5),
            Self::Bars(_) => Duration::from_millis(100),
            #[cfg(test)]
            Self::Test(_) => Duration::from_secs(3600),
        }
    }

    /// Prints a line.
    pub(crate) fn print(&mut self, line: &Line) -> Result<(), Error> {
        let written = match self {
            Self::Json => {
                write_text(&serde_json::to_string(line).map_err(|error| Error::Output(error.into()))?)
            }
            Self::Yaml => write_text(&format!("---\n{}", yaml(line)?)),
            Self::Lines => write_text(&text(line)),
            Self::Bars(bars) => bars.print(line),
            #[cfg(test)]
            Self::Test(lines) => {
                lines
                    .lock()
                    .map_err(|_| Error::Answer("a lock"))
                    .map(|mut lines| lines.push(line.clone()))?;
                Ok(())
            }
        };
        written.map_err(Error::Output)
    }

    /// Leaves the terminal as a program should: the bars gone, the lines kept.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        match self {
            Self::Bars(bars) => bars.finish().map_err(Error::Output),
            _ => Ok(()),
        }
    }
}
