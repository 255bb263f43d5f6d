//! Which task belongs to two databases.
//!
//! The id is made of the two URIs without their passwords, so that the same command finds the same task
//! again, also when nothing but the databases is left.

use sha2::{Digest as _, Sha256};
use strait_postgres::ConnectionUri;
use strait_proto::TaskId;

use crate::error::Error;

/// Reads a URI of the command line. What is said about a wrong one never holds the URI itself.
pub(super) fn parse(argument: &'static str, uri: &str) -> Result<ConnectionUri, Error> {
    uri.parse()
        .map_err(|error: strait_postgres::Error| Error::Argument { argument, message: error.to_string() })
}

/// The task of this source and this destination.
pub(super) fn task_id(source: &ConnectionUri, destination: &ConnectionUri) -> TaskId {
    let mut digest = Sha256::new();
    digest.update(b"strait sync 1\0");
    digest.update(source.identity().as_bytes());
    digest.update(b"\0");
    digest.update(destination.identity().as_bytes());
    let mut entropy = [0; 16];
    entropy.copy_from_slice(&digest.finalize()[..16]);
    TaskId::from_entropy(&entropy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(source: &str, destination: &str) -> String {
        task_id(&parse("source", source).unwrap(), &parse("destination", destination).unwrap()).to_string()
    }

    #[test]
    fn the_id_is_that_of_the_databases_and_not_of_the_passwords() {
        let (source, destination) = ("postgres://me@eu:5432/orders", "postgres://me@us:5432/orders");
        let expected = id(source, destination);
        for same in ["postgres://me:secret@eu:5432/orders", "postgresql://me:other@eu/orders"] {
            assert_eq!(id(same, destination), expected, "{same}");
        }
        for other in [
            "postgres://me@eu:5432/other",
            "postgres://me@eu:5433/orders",
            "postgres://me@elsewhere:5432/orders",
            "postgres://somebody@eu:5432/orders",
        ] {
            assert_ne!(id(other, destination), expected, "{other}");
        }
        assert_ne!(id(destination, source), expected, "the direction counts");
    }

    #[test]
    fn a_wrong_uri_is_named_by_its_argument_without_the_password() {
        for uri in ["mysql://me:hunter2@host/db", "me:hunter2@host", "postgres://me:hunter2@host:port/db", ""]
        {
            let message = parse("source", uri).unwrap_err().to_string();
            assert!(message.starts_with("--source: "), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
