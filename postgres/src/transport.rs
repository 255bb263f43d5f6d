//! One byte stream to a server, encrypted or not: what both kinds of sessions, SQL and replication, run on.
//!
//! Only opening lives here; which server, in which order and with which fallback is decided in `dial`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Error, tls};

/// A dead peer is noticed after about a minute: idle time, then probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// How to reach one server at one address in one way. Kept by a session, so that it can be cancelled.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) address: Address,
    pub(crate) encryption: Encryption,
    pub(crate) socket: SocketOptions,
}

/// What a kind of session wants of its sockets beyond the usual; only TCP has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketOptions {
    /// `SO_RCVBUF` in bytes, where the kernel's own choice is not wanted.
    pub(crate) receive_buffer_bytes: Option<usize>,
    /// `TCP_USER_TIMEOUT`: how long what was sent may stay unacknowledged. Keepalives do not probe meanwhile,
    /// so a session that sends all the time would not notice for a quarter of an hour that its peer is gone.
    /// It also ends a connection whose peer is alive and does not read, hence not for sessions that send in
    /// bulk.
    pub(crate) user_timeout: Option<Duration>,
}

#[derive(Clone)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// The socket's file.
    Unix(PathBuf),
}

/// Whether to ask the server for TLS.
#[derive(Clone)]
pub(crate) enum Encryption {
    Plain,
    /// TLS if the server can, plain otherwise.
    IfOffered(TlsTarget),
    Required(TlsTarget),
}

#[derive(Clone)]
pub(crate) struct TlsTarget {
    pub(crate) config: Arc<ClientConfig>,
    /// For SNI and for the check of the certificate's name.
    pub(crate) host: String,
}

/// An open stream to a server that has not sent or received a startup message yet.
pub(crate) struct Transport {
    stream: Stream,
    /// The `tls-server-end-point` hash of the server's certificate, on TLS.
    end_point: Option<Vec<u8>>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Route {
    /// Opens the stream, and encrypts it as the route says. The caller bounds the time.
    pub(crate) async fn open(&self) -> Result<Transport, Error> {
        match &self.address {
            Address::Tcp(address) => {
                let stream = self.open_tcp(*address).await?;
                encrypt(stream, &self.encryption).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                Ok(Transport { stream: Stream::Unix(stream), end_point: None })
            }
        }
    }

    /// Asks the server to end what this session executes; whether it had any effect is not told.
    pub(crate) async fn cancel(&self, process_id: i32, secret_key: i32) -> Result<(), Error> {
        let mut transport = self.open().await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(process_id, secret_key, &mut request);
        transport.write_all(&request).await?;
        transport.flush().await?;
        // The server answers with nothing, and closes the connection once it has passed the request on.
        match transport.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(Error::Protocol("an answer to a cancel request".to_owned())),
        }
    }

    async fn open_tcp(&self, address: SocketAddr) -> Result<TcpStream, Error> {
        let stream = match self.socket.receive_buffer_bytes {
            Some(bytes) => match socket_with_receive_buffer(address, bytes)? {
                Some(socket) => socket.connect(address).await?,
                None => TcpStream::connect(address).await?,
            },
            None => TcpStream::connect(address).await?,
        };
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        if self.socket.user_timeout.is_some() {
            SockRef::from(&stream).set_tcp_user_timeout(self.socket.user_timeout)?;
        }
        Ok(stream)
    }
}

/// A socket with the receive buffer set before it connects, because the window's scale is settled then.
/// `None` where the kernel (net.core.rmem_max) does not grant it: a smaller fixed buffer is worse than the
/// kernel's own tuning.
fn socket_with_receive_buffer(address: SocketAddr, bytes: usize) -> io::Result<Option<TcpSocket>> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let reference = SockRef::from(&socket);
    reference.set_recv_buffer_size(bytes)?;
    let granted = reference.recv_buffer_size()? >= bytes;
    Ok(granted.then_some(socket))
}

async fn encrypt(mut stream: TcpStream, encryption: &Encryption) -> Result<Transport, Error> {
    let (target, required) = match encryption {
        Encryption::Plain => return Ok(Transport { stream: Stream::Tcp(stream), end_point: None }),
        Encryption::IfOffered(target) => (target, false),
        Encryption::Required(target) => (target, true),
    };
    if !offers_tls(&mut stream).await? {
        if required {
            return Err(tls::definite("the server does not support TLS"));
        }
        return Ok(Transport { stream: Stream::Tcp(stream), end_point: None });
    }
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| tls::definite(format!("{:?} is not a host name that TLS can carry", target.host)))?;
    let stream = TlsConnector::from(Arc::clone(&target.config))
        .connect(name, stream)
        .await
        .map_err(tls::handshake_error)?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let end_point = certificates.first().and_then(|certificate| tls::tls_server_end_point(certificate));
    Ok(Transport { stream: Stream::Tls(Box::new(stream)), end_point })
}

/// SSLRequest. One byte is read and no more: what follows belongs to TLS (CVE-2021-23222).
async fn offers_tls(stream: &mut TcpStream) -> Result<bool, Error> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        b'E' => Err(Error::Protocol("an error instead of an answer to SSLRequest".to_owned())),
        other => Err(Error::Protocol(format!("byte {other:#04x} instead of an answer to SSLRequest"))),
    }
}

impl Transport {
    /// What SCRAM-SHA-256-PLUS binds to; `None` without TLS.
    pub(crate) fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
