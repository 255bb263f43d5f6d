//! A part's certificate, and TLS as it is spoken with it. Files that change count from the next connection on.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};

use super::Expected;
use super::files::{Content, Files, SecurityError, Stamp};
use super::peer::Peer;
use super::verifier::ServerVerifier;

/// How often the files are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// HTTP/2.
const ALPN: &[u8] = b"h2";

/// A part's certificate and the authority that it trusts.
pub struct Identity {
    files: Files,
    state: Mutex<State>,
}

struct State {
    content: Arc<Content>,
    stamp: Stamp,
    looked: Instant,
}

impl Identity {
    /// Reads an authority's certificates and a certificate and key of one's own.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(authority: PathBuf, certificate: PathBuf, key: PathBuf) -> Result<Self, SecurityError> {
        Self::from_files(Files { authority, own: Some((certificate, key)) })
    }

    /// Reads an authority's certificates alone: enough to know whom one speaks to, not to be known.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn load_authority(authority: PathBuf) -> Result<Self, SecurityError> {
        Self::from_files(Files { authority, own: None })
    }

    fn from_files(files: Files) -> Result<Self, SecurityError> {
        let stamp = files.stamp();
        let content = Arc::new(files.read()?);
        Ok(Self { files, state: Mutex::new(State { content, stamp, looked: Instant::now() }) })
    }

    /// Whom the certificate names; none without one of one's own.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.current().own.as_ref().map(|(_, peer)| peer.clone())
    }

    /// Fails unless the certificate is that of this part.
    ///
    /// # Errors
    /// When it names another one.
    pub fn require(&self, expected: &Expected) -> Result<(), SecurityError> {
        let (Some(found), Some((path, _))) = (self.peer(), &self.files.own) else {
            return Err(SecurityError::Choice("a certificate of its own is needed"));
        };
        if expected.is_met_by(&found) {
            return Ok(());
        }
        Err(SecurityError::Somebody { path: path.clone(), found, expected: expected.to_string() })
    }

    /// TLS as a server speaks it. `anonymous`: clients without a certificate may connect, and are nobody; those with one
    /// that does not hold may not.
    pub(crate) fn server(&self, anonymous: bool) -> Result<Arc<ServerConfig>, rustls::Error> {
        let content = self.current();
        let (own, _) = content.own.as_ref().ok_or(rustls::Error::NoCertificatesPresented)?;
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&content.roots), provider());
        if anonymous {
            verifier = verifier.allow_unauthenticated();
        }
        let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(own))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Nothing of a connection is kept: each proves anew who it is.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// TLS as a client speaks it with one that has to be `expected`.
    pub(crate) fn client(&self, expected: Expected) -> Result<Arc<ClientConfig>, rustls::Error> {
        let content = self.current();
        let verifier = ServerVerifier::new(Arc::clone(&content.roots), expected);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &content.own {
            Some((own, _)) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(own))))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// What stands in the files. Where they have changed and cannot be used, perhaps because one of them has been written
    /// and the other not yet, what stood there before goes on counting.
    fn current(&self) -> Arc<Content> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK_INTERVAL {
            return Arc::clone(&state.content);
        }
        state.looked = Instant::now();
        let stamp = self.files.stamp();
        if stamp != state.stamp {
            match self.files.read() {
                Ok(content) => {
                    state.content = Arc::new(content);
                    tracing::info!(authority = %self.files.authority.display(), "certificates were read anew");
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "the certificates have changed and cannot be used; the former ones stay");
                }
            }
            // A version that cannot be used is complained about once.
            state.stamp = stamp;
        }
        Arc::clone(&state.content)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
