//! What both agents share about PostgreSQL: connections, names and quoting, catalogs, the replication protocol.
//!
//! Nothing here knows about tasks' life or about the wire between agents beyond the messages that describe a schema.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod catalog;
pub mod connect;
mod dial;
pub mod endpoint;
pub mod error;
mod kernel;
pub mod names;
pub mod pgoutput;
mod pgpass;
pub mod quote;
pub mod replication;
pub mod server;
pub mod session;
mod tls;
mod transport;
pub mod uri;

pub use connect::{Client, connect};
pub use endpoint::EndpointConfig;
pub use error::{Error, ServerError};
pub use kernel::KernelVersion;
pub use names::{NAME_PREFIX, PublicationName, SlotName};
pub use server::{Dialect, Server, ServerVersion, is_append_optimised};
pub use uri::ConnectionUri;
