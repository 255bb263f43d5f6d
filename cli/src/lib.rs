//! `strait`: the operator's command, and `strait sync`, which runs every part in one process.
//!
//! This crate turns YAML into the request that the coordinator takes, and what the coordinator says into
//! tables, JSON and YAML. It decides nothing about replication: all of it is in the coordinator and the
//! agents, which `strait sync` runs as the very same libraries.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that finds something else than it expects has failed")
)]

mod args;
pub mod certs;
mod client;
mod commands;
mod document;
mod error;
mod output;
mod report;
mod sync;
mod view;

pub use args::{
    AlertsCommand, Cli, Command, Filter, OneTask, Place, Remote, Role, SyncArgs, SyncOutput, TaskCommand,
    TokenCommand,
};
pub use document::{DocumentError, Form, Problem, parse as parse_document};
pub use error::{EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Error, Report};
pub use output::OutputFormat;

/// Carries a command out.
///
/// # Errors
/// Why it did not do what it was asked; [`Error::exit_code`] is what the process ends with.
pub async fn run(cli: Cli) -> Result<(), Error> {
    match cli.command {
        Command::Sync(args) => Box::pin(sync::run(*args)).await,
        Command::Task { command } => Box::pin(commands::task(command)).await,
        Command::Token { command } => commands::token(command).await,
        Command::Certs(args) => certs::run(&args),
        Command::Agents(remote) => commands::agents(&remote).await,
        Command::Endpoints { place, remove_orphan: Some(task_id), remote, .. } => {
            commands::remove_orphan(task_id, place, &remote).await
        }
        Command::Endpoints { place, check: true, remote, .. } => {
            commands::check_endpoints(place, &remote).await
        }
        Command::Endpoints { place, remote, .. } => commands::endpoints(&place, &remote).await,
        Command::Alerts { command: Some(AlertsCommand::Test { task, remote }), .. } => {
            commands::test_alerts(task, &remote).await
        }
        Command::Alerts { command: None, task, remote } => commands::alerts(task, &remote).await,
    }
}
