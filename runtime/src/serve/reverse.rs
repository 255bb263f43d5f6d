//! Connections that go the other way: the server dials, and the client takes what has been dialled.
//!
//! ```text
//!   sink-agent (serves)  ── dials, keeps one waiting ──►  source-agent (listens)
//!                        ◄── its calls, once it has taken the connection ──
//! ```
//!
//! Where a firewall or a translation of addresses lets only the destination's zone dial out, so. Who is who is proved as
//! ever, only that the dialled side shows its certificate first. A connection that was taken is replaced by another.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service;
use tonic::transport::Uri;

use super::abortable::Abortable;
use super::admission::{Admission, Connection, Incoming};
use super::dial::{ChannelError, address};
use super::refusals::Refusals;
use crate::security::{Connector, Expected, Peer, Role, Security, Stream};
use crate::{Backoff, Shutdown};

/// How many connections of one server wait to be taken; with more, the oldest go.
const WAITING_BY_NAME_MAX: usize = 4;
/// Of how many servers.
const NAMES_MAX: usize = 1000;

/// Before a connection that was taken, or has broken, is replaced.
const REPLACE_PAUSE: Duration = Duration::from_millis(200);

type Waited = Abortable<Stream>;

/// Connections that sink-agents have dialled, by their names. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    by_name: Arc<Mutex<HashMap<String, Vec<Waited>>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Waiting {
    /// Takes connections of sink-agents in on `listener` until the shutdown.
    pub async fn run(self, listener: TcpListener, security: Security, shutdown: Shutdown) {
        let abort = CancellationToken::new();
        let _cut = abort.clone().drop_guard();
        let refusals = Arc::new(Refusals::default());
        let (ready, mut arrived) = mpsc::channel(WAITING_BY_NAME_MAX);
        let admission = Admission { security, anonymous: false, refusals: Arc::clone(&refusals), abort };
        admission.accept(listener, ready);
        loop {
            let incoming = tokio::select! {
                incoming = arrived.recv() => incoming,
                () = shutdown.cancelled() => return,
            };
            let Some(Ok(Incoming { stream, connection })) = incoming else { continue };
            match &connection.peer {
                Some(peer) if peer.role != Role::SinkAgent => {
                    refusals.tell(connection.address.ip(), "only sink-agents may wait here to be called");
                }
                peer => {
                    connection.admit();
                    self.add(peer.as_ref().map_or_else(String::new, |peer| peer.name.clone()), stream);
                }
            }
        }
    }

    /// The newest connection of the sink-agent of this name, or, in plain text, of any; waits for one until `deadline`.
    pub async fn take(&self, name: &str, deadline: Duration) -> Option<Abortable<Stream>> {
        let mut changes = self.changes.subscribe();
        let taken = async {
            loop {
                if let Some(stream) = self.take_now(name) {
                    return Some(stream);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(deadline, taken).await.ok().flatten()
    }

    fn take_now(&self, name: &str) -> Option<Waited> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        // In plain text nobody has a name.
        let key = if by_name.contains_key(name) { name } else { "" };
        let streams = by_name.get_mut(key)?;
        let taken = streams.pop();
        if streams.is_empty() {
            by_name.remove(key);
        }
        taken
    }

    fn add(&self, name: String, stream: Waited) {
        {
            let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
            if by_name.len() >= NAMES_MAX && !by_name.contains_key(&name) {
                return;
            }
            let streams = by_name.entry(name).or_default();
            if streams.len() >= WAITING_BY_NAME_MAX {
                streams.remove(0);
            }
            streams.push(stream);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// A server's way to dial those who shall call it.
#[derive(Clone, Debug)]
pub struct Dialler {
    security: Security,
    ready: mpsc::Sender<io::Result<Incoming>>,
    abort: CancellationToken,
}

impl Dialler {
    pub(super) const fn new(
        security: Security,
        ready: mpsc::Sender<io::Result<Incoming>>,
        abort: CancellationToken,
    ) -> Self {
        Self { security, ready, abort }
    }

    /// Keeps a connection to the source-agent `agent` at `uri` waiting for its calls, and dials again as often as one was
    /// taken or has broken. Does not return but for an error.
    ///
    /// # Errors
    /// When `uri` is no address to dial.
    pub async fn keep(&self, uri: &str, agent: &str) -> Result<Infallible, ChannelError> {
        let (host, port) = address(uri, &self.security)?;
        let connector = Connector::new(self.security.clone(), Expected::source_agent(agent));
        let mut backoff = Backoff::default();
        loop {
            match connector.connect(&host, port).await {
                Ok(stream) => {
                    backoff.reset();
                    let peer = match &self.security {
                        Security::PlainText => None,
                        Security::Mutual(_) => Some(Peer { role: Role::SourceAgent, name: agent.to_owned() }),
                    };
                    let Ok(address) = stream.socket().peer_addr() else { continue };
                    let connection = Connection::dialled(address, peer);
                    let taken = connection.taken();
                    let stream = Abortable::new(stream, self.abort.clone());
                    if self.ready.send(Ok(Incoming { stream, connection })).await.is_err() {
                        // The server has ended.
                        std::future::pending::<()>().await;
                    }
                    taken.cancelled().await;
                    tokio::time::sleep(REPLACE_PAUSE).await;
                }
                Err(error) => {
                    let pause = backoff.next();
                    tracing::debug!(uri, %error, retry_in = ?pause, "the source-agent cannot be dialled");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// Hands a connection out that stands already, once.
#[derive(Clone, Debug)]
pub(super) struct Taken(Arc<Mutex<Option<Waited>>>);

impl Taken {
    pub(super) fn new(stream: Waited) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }
}

impl Service<Uri> for Taken {
    type Response = TokioIo<Waited>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Waited>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let broken =
            || io::Error::new(io::ErrorKind::NotConnected, "the connection that was taken has broken");
        Box::pin(async move { stream.map(TokioIo::new).ok_or_else(broken) })
    }
}
