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
mod inspect;
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
mod transform;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use strait_runtime::Shutdown;
use strait_runtime::agent::{AgentError, run_agent};
use strait_runtime::security::Security;
use strait_runtime::serve::{ServeError, Waiting};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub use config::Config;
pub use link::Compression;
pub use transform::check_expression;

use worker::SourceWorker;

/// Runs a source-agent until `shutdown`. A coordinator that cannot be reached is dialled again for ever.
///
/// # Errors
/// When the coordinator's address cannot be used, or the own one cannot be listened on.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    let (coordinator, security) = (config.coordinator.clone(), config.security.clone());
    let waiting = Waiting::default();
    let mut worker = SourceWorker::new(config, waiting.clone());
    let Some(address) = worker.listens_on() else {
        return Ok(run_agent(&coordinator, &security, Arc::new(worker), shutdown).await?);
    };
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if matches!(security, Security::PlainText) && !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::NotLoopback { address }.into());
    }
    worker.reached_at(format!("{}://{address}", security.scheme()));
    tracing::info!(%address, "sink-agents may dial this agent");
    let listening = waiting.run(listener, security.clone(), shutdown.clone());
    let _listening = AbortOnDropHandle::new(tokio::spawn(listening));
    Ok(run_agent(&coordinator, &security, Arc::new(worker), shutdown).await?)
}

/// Why a source-agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Sink-agents could not dial it.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The address is not for plain text.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The control session could not be set up.
    #[error("work for the coordinator")]
    Agent(#[from] AgentError),
}
