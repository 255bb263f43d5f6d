//! SQL sessions: `tokio_postgres` on our own transport, with the settings of [`session`](crate::session)
//! pinned.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::config::{self, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Config, Connection, SimpleQueryMessage};

use crate::dial::{self, Login, SERVER_ROLE_SQL, ServerRole, Session};
use crate::session::startup_options;
use crate::transport::{Route, SocketOptions, Transport};
use crate::uri::{self, ConnectionUri};
use crate::{Dialect, Error, KernelVersion, Server, ServerVersion};

/// How long a dropped client's last messages may take before the server is asked to cancel what it still
/// does.
const DROP_GRACE: Duration = Duration::from_millis(500);
/// How long that request may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Which server this is: its version, and whether it has what only the Greenplum family has.
const SERVER_SQL: &str = "SELECT pg_catalog.current_setting('server_version_num'),
       pg_catalog.to_regclass('pg_catalog.gp_distribution_policy') IS NOT NULL";

/// An SQL session.
///
/// It owns the task that drives the connection. Dropping it ends the session; a statement that still runs
/// then is cancelled at the server, so that a dropped future leaves nothing behind that writes.
pub struct Client {
    inner: tokio_postgres::Client,
    route: Route,
    /// Dropped with the client: tells the driver.
    _dropped: oneshot::Sender<Infallible>,
}

/// Opens an SQL session with the pinned settings.
///
/// `application_name` wins over the URI's, unless it is empty. An error names the address and says what to
/// do.
pub async fn connect(uri: &ConnectionUri, application_name: &str) -> Result<Client, Error> {
    dial::dial(uri, application_name).await
}

impl Client {
    /// Whether the connection is lost.
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Which server this is.
    pub async fn server(&self) -> Result<Server, Error> {
        let row = self.inner.query_one(SERVER_SQL, &[]).await?;
        let version: String = row.try_get(0)?;
        let version =
            version.parse().map_err(|_| Error::Protocol(format!("server_version_num is {version:?}")))?;
        let greenplum: bool = row.try_get(1)?;
        let dialect = if greenplum { Dialect::Greenplum } else { Dialect::PostgreSql };
        Ok(Server { version: ServerVersion(version), dialect })
    }

    /// Of a member of the Greenplum family, the version that it has beside that of its PostgreSQL; none where it does not tell.
    pub async fn kernel_version(&self) -> Result<Option<KernelVersion>, Error> {
        const SQL: &str = "SELECT coalesce(current_setting('gp_server_version', true), version())";
        let row = self.inner.query_one(SQL, &[]).await?;
        Ok(KernelVersion::parse(row.try_get(0)?))
    }

    /// Asks the server to cancel the statement that this session runs; whether there was one is not told.
    pub async fn cancel(&self) -> Result<(), Error> {
        cancel(&self.route, self.inner.cancel_token()).await
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl Session for Client {
    const SOCKET: SocketOptions = SocketOptions { receive_buffer_bytes: None, user_timeout: None };

    async fn establish(transport: Transport, login: &Login<'_>, route: &Route) -> Result<Self, Error> {
        let (inner, connection) = configuration(login).connect_raw(transport, Established).await?;
        let (_dropped, dropped) = oneshot::channel();
        let driver = Driver {
            connection,
            cancel_token: inner.cancel_token(),
            route: route.clone(),
            address: login.address.clone(),
            application_name: login.application_name.to_owned(),
        };
        tokio::spawn(driver.run(dropped));
        Ok(Self { inner, route: route.clone(), _dropped })
    }

    async fn role(&mut self) -> Result<ServerRole, Error> {
        let messages = self.inner.simple_query(SERVER_ROLE_SQL).await?;
        let role = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                row.try_get(0).and_then(|recovery| Ok(ServerRole::from_columns(recovery, row.try_get(1)?))),
            ),
            _ => None,
        });
        Ok(role.ok_or_else(|| Error::Protocol("no answer to a query".to_owned()))??)
    }
}

fn configuration(login: &Login<'_>) -> Config {
    let mut config = Config::new();
    config
        .user(&login.uri.user)
        .dbname(&login.uri.database)
        .application_name(login.application_name)
        .options(startup_options(login.uri.options.as_deref()))
        // The transport is encrypted already where it should be; this makes the client take it as it is.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct)
        .channel_binding(match login.uri.channel_binding {
            uri::ChannelBinding::Disable => config::ChannelBinding::Disable,
            uri::ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            uri::ChannelBinding::Require => config::ChannelBinding::Require,
        });
    if let Some(password) = &login.password {
        config.password(password);
    }
    config
}

/// Moves the bytes of one connection until it ends.
struct Driver {
    connection: Connection<Transport, Transport>,
    cancel_token: tokio_postgres::CancelToken,
    route: Route,
    address: String,
    application_name: String,
}

impl Driver {
    async fn run(mut self, dropped: oneshot::Receiver<Infallible>) {
        let result = tokio::select! {
            result = &mut self.connection => result,
            _ = dropped => match timeout(DROP_GRACE, &mut self.connection).await {
                Ok(result) => result,
                Err(_) => return self.abandon().await,
            },
        };
        if let Err(error) = result {
            let failure = Error::from(error).failure();
            let (address, application_name) = (&self.address, &self.application_name);
            tracing::warn!(address, application_name, error = failure.cause, "database connection lost");
        }
    }

    async fn abandon(self) {
        drop(self.connection);
        match timeout(CANCEL_TIMEOUT, cancel(&self.route, self.cancel_token)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(address = self.address, error = error.failure().cause, "cancel a statement");
            }
            Err(_) => tracing::debug!(address = self.address, "cancelling a statement took too long"),
        }
    }
}

async fn cancel(route: &Route, token: tokio_postgres::CancelToken) -> Result<(), Error> {
    let transport = route.open().await?;
    Ok(token.cancel_query_raw(transport, Established).await?)
}

/// Hands the transport to the client as the TLS stream that it already may be.
struct Established;

impl TlsConnect<Transport> for Established {
    type Stream = Transport;
    type Error = Infallible;
    type Future = Ready<Result<Transport, Infallible>>;

    fn connect(self, transport: Transport) -> Self::Future {
        ready(Ok(transport))
    }
}

impl TlsStream for Transport {
    fn channel_binding(&self) -> ChannelBinding {
        match self.end_point() {
            Some(hash) => ChannelBinding::tls_server_end_point(hash.to_vec()),
            None => ChannelBinding::none(),
        }
    }
}
