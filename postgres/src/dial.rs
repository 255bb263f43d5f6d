//! From a URI to a session: which server, at which address, encrypted how, in which order, and when to give
//! up.
//!
//! ```text
//! target_session_attrs ─► hosts ─► addresses of the host ─► plain / TLS by sslmode ─► Session::establish
//! ```
//!
//! The first attempt that comes through wins. A server that answers with a definite error (a wrong password,
//! an unknown database) ends the search, as with libpq: other hosts are for when a server is away.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::transport::{Address, Encryption, Route, SocketOptions, TlsTarget, Transport};
use crate::uri::{ConnectionUri, Host, HostPort, SslMode, TargetSessionAttrs, socket_file};
use crate::{Error, pgpass, tls};

/// A kind of session that runs on a transport.
pub(crate) trait Session: Sized + Send {
    /// What its sockets should be like.
    const SOCKET: SocketOptions;

    /// Startup and authentication, until the server is ready for the first statement.
    fn establish(
        transport: Transport,
        login: &Login<'_>,
        route: &Route,
    ) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Runs [`SERVER_ROLE_SQL`].
    fn role(&mut self) -> impl Future<Output = Result<ServerRole, Error>> + Send;
}

/// Who connects, and as what.
pub(crate) struct Login<'a> {
    pub(crate) uri: &'a ConnectionUri,
    pub(crate) application_name: &'a str,
    /// `host:port` of the server.
    pub(crate) address: String,
    pub(crate) password: Option<String>,
}

/// What `target_session_attrs` asks about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerRole {
    pub(crate) in_recovery: bool,
    pub(crate) read_only: bool,
}

/// The first statement of every session: the first two columns of its answer are a [`ServerRole`]. It also pins the one
/// setting that a server before PostgreSQL 14 does not have and would refuse at the startup.
pub(crate) const SERVER_ROLE_SQL: &str =
    "SELECT pg_catalog.pg_is_in_recovery()::text, pg_catalog.current_setting('transaction_read_only'),
       CASE WHEN pg_catalog.current_setting('idle_session_timeout', true) IS NOT NULL
            THEN pg_catalog.set_config('idle_session_timeout', '0', false) END";

impl ServerRole {
    /// From the first two columns of [`SERVER_ROLE_SQL`].
    pub(crate) fn from_columns(in_recovery: Option<&str>, read_only: Option<&str>) -> Self {
        Self { in_recovery: in_recovery == Some("true"), read_only: read_only == Some("on") }
    }
}

/// Opens a session with the first of the URI's servers that can be used.
pub(crate) async fn dial<S: Session>(uri: &ConnectionUri, application_name: &str) -> Result<S, Error> {
    let tls = tls_config(uri).await?;
    let mut last_error = None;
    for target in passes(uri.target_session_attrs) {
        for server in &uri.hosts {
            let login = Login {
                uri,
                application_name: Some(application_name)
                    .filter(|name| !name.is_empty())
                    .or(uri.application_name.as_deref())
                    .unwrap_or_default(),
                address: server.to_string(),
                password: pgpass::password(uri, server).await,
            };
            match dial_server(server, &login, tls.as_ref(), *target).await {
                Ok(session) => return Ok(session),
                Err(source) => {
                    let ends_search = source.server_error().is_some() && source.failure().definite;
                    let error = Error::Connect { address: login.address, source: Box::new(source) };
                    if ends_search {
                        return Err(error);
                    }
                    tracing::debug!(error = error.failure().cause, "try a server");
                    last_error = Some(error);
                }
            }
        }
    }
    Err(last_error.unwrap_or_else(|| Error::Config("the connection URI names no host".to_owned())))
}

/// Tries every address of one server.
async fn dial_server<S: Session>(
    server: &HostPort,
    login: &Login<'_>,
    tls: Option<&Arc<ClientConfig>>,
    target: TargetSessionAttrs,
) -> Result<S, Error> {
    let mut last_error = None;
    for address in addresses(server).await? {
        for encryption in encryptions(server, login.uri.ssl.mode, tls) {
            let route = Route { address: address.clone(), encryption, socket: S::SOCKET };
            match bounded(login.uri.connect_timeout, dial_route::<S>(&route, login, target)).await {
                Ok(session) => return Ok(session),
                Err(error) if other_encryption_may_help(&error) => last_error = last_error.or(Some(error)),
                Err(error) => {
                    last_error = Some(error);
                    break;
                }
            }
        }
        if last_error.as_ref().is_some_and(|error| error.server_error().is_some()) {
            break;
        }
    }
    // Only a name without any address leaves no error.
    Err(last_error.unwrap_or(Error::Closed))
}

async fn dial_route<S: Session>(
    route: &Route,
    login: &Login<'_>,
    target: TargetSessionAttrs,
) -> Result<S, Error> {
    let transport = route.open().await?;
    let mut session = S::establish(transport, login, route).await?;
    accept(target, session.role().await?)?;
    Ok(session)
}

async fn bounded<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match limit {
        Some(limit) => timeout(limit, work).await.unwrap_or(Err(Error::Timeout(limit))),
        None => work.await,
    }
}

async fn addresses(server: &HostPort) -> Result<Vec<Address>, Error> {
    match &server.host {
        Host::Unix(directory) => Ok(vec![Address::Unix(directory.join(socket_file(server.port)))]),
        Host::Tcp(host) => {
            let found = lookup_host((host.as_str(), server.port))
                .await
                .map_err(|source| Error::Resolve { host: host.clone(), source })?;
            Ok(found.map(Address::Tcp).collect())
        }
    }
}

/// The ways to encrypt, in the order to try them; sockets of this machine are never encrypted.
fn encryptions(server: &HostPort, mode: SslMode, tls: Option<&Arc<ClientConfig>>) -> Vec<Encryption> {
    let (Host::Tcp(host), Some(config)) = (&server.host, tls) else {
        return vec![Encryption::Plain];
    };
    let target = TlsTarget { config: Arc::clone(config), host: host.clone() };
    match mode {
        SslMode::Disable => vec![Encryption::Plain],
        SslMode::Allow => vec![Encryption::Plain, Encryption::Required(target)],
        SslMode::Prefer => vec![Encryption::IfOffered(target), Encryption::Plain],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => vec![Encryption::Required(target)],
    }
}

/// Whether `allow` and `prefer` should try the other way: the handshake failed, or pg_hba.conf has no line
/// for a connection of this kind. Not after a wrong password, which would only be sent once more.
fn other_encryption_may_help(error: &Error) -> bool {
    match error {
        Error::Tls { .. } => true,
        _ => error.sqlstate() == Some(&tokio_postgres::error::SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
    }
}

fn passes(target: TargetSessionAttrs) -> &'static [TargetSessionAttrs] {
    use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    match target {
        Any => &[Any],
        ReadWrite => &[ReadWrite],
        ReadOnly => &[ReadOnly],
        Primary => &[Primary],
        Standby => &[Standby],
        PreferStandby => &[Standby, Any],
    }
}

fn accept(target: TargetSessionAttrs, role: ServerRole) -> Result<(), Error> {
    let (accepted, otherwise) = match target {
        TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => (true, ""),
        TargetSessionAttrs::ReadWrite => (!role.read_only && !role.in_recovery, "is read-only"),
        TargetSessionAttrs::ReadOnly => (role.read_only || role.in_recovery, "is not read-only"),
        TargetSessionAttrs::Primary => (!role.in_recovery, "is a standby"),
        TargetSessionAttrs::Standby => (role.in_recovery, "is not a standby"),
    };
    if accepted { Ok(()) } else { Err(Error::Target(otherwise)) }
}

/// Reading certificate files blocks, so it happens elsewhere.
async fn tls_config(uri: &ConnectionUri) -> Result<Option<Arc<ClientConfig>>, Error> {
    let over_tcp = uri.hosts.iter().any(|server| matches!(server.host, Host::Tcp(_)));
    if uri.ssl.mode == SslMode::Disable || !over_tcp {
        return Ok(None);
    }
    let options = uri.ssl.clone();
    tokio::task::spawn_blocking(move || tls::client_config(&options))
        .await
        .map_err(|error| Error::Config(format!("load certificates: {error}")))?
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_session_attrs_decide_by_the_servers_role() {
        use TargetSessionAttrs::{Any, Primary, ReadOnly, ReadWrite, Standby};
        for (target, primary, read_only_primary, standby) in [
            (Any, true, true, true),
            (ReadWrite, true, false, false),
            (ReadOnly, false, true, true),
            (Primary, true, true, false),
            (Standby, false, false, true),
        ] {
            let accepted =
                |in_recovery, read_only| accept(target, ServerRole { in_recovery, read_only }).is_ok();
            assert_eq!(accepted(false, false), primary, "{target:?}");
            assert_eq!(accepted(false, true), read_only_primary, "{target:?}");
            assert_eq!(accepted(true, true), standby, "{target:?}");
        }
    }

    #[test]
    fn sslmode_decides_what_is_tried() {
        let config = tls::client_config(&crate::uri::SslOptions::default()).unwrap();
        let tcp = HostPort { host: Host::Tcp("h".to_owned()), port: 1 };
        let unix = HostPort { host: Host::Unix("/tmp".into()), port: 1 };
        for (mode, expected) in [
            (SslMode::Disable, "plain"),
            (SslMode::Allow, "plain,tls"),
            (SslMode::Prefer, "offered,plain"),
            (SslMode::Require, "tls"),
            (SslMode::VerifyCa, "tls"),
            (SslMode::VerifyFull, "tls"),
        ] {
            let names = |server| {
                let name = |encryption: &Encryption| match encryption {
                    Encryption::Plain => "plain",
                    Encryption::IfOffered(_) => "offered",
                    Encryption::Required(_) => "tls",
                };
                encryptions(server, mode, Some(&config)).iter().map(name).collect::<Vec<_>>().join(",")
            };
            assert_eq!(names(&tcp), expected, "{mode:?}");
            assert_eq!(names(&unix), "plain", "{mode:?}");
        }
    }
}
