//! Serving and dialling gRPC: the same transport settings at both ends, in one place.
//!
//! Every server has health and reflection, lets calls in by who makes them, ends its connections in order within a
//! deadline, and then ends them anyway. Without TLS a server only listens on the loopback interface: tokens and
//! rows never cross a network in the clear.

mod abortable;
mod admission;
mod authorize;
mod dial;
mod refusals;
mod reverse;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::security::Security;
use crate::shutdown::drain;
use crate::trace_context::TraceCalls;
use crate::{Shutdown, telemetry};

use admission::{Admission, Incoming, READY_MAX};
use authorize::{Authorize, Rules};
use refusals::Refusals;

pub use abortable::Abortable;
pub use authorize::{Access, Tokens};
pub use dial::{ChannelError, Dial};
pub use reverse::{Dialler, Waiting};

/// How often an otherwise silent connection is probed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long a probe may stay unanswered before the connection counts as broken.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What one call may have in flight unread: enough for 1 Gbit/s at 60 ms.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// What all calls of one connection may have in flight unread.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The largest HTTP/2 frame that is accepted: a batch of changes then takes one.
const FRAME_BYTES_MAX: u32 = 1024 * 1024;
/// How long calls may go on after a shutdown, where a server does not say otherwise.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// A server in the making.
#[derive(Debug)]
pub struct Serve {
    security: Security,
    rules: Rules,
    routes: RoutesBuilder,
    service_names: Vec<&'static str>,
    health: HealthReporter,
    drain_deadline: Duration,
    /// Connections that came, or that were dialled.
    ready: mpsc::Sender<std::io::Result<Incoming>>,
    connections: mpsc::Receiver<std::io::Result<Incoming>>,
    abort: CancellationToken,
}

/// A server could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without TLS, nothing but loopback will do.
    #[error(
        "refusing to serve on {address} without TLS: other machines could read and forge what passes; bind \
         to 127.0.0.1 or [::1], or give tls-ca, tls-certificate and tls-key in place of plain-text"
    )]
    NotLoopback {
        /// Where the listener is bound to.
        address: SocketAddr,
    },
    /// The listener has no address.
    #[error("read the listener's address")]
    Listener(#[source] std::io::Error),
    /// The descriptors of the services cannot be read.
    #[error("set up server reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The transport gave up.
    #[error("serve gRPC")]
    Transport(#[source] tonic::transport::Error),
}

impl Serve {
    /// A server with nothing but health and reflection.
    #[must_use]
    pub fn new(security: Security) -> Self {
        let (health, health_service) = tonic_health::server::health_reporter();
        let mut routes = Routes::builder();
        routes.add_service(health_service);
        let (ready, connections) = mpsc::channel(READY_MAX);
        Self {
            security,
            rules: Rules::default(),
            routes,
            service_names: Vec::new(),
            health,
            drain_deadline: DRAIN_DEADLINE,
            ready,
            connections,
            abort: CancellationToken::new(),
        }
    }

    /// Adds a service and who may call it; its health is `SERVING` from the start until the shutdown.
    #[must_use]
    pub fn add_service<S>(mut self, service: S, access: Access) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.service_names.push(S::NAME);
        self.rules.services.push((S::NAME, access));
        self
    }

    /// Lets operators in by tokens as well as by certificates; so clients may connect that have none.
    #[must_use]
    pub fn tokens(mut self, tokens: Arc<dyn Tokens>) -> Self {
        self.rules.tokens = Some(tokens);
        self
    }

    /// How long calls may go on after the shutdown before they are cut off; five seconds where nothing is
    /// said.
    #[must_use]
    pub const fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Dials those who shall call this server, for as long as it runs.
    #[must_use]
    pub fn dialler(&self) -> Dialler {
        Dialler::new(self.security.clone(), self.ready.clone(), self.abort.clone())
    }

    /// Changes the health of the services while they run.
    #[must_use]
    pub fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// Serves until the shutdown, and then until all calls ended or the drain deadline passed. A streaming
    /// call that never ends by itself has to watch the shutdown too, or it is cut off at the deadline.
    ///
    /// # Errors
    /// When the listener of a server without TLS is not bound to a loopback address, or the server cannot start.
    pub async fn run(mut self, listener: TcpListener, shutdown: Shutdown) -> Result<(), ServeError> {
        let address = listener.local_addr().map_err(ServeError::Listener)?;
        if matches!(self.security, Security::PlainText) && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::NotLoopback { address });
        }
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(strait_proto::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(ServeError::Reflection)?;
        self.routes.add_service(reflection);
        self.set_health(ServingStatus::Serving).await;

        let abort = self.abort.clone();
        // Whatever becomes of this future, no connection outlives it.
        let _cut = abort.clone().drop_guard();
        let refusals = Arc::new(Refusals::default());
        let admission = Admission {
            security: self.security.clone(),
            anonymous: self.rules.anonymous(),
            refusals: Arc::clone(&refusals),
            abort,
        };
        admission.accept(listener, self.ready.clone());
        let (_, closed) = mpsc::channel(1);
        let connections = ReceiverStream::new(std::mem::replace(&mut self.connections, closed));
        let routes = std::mem::take(&mut self.routes).routes().prepare();
        let rules = Arc::new(std::mem::take(&mut self.rules));
        let service = Authorize { inner: TraceCalls::new(routes), rules, refusals };
        let stopped = shutdown.clone();
        let served = server().serve_with_incoming_shutdown(service, connections, async move {
            stopped.cancelled().await;
        });
        let tls = matches!(self.security, Security::Mutual(_));
        tracing::info!(%address, tls, services = self.service_names.join(" "), "serving");
        self.until_drained(served, &shutdown).await
    }

    async fn until_drained(
        &self,
        served: impl Future<Output = Result<(), tonic::transport::Error>>,
        shutdown: &Shutdown,
    ) -> Result<(), ServeError> {
        let mut served = std::pin::pin!(served);
        tokio::select! {
            result = &mut served => return result.map_err(ServeError::Transport),
            () = shutdown.cancelled() => {}
        }
        telemetry::server_ends();
        self.set_health(ServingStatus::NotServing).await;
        match drain("the gRPC server's calls", self.drain_deadline, served).await {
            Some(result) => result.map_err(ServeError::Transport),
            None => Ok(()),
        }
    }

    async fn set_health(&self, status: ServingStatus) {
        // The empty name stands for the server as a whole.
        for name in self.service_names.iter().copied().chain([""]) {
            self.health.set_service_status(name, status).await;
        }
    }
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
}

#[cfg(test)]
mod tests;
