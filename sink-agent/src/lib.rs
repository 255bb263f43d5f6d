//! The sink-agent: writes one side of a synchronisation, its destination.
//!
//! ```text
//!  coordinator ──assignments, prechecks, releases──► worker ──► registry: who may call
//!  source-agent ──OpenTask, schema, chunks, changes──► service ──► session ──► schema ─┐
//!                                                                              copy ───┼──► PostgreSQL
//!                                                                              apply ──┘
//!                                                                              store: schema `strait`
//! ```
//!
//! The destination is the truth about progress: rows and the position that covers them commit in one
//! transaction, and every session begins with what the server says. Nothing is kept here that a restart would
//! miss.

mod after_data;
mod apply;
mod apply_schema;
mod arrange_partitions;
mod config;
mod continuity;
mod copy;
mod error;
mod foreign_keys;
mod inspect;
mod join_tables;
mod metrics;
mod open_task;
mod plan;
mod precheck;
mod registry;
mod release;
mod results;
mod retry_objects;
mod schema;
mod service;
mod session;
mod spool;
mod store;
mod worker;

use std::sync::Arc;

use strait_runtime::Shutdown;
use strait_runtime::agent::{AgentError, run_agent};
use strait_runtime::security::Role;
use strait_runtime::serve::{Access, Serve, ServeError};
use tokio::net::TcpListener;

pub use config::Config;

use registry::Registry;
use service::Service;
use spool::SpoolSpace;
use worker::SinkWorker;

/// Why a sink-agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The listener has no address.
    #[error("read the listener's address")]
    Listener(#[source] std::io::Error),
    /// The data plane could not be served.
    #[error("serve the data plane")]
    Serve(#[from] ServeError),
    /// The control session could not be set up.
    #[error("work for the coordinator")]
    Agent(#[from] AgentError),
}

/// Serves the data plane on `listener` and works for the coordinator until the shutdown.
///
/// # Errors
/// When the listener cannot be served or the coordinator's address is none. Afterwards errors are retried or
/// reported.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<(), RunError> {
    let address = listener.local_addr().map_err(RunError::Listener)?;
    let registry = Arc::new(Registry::default());
    let spool = Arc::new(SpoolSpace::new(config.spool, config.spool_bytes_max));
    let server = Serve::new(config.security.clone())
        .add_service(Service::server(Arc::clone(&registry), spool), Access::roles(&[Role::SourceAgent]));
    let worker = SinkWorker {
        dialler: server.dialler(),
        agent: config.agent,
        data_address: config
            .data_address
            .unwrap_or_else(|| format!("{}://{address}", config.security.scheme())),
        endpoints: config.endpoints,
        build_connections: config.build_connections,
        registry,
    };
    // Either one ending early takes the other along, and nobody else.
    let own = Shutdown::new();
    let serve = async {
        let served = server.run(listener, own.clone()).await;
        own.trigger();
        served
    };
    let work = async {
        let worked = run_agent(&config.coordinator, &config.security, Arc::new(worker), own.clone()).await;
        own.trigger();
        worked
    };
    let follow = async {
        tokio::select! {
            () = shutdown.cancelled() => own.trigger(),
            () = own.cancelled() => {}
        }
    };
    let (served, worked, ()) = tokio::join!(serve, work, follow);
    worked?;
    served?;
    Ok(())
}
