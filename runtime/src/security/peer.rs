//! What a certificate says of its holder.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;

/// Before the role and the name in a certificate's URI.
const URI_PREFIX: &str = "spiffe://strait/";
/// The longest name, in bytes; the same as an agent's in a task.
const NAME_BYTES_MAX: usize = 128;

/// What a part is, and so what it may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Keeps the tasks; calls nobody.
    Coordinator,
    /// Reads sources: may hold a session with the coordinator and send rows to sink-agents.
    SourceAgent,
    /// Writes destinations: may hold a session with the coordinator.
    SinkAgent,
    /// A person or a script: may do everything with tasks.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Coordinator, Self::SourceAgent, Self::SinkAgent, Self::Operator];

    /// As it stands in certificates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::SourceAgent => "source-agent",
            Self::SinkAgent => "sink-agent",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The holder of a certificate. Prints as its URI and is read from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// What it is.
    pub role: Role,
    /// An agent's name as tasks use it; a person's; one that tells coordinators apart.
    pub name: String,
}

/// A certificate or a URI does not say who holds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not a certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// None of its URIs is one of ours.
    #[error("the certificate names no part of Strait: its URI has to be {URI_PREFIX}ROLE/NAME")]
    Nobody,
    /// More than one is.
    #[error("the certificate names more than one part of Strait")]
    Several,
    /// A URI of ours that says nothing that is known.
    #[error(
        "{uri:?} names no part of Strait: expected {URI_PREFIX}ROLE/NAME, ROLE being coordinator, source-agent, sink-agent \
         or operator, NAME 1 to {NAME_BYTES_MAX} letters, digits and any of . _ -"
    )]
    Unknown {
        /// As it stands there.
        uri: String,
    },
}

impl Peer {
    /// Whom a certificate, which has been verified, stands for.
    ///
    /// # Errors
    /// When it names nobody, or more than one.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|_| PeerError::Unreadable)?;
        let mut ours = certificate.valid_uri_names().filter(|uri| uri.starts_with(URI_PREFIX));
        let uri = ours.next().ok_or(PeerError::Nobody)?;
        if ours.next().is_some() {
            return Err(PeerError::Several);
        }
        uri.parse()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{URI_PREFIX}{}/{}", self.role, self.name)
    }
}

impl FromStr for Peer {
    type Err = PeerError;

    fn from_str(uri: &str) -> Result<Self, PeerError> {
        let unknown = || PeerError::Unknown { uri: uri.to_owned() };
        let (role, name) =
            uri.strip_prefix(URI_PREFIX).and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role).ok_or_else(unknown)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
            return Err(unknown());
        }
        Ok(Self { role, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_prints_as_it_is_read() {
        for role in Role::ALL {
            let peer = Peer { role, name: "eu-1.a_b".to_owned() };
            assert_eq!(peer.to_string().parse(), Ok(peer));
        }
    }

    #[test]
    fn anything_else_names_nobody() {
        let long = format!("spiffe://strait/operator/{}", "a".repeat(129));
        for uri in [
            "",
            "spiffe://strait/",
            "spiffe://strait/operator",
            "spiffe://strait/operator/",
            "spiffe://strait/root/a",
            "spiffe://strait/operator/a/b",
            "spiffe://strait/operator/a b",
            "spiffe://strait/operator/ä",
            "spiffe://other/operator/a",
            "SPIFFE://strait/operator/a",
            &long,
        ] {
            assert!(matches!(uri.parse::<Peer>(), Err(PeerError::Unknown { .. })), "{uri}");
        }
    }
}
