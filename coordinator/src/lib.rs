//! The coordinator of Strait: keeps the tasks, decides what the agents do, and shows people how it goes.
//!
//! ```text
//!   operators ─► api::tasks ──► supervise ──► store (SQLite)
//!                                  │  ▲
//!                  task::transition┘  │ (pure)
//!   agents ◄──► api::control ◄──► registry
//! ```
//!
//! No row passes here, and nothing here opens a connection: agents dial the coordinator. While it is away,
//! running tasks go on; when it is back it picks every task up where the store says it was, and disturbs
//! nobody who still works under the current epoch.

mod alerts;
mod api;
mod clock;
mod error;
mod registry;
mod store;
mod supervise;
mod task;
mod timings;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strait_proto::v1::control_service_server::ControlServiceServer;
use strait_proto::v1::task_service_server::TaskServiceServer;
use strait_proto::v1::token_service_server::TokenServiceServer;
use strait_runtime::agent::CONTROL_MESSAGE_BYTES_MAX;
use strait_runtime::security::{Role, Security};
use strait_runtime::serve::{Access, Serve, ServeError};
use strait_runtime::{Shutdown, drain};
use tokio::net::TcpListener;

pub use alerts::{AlertConfig, Secret, WebhookUrl, WebhookUrlError};
use api::{Control, TokenCalls};
use registry::Registry;
use store::{Store, StoreError};
use supervise::Supervisor;
use timings::Timings;
use tokens::Tokens;

/// How long tasks may take to store their last progress when the coordinator ends.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// What a coordinator needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who is told of alerts.
    pub alerts: AlertConfig,
    /// The SQLite file that holds the tasks; created with its directory where it is missing. One coordinator
    /// uses it at a time.
    pub store: PathBuf,
    /// How agents and operators are spoken with.
    pub security: Security,
}

/// Why a coordinator could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot be used.
    #[error("use the store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs a coordinator on `listener` until the shutdown. Agents are left running what they run. When this
/// returns, the store can be opened again.
///
/// # Errors
/// When the store cannot be opened, is in use or was written by a newer version, or when the listener is neither bound to a
/// loopback address nor served by TLS.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<(), RunError> {
    run_with(config, Timings::default(), listener, shutdown).await
}

async fn run_with(
    config: Config,
    timings: Timings,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let store = Store::open(&config.store).await?;
    let result = serve(config.alerts, store.clone(), config.security, timings, listener, shutdown).await;
    store.close().await;
    result
}

async fn serve(
    alerts: AlertConfig,
    store: Store,
    security: Security,
    timings: Timings,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let stop = shutdown.token().child_token();
    // Whatever becomes of this future, no task is worked on without it.
    let stopping = stop.clone().drop_guard();
    let registry = Arc::new(Registry::default());
    let tokens = Arc::new(Tokens::load(store.clone()).await?);
    let supervisor =
        Supervisor::start(store, registry.clone(), timings, alerts.secret.is_some(), stop.clone()).await?;
    let watching = tokio::spawn(alerts::run(supervisor.clone(), alerts.clone(), stop.clone()));
    let control = Control::new(supervisor.clone(), registry.clone(), stop);
    let tasks = api::Tasks::new(supervisor.clone(), registry, alerts);
    let served = Serve::new(security)
        .add_service(
            ControlServiceServer::new(control)
                .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX),
            Access::roles(&[Role::SourceAgent, Role::SinkAgent]),
        )
        .add_service(TaskServiceServer::new(tasks), Access::operators())
        .add_service(TokenServiceServer::new(TokenCalls(tokens.clone())), Access::operators())
        .tokens(tokens)
        .run(listener, shutdown)
        .await;
    drop(stopping);
    let ended = async {
        // Its error would be a panic, which has been told.
        let _ = watching.await;
        supervisor.ended().await;
    };
    drain("the work on tasks", STOP_DEADLINE, ended).await;
    Ok(served?)
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

#[cfg(test)]
mod tests;
