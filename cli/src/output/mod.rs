//! Printing: one view as a table for people, or as JSON or YAML for programs.

mod marked;
mod plan;
mod precheck;
mod stream;
mod style;
mod table;
mod tables;
mod units;
mod watchfulness;

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

pub(crate) use plan::dry_run;
pub(crate) use precheck::precheck;
pub(crate) use style::{WIDTH, clean, cut, indented};
pub(crate) use tables::{agents, endpoints, events, objects, task, task_line, tasks, tokens};
pub(crate) use units::{bytes, count, duration, latency, percent};
pub(crate) use watchfulness::{alerts, endpoint_statuses, webhook_tests};

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people, at most 80 columns wide.
    Table,
    /// One JSON document; one object a line where a command follows something.
    Json,
    /// One YAML document; a sequence of documents where a command follows something.
    Yaml,
}

/// Prints a view: as it is for programs, or the text that `table` makes of it.
pub(crate) fn print<T: Serialize>(
    format: OutputFormat,
    view: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Error> {
    let text = match format {
        OutputFormat::Table => table(view),
        OutputFormat::Json => json(view)?,
        OutputFormat::Yaml => yaml(view)?,
    };
    write_text(&text).map_err(Error::Output)
}

/// Writes a text to stdout, its last line ended.
pub(crate) fn write_text(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.trim_end_matches('\n').as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// A view as YAML.
pub(crate) fn yaml<T: Serialize>(view: &T) -> Result<String, Error> {
    serde_saphyr::to_string(view).map_err(|error| Error::Output(io::Error::other(error.to_string())))
}

fn json<T: Serialize>(view: &T) -> Result<String, Error> {
    serde_json::to_string_pretty(view).map_err(|error| Error::Output(error.into()))
}
