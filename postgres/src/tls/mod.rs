//! TLS as libpq's `sslmode` means it, with rustls.
//!
//! | sslmode | encrypted | certificate |
//! |---|---|---|
//! | `disable` | never | |
//! | `allow` | if the server refuses otherwise | not checked |
//! | `prefer` | if the server can | not checked |
//! | `require` | always | not checked; its chain, where a root certificate is configured |
//! | `verify-ca` | always | chain |
//! | `verify-full` | always | chain and host name |

mod channel_binding;
mod verifier;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) use channel_binding::tls_server_end_point;
use verifier::{Check, Verifier};

use crate::Error;
use crate::pgpass::is_private;
use crate::uri::{RootCertificate, SslMode, SslOptions};

/// The client's side of TLS as the URI asks for it. Reads certificate files, so it blocks for a moment.
pub(crate) fn client_config(options: &SslOptions) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error(&error))?;

    let verifier = verifier(options, algorithms)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let config = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let (chain, key) = (certificates(certificate)?, private_key(key)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| tls_error(&error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// What a failed handshake amounts to: a wrong certificate or version stays wrong, a broken connection does
/// not.
pub(crate) fn handshake_error(error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => tls_error(tls),
        None => Error::Io(error),
    }
}

/// A definite error about TLS.
pub(crate) fn definite(cause: impl Into<String>) -> Error {
    Error::Tls { cause: cause.into(), definite: true }
}

fn tls_error(error: &rustls::Error) -> Error {
    definite(error.to_string())
}

fn verifier(
    options: &SslOptions,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
) -> Result<Verifier, Error> {
    // The user's own file of roots counts like a configured one, if it is there.
    let default_file = || default_root_file().filter(|path| path.exists()).map(RootCertificate::File);
    let root = options.root_certificate.clone().or_else(default_file);
    let check = match options.mode {
        SslMode::VerifyFull => Check::ChainAndName,
        SslMode::VerifyCa => Check::Chain,
        SslMode::Require if root.is_some() => Check::Chain,
        SslMode::Require | SslMode::Prefer | SslMode::Allow | SslMode::Disable => Check::Nothing,
    };
    let trusted = match (check, root) {
        (Check::Nothing, _) => Vec::new(),
        (_, Some(RootCertificate::System)) => system_roots()?,
        (_, Some(RootCertificate::File(path))) => certificates(&path)?,
        (_, None) => {
            let mode = if check == Check::Chain { "verify-ca" } else { "verify-full" };
            return Err(Error::Config(format!(
                "sslmode={mode} needs root certificates: give the URI sslrootcert=FILE, or sslrootcert=system"
            )));
        }
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    if check != Check::Nothing && roots.is_empty() {
        return Err(Error::Config("sslrootcert holds no certificate that can be used".to_owned()));
    }
    Ok(Verifier { check, roots, trusted, algorithms })
}

fn default_root_file() -> Option<PathBuf> {
    env::home_dir().map(|home| home.join(".postgresql/root.crt"))
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, Error> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::debug!(%error, "load a root certificate of the system");
    }
    if loaded.certs.is_empty() {
        return Err(Error::Config("sslrootcert=system: the system has no root certificates".to_owned()));
    }
    Ok(loaded.certs)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => {
            Err(Error::Config(format!("{} holds no certificate in PEM format", path.display())))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(Error::Config(format!("read the certificate {}: {error}", path.display()))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let metadata = fs::metadata(path)
        .map_err(|error| Error::Config(format!("read the key {}: {error}", path.display())))?;
    if !is_private(&metadata) {
        return Err(Error::Config(format!(
            "the key {} is readable by others: chmod 0600, or 0640 if root owns it",
            path.display()
        )));
    }
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| Error::Config(format!("read the key {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_without_roots_is_refused_and_says_what_to_do() {
        let missing = SslOptions {
            mode: SslMode::VerifyFull,
            root_certificate: Some(RootCertificate::File("/no/such/root.crt".into())),
            ..SslOptions::default()
        };
        let error = client_config(&missing).unwrap_err();
        assert!(error.to_string().contains("/no/such/root.crt"), "{error}");
        assert!(client_config(&SslOptions::default()).is_ok());
    }

    #[test]
    fn a_broken_connection_is_no_definite_tls_error() {
        let broken = handshake_error(io::ErrorKind::UnexpectedEof.into());
        assert!(matches!(broken, Error::Io(_)), "{broken:?}");
        let wrong = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrong = handshake_error(io::Error::other(wrong));
        assert!(wrong.failure().definite && wrong.to_string().contains("UnknownIssuer"), "{wrong:?}");
    }
}
