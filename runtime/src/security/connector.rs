//! Dialling: TCP, then TLS where it is spoken. The certificates are those of the moment.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tonic::codegen::{Service, http};
use tonic::transport::Uri;

use super::{Expected, Security, Stream};

/// How long each step of a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the kernel probes an otherwise silent connection.
pub(crate) const SOCKET_KEEPALIVE: Duration = Duration::from_secs(20);

/// Opens connections to whoever is expected to answer.
#[derive(Clone, Debug)]
pub struct Connector {
    security: Security,
    expected: Expected,
    /// Microseconds.
    round_trip: Arc<AtomicU64>,
}

impl Connector {
    /// Speaks as `security` says with whom it expects.
    #[must_use]
    pub fn new(security: Security, expected: Expected) -> Self {
        Self { security, expected, round_trip: Arc::default() }
    }

    /// How long TCP took to connect the last time.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.load(Ordering::Relaxed))
    }

    /// Opens a connection to `host`.
    ///
    /// # Errors
    /// When nobody answers in time, somebody else does, or this machine would be left in the clear.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        let addresses = within("find the address", lookup_host((host, port))).await?.collect::<Vec<_>>();
        let started = Instant::now();
        let socket = within("connect", TcpStream::connect(&addresses[..])).await?;
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.round_trip.store(took, Ordering::Relaxed);
        prepare(&socket)?;
        let identity = match &self.security {
            Security::PlainText => {
                require_loopback(socket.peer_addr()?)?;
                return Ok(Stream::Plain(socket));
            }
            Security::Mutual(identity) => identity,
        };
        let config = identity.client(self.expected.clone()).map_err(io::Error::other)?;
        // Nobody looks at the name, but TLS wants one to send.
        let name = ServerName::try_from("strait").map_err(io::Error::other)?;
        let stream = within("agree on TLS", TlsConnector::from(config).connect(name, socket)).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let (host, port) = host_and_port(&uri)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no host and port to dial"))?;
            connector.connect(&host, port).await.map(TokioIo::new)
        })
    }
}

/// What is dialled for `uri`; the port has to be there.
pub(crate) fn host_and_port(uri: &http::Uri) -> Option<(String, u16)> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), uri.port_u16()?))
}

/// The settings of every socket between parts.
pub(crate) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(SOCKET_KEEPALIVE))
}

fn require_loopback(address: SocketAddr) -> io::Result<()> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let message = format!("refusing to speak to {address} in plain text: it is another machine");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

async fn within<T>(doing: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(CONNECT_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("could not {doing} within {} s", CONNECT_TIMEOUT.as_secs()),
        )),
    }
}
