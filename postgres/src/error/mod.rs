//! What can go wrong with a database, kept apart from what to do about it.
//!
//! An [`Error`] says what happened and keeps the server's own words and SQLSTATE. Whether trying again can
//! help, and what a person should do, is told by [`Error::failure`]. No error ever holds a password.

mod failure;
mod remedy;
mod server_error;

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use strait_proto::v1;
use tokio_postgres::error::SqlState;

pub use server_error::ServerError;

use crate::pgoutput::DecodeError;

/// An operation on a database failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No session came about. The address is `host:port`, or the path of a socket.
    #[error("connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// The host's name has no address.
    #[error("resolve the host name {host:?}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's words.
        #[source]
        source: io::Error,
    },
    /// The server answered with an error.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection broke, or never came about.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// The server closed the connection without saying why.
    #[error("the server closed the connection")]
    Closed,
    /// The server did not answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection could not be encrypted as asked.
    #[error("TLS: {cause}")]
    Tls {
        /// What is wrong.
        cause: String,
        /// Whether it stays wrong until a person changes something.
        definite: bool,
    },
    /// The server asks for a password and none is configured.
    #[error("the server asks for a password and none is configured")]
    PasswordMissing,
    /// The server asks for what this client cannot do, or failed to prove that it knows the password itself.
    #[error("authentication: {0}")]
    Authentication(String),
    /// The server is not of the kind that `target_session_attrs` asks for.
    #[error("the server {0}")]
    Target(&'static str),
    /// The server sent what the protocol does not allow.
    #[error("unexpected message from the server: {0}")]
    Protocol(String),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(String),
    /// Strait itself refuses to go on until a person changes something.
    #[error("{cause}")]
    Refused {
        /// What is wrong.
        cause: String,
        /// What to do about it; may be empty.
        remedy: String,
    },
    /// The client could not encode a parameter, decode a value, or the like: a fault of this program.
    #[error("use of the database client")]
    Client(#[source] tokio_postgres::Error),
}

impl Error {
    /// A definite refusal by Strait itself: what is wrong, and what to do about it.
    pub fn refused(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { cause: cause.into(), remedy: remedy.into() }
    }

    /// What happened, whether trying again can help, and what to do about it, for programs and people.
    pub fn failure(&self) -> v1::Failure {
        failure::of(self)
    }

    /// The server's words, where it was the server that said something.
    pub fn server_error(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            Self::Connect { source, .. } => source.server_error(),
            _ => None,
        }
    }

    /// The server's SQLSTATE, where it was the server that said something.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.server_error().map(|error| &error.code)
    }

    /// Whether the connection is lost or never came about, so that a new one may help.
    pub fn is_connection(&self) -> bool {
        failure::is_connection(self)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(server) = error.as_db_error() {
            return ServerError::from(server).into();
        }
        if error.is_closed() {
            return Self::Closed;
        }
        let source = error.source();
        if let Some(source) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
            return Self::Io(io::Error::new(source.kind(), source.to_string()));
        }
        // tokio-postgres tells these apart by its words alone.
        match (error.to_string().as_str(), source.map(ToString::to_string)) {
            ("invalid configuration", Some(words)) if words == "password missing" => Self::PasswordMissing,
            ("authentication error", Some(words)) => Self::Authentication(words),
            ("unexpected message from server", _) => Self::Protocol("out of turn".to_owned()),
            _ => Self::Client(error),
        }
    }
}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}
