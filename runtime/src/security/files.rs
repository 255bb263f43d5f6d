//! Certificates and keys from their files, and whether the files have changed since.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::peer::{Peer, PeerError};

/// Certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file is not there, or not readable.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file has something else in it.
    #[error("{} holds no {what} in PEM format", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The key is not secret.
    #[error("the key {} is readable by others: chmod 0600, or 0640 if root owns it", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate says nothing that is understood.
    #[error("{}: {source}", path.display())]
    Nobody {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PeerError,
    },
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error("use the certificate {}: {source}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The certificate is somebody else's.
    #[error("{} is the certificate of {found}, and this is {}", path.display(), expected)]
    Somebody {
        /// The certificate's file.
        path: PathBuf,
        /// Whom it names.
        found: Peer,
        /// Who it should be.
        expected: String,
    },
    /// No way to speak was chosen.
    #[error("{0}")]
    Choice(&'static str),
}

/// Where an identity stands.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) authority: PathBuf,
    /// Certificate, with what leads from it to the authority, and key.
    pub(super) own: Option<(PathBuf, PathBuf)>,
}

/// Tells one version of the files from another.
pub(super) type Stamp = Vec<Option<(u64, u64, SystemTime)>>;

/// What the files hold.
pub(super) struct Content {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) own: Option<(Arc<CertifiedKey>, Peer)>,
}

impl Files {
    /// Which version of the files stands now. A secret that Kubernetes mounts changes by its links, which are followed.
    pub(super) fn stamp(&self) -> Stamp {
        let own = self.own.iter().flat_map(|(certificate, key)| [certificate, key]);
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
        };
        [&self.authority].into_iter().chain(own).map(stamp).collect()
    }

    pub(super) fn read(&self) -> Result<Content, SecurityError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&self.authority)?);
        if roots.is_empty() {
            return Err(SecurityError::Content {
                path: self.authority.clone(),
                what: "certificate of an authority",
            });
        }
        let own = self.own.as_ref().map(|(certificate, key)| own(certificate, key)).transpose()?;
        Ok(Content { roots: Arc::new(roots), own })
    }
}

fn own(certificate: &Path, key: &Path) -> Result<(Arc<CertifiedKey>, Peer), SecurityError> {
    let chain = certificates(certificate)?;
    let nobody = |source| SecurityError::Nobody { path: certificate.to_owned(), source };
    // `certificates` found at least one.
    let peer = chain.first().ok_or(PeerError::Unreadable).and_then(Peer::of_certificate).map_err(nobody)?;
    let unusable = |source| SecurityError::Unusable { path: certificate.to_owned(), source };
    let certified =
        CertifiedKey::from_der(chain, private_key(key)?, &ring::default_provider()).map_err(unusable)?;
    certified.keys_match().map_err(unusable)?;
    Ok((Arc::new(certified), peer))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(SecurityError::Content { path: path.to_owned(), what: "certificate" }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SecurityError> {
    let metadata =
        fs::metadata(path).map_err(|source| SecurityError::Read { path: path.to_owned(), source })?;
    // libpq's rule: a key of root's may be shared with a group.
    let allowed = if metadata.uid() == 0 { 0o640 } else { 0o600 };
    if metadata.permissions().mode() & 0o777 & !allowed != 0 {
        return Err(SecurityError::NotPrivate { path: path.to_owned() });
    }
    let text = read(path)?;
    // Its own error may quote the key.
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| SecurityError::Content { path: path.to_owned(), what: "private key" })
}

fn read(path: &Path) -> Result<Vec<u8>, SecurityError> {
    fs::read(path).map_err(|source| SecurityError::Read { path: path.to_owned(), source })
}
