//! The source-agent: captures one PostgreSQL database for each task that it is assigned.
//!
//! ```text
//!  coordinator ◄─ reports, results ─┐
//!              ─ assign, command ──►│ worker ─► pipeline ─┬─► capture   publication, slot, snapshot, record
//!                                   │                     ├─► copy      chunks under the snapshot
//!                                   └► precheck, release  └─► stream    decoded changes, acks, heartbeat
//! ```
//!
//! It reads the source and sends to the sink-agent; it decides nothing about a task's life and stores nothing: the
//! destination is the truth about progress, the source's own catalog holds what has to be undone at release. It must never
//! confirm a position to the slot that the sink has not called durable.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that finds something else than it expects has failed")
)]

mod capture;
mod choices;
mod config;
mod copy;
mod error;
mod joining;
mod link;
mod mapping;
mod metrics;
mod pipeline;
mod precheck;
mod progress;
mod release;
mod reporter;
mod rows;
mod sink;
mod source;
mod stream;
mod worker;

use std::sync::Arc;

use strait_runtime::Shutdown;
use strait_runtime::agent::{AgentError, run_agent};

pub use config::Config;
pub use link::Compression;

use worker::SourceWorker;

/// Runs a source-agent until `shutdown`. A coordinator that cannot be reached is dialled again for ever.
///
/// # Errors
/// When the coordinator's address cannot be used.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), AgentError> {
    let (coordinator, security) = (config.coordinator.clone(), config.security.clone());
    run_agent(&coordinator, &security, Arc::new(SourceWorker::new(config)), shutdown).await
}
