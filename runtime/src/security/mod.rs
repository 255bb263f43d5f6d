//! Who may speak to whom: mutual TLS 1.3 between all parts, or plain text on this machine alone.
//!
//! ```text
//!   files ──► Identity ──► server: TLS, the client's certificate ──► Peer: role and name ──► may it call this?
//!                     └──► client: TLS, the server's certificate ──► is it the role and name that was meant?
//! ```
//!
//! A certificate counts for what its URI name says, `spiffe://strait/ROLE/NAME`, and for nothing else: host names
//! and addresses change with networks and translations of them, what a part is does not. So whoever signs
//! certificates decides who may do what. Nothing here is ever spoken in the clear to another machine.

mod connector;
mod files;
mod identity;
mod options;
mod peer;
mod stream;
mod verifier;

use std::sync::Arc;

pub use connector::Connector;
pub(crate) use connector::{host_and_port, prepare};
pub use files::SecurityError;
pub use identity::Identity;
pub use options::{ClientSecurityOptions, SecurityOptions};
pub use peer::{Peer, PeerError, Role};
pub use stream::Stream;

/// How a part speaks to the others.
#[derive(Clone, Debug)]
pub enum Security {
    /// In the clear, and so with this machine alone.
    PlainText,
    /// By TLS 1.3, both sides with a certificate of the same authority.
    Mutual(Arc<Identity>),
}

impl Security {
    /// What the addresses begin with that are dialled in this way.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::PlainText => "http",
            Self::Mutual(_) => "https",
        }
    }
}

/// Who has to answer where something is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The role that its certificate has to have.
    pub role: Role,
    /// The name that it has to have; none: any.
    pub name: Option<String>,
}

impl Expected {
    /// The coordinator, whatever its name.
    #[must_use]
    pub const fn coordinator() -> Self {
        Self { role: Role::Coordinator, name: None }
    }

    /// The source-agent of this name.
    #[must_use]
    pub fn source_agent(name: impl Into<String>) -> Self {
        Self { role: Role::SourceAgent, name: Some(name.into()) }
    }

    /// The sink-agent of this name.
    #[must_use]
    pub fn sink_agent(name: impl Into<String>) -> Self {
        Self { role: Role::SinkAgent, name: Some(name.into()) }
    }

    /// Whether that is who answered.
    #[must_use]
    pub fn is_met_by(&self, peer: &Peer) -> bool {
        peer.role == self.role && self.name.as_ref().is_none_or(|name| *name == peer.name)
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name}", self.role),
            None => write!(f, "a {}", self.role),
        }
    }
}
