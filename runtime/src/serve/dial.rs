//! Dialling gRPC, with the servers' own settings.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error, Uri};

use super::abortable::Abortable;
use super::reverse::Taken;
use super::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};
use crate::security::{Connector, Expected, Security, Stream, host_and_port};

/// How long a connection may take altogether.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The address cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Neither `https://host:port` nor `http://host:port`.
    #[error(
        "{uri:?} is not an address to dial: expected https://HOST:PORT, or http://HOST:PORT on this machine"
    )]
    Address {
        /// As it was given.
        uri: String,
    },
    /// Certificates are there, and are not asked for.
    #[error("{uri} is plain text, and this part speaks by TLS: write https://")]
    PlainText {
        /// As it was given.
        uri: Uri,
    },
    /// No certificates are there.
    #[error("{uri} asks for TLS, which needs certificates: give tls-ca, tls-certificate and tls-key")]
    Tls {
        /// As it was given.
        uri: Uri,
    },
}

/// Where, how and whom to dial: the servers' windows and keepalive, `TCP_NODELAY`, a timeout of ten seconds to connect.
#[derive(Clone, Debug)]
pub struct Dial {
    endpoint: Endpoint,
    connector: Connector,
}

impl Dial {
    /// `https://HOST:PORT` with certificates, `http://HOST:PORT` with [`Security::PlainText`].
    ///
    /// # Errors
    /// When `uri` is something else.
    pub fn new(uri: &str, security: &Security, expected: Expected) -> Result<Self, ChannelError> {
        let (host, port) = address(uri, security)?;
        let wrong = || ChannelError::Address { uri: uri.to_owned() };
        let parsed: Uri = uri.parse().map_err(|_| wrong())?;
        // TLS is the connector's: the transport must not add its own.
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let endpoint = Endpoint::from_shared(format!("http://{host}:{port}")).map_err(|_| wrong())?;
        let endpoint = with_settings(endpoint).origin(parsed);
        Ok(Self { endpoint, connector: Connector::new(security.clone(), expected) })
    }

    /// Calls over a connection that the server has dialled. It is not replaced when it breaks.
    ///
    /// # Errors
    /// When it has broken already.
    pub async fn over(stream: Abortable<Stream>) -> Result<Channel, Error> {
        let endpoint = with_settings(Endpoint::from_static("http://sink-agent"));
        endpoint.connect_with_connector(Taken::new(stream)).await
    }

    /// Bounds how long each call may take.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.endpoint = self.endpoint.timeout(timeout);
        self
    }

    /// How long the last connection took to be answered, which is a round trip; zero before the first one.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.connector.round_trip()
    }

    /// Connects.
    ///
    /// # Errors
    /// When nobody answers, or somebody who is not expected.
    pub async fn connect(&self) -> Result<Channel, Error> {
        self.endpoint.connect_with_connector(self.connector.clone()).await
    }

    /// A channel that connects at the first call and again whenever a call finds the connection broken.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn connect_lazy(&self) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.connector.clone())
    }
}

/// Host and port of an address that fits how one speaks.
pub(super) fn address(uri: &str, security: &Security) -> Result<(String, u16), ChannelError> {
    let wrong = || ChannelError::Address { uri: uri.to_owned() };
    let parsed: Uri = uri.parse().map_err(|_| wrong())?;
    let host_and_port = host_and_port(&parsed).ok_or_else(wrong)?;
    match (parsed.scheme_str(), security) {
        (Some("http"), Security::PlainText) | (Some("https"), Security::Mutual(_)) => Ok(host_and_port),
        (Some("http"), Security::Mutual(_)) => Err(ChannelError::PlainText { uri: parsed }),
        (Some("https"), Security::PlainText) => Err(ChannelError::Tls { uri: parsed }),
        _ => Err(wrong()),
    }
}

/// The servers' windows and keepalive.
fn with_settings(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
}
