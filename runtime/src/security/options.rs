//! The options that say how a program speaks to the others.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Expected, Identity, Security, SecurityError};
use crate::config::ConfigError;

/// The options' place in `--help`.
const HELP_HEADING: &str = "Security";

/// Options of the programs that speak to each other; to be flattened into theirs.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SecurityOptions {
    /// Certificates of the authority that signed those of all parts, PEM; read anew when the file changes
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "FILE", env = "STRAIT_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// This part's certificate, PEM, with the URI spiffe://strait/ROLE/NAME; read anew when the file changes
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "FILE", env = "STRAIT_TLS_CERTIFICATE")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key, PEM, readable by nobody else
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "FILE", env = "STRAIT_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Speak without TLS, on loopback addresses alone: whoever is on this machine may do everything
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, env = "STRAIT_PLAIN_TEXT")]
    pub plain_text: bool,
}

impl SecurityOptions {
    /// Reads the certificates of a part that has to be `expected`.
    ///
    /// # Errors
    /// When the choice is not clear, or the files cannot be used.
    pub fn resolve(&self, expected: &Expected) -> Result<Security, ConfigError> {
        const FIELD: &str = "tls-certificate";
        let choice = |message| ConfigError::invalid(FIELD, message);
        match (&self.tls_ca, &self.tls_certificate, &self.tls_key, self.plain_text) {
            (None, None, None, true) => Ok(Security::PlainText),
            (None, None, None, false) => Err(choice(
                "is required, with tls-ca and tls-key (`strait certs` makes them for a trial); or plain-text, which serves \
                 this machine alone",
            )),
            (_, _, _, true) => Err(choice("and plain-text exclude each other")),
            (Some(authority), Some(certificate), Some(key), false) => {
                let identity = Identity::load(authority.clone(), certificate.clone(), key.clone());
                let checked = identity.and_then(|identity| {
                    identity.require(expected)?;
                    Ok(Security::Mutual(Arc::new(identity)))
                });
                checked
                    .map_err(|error| ConfigError::invalid(FIELD, format!("cannot be used: {}", told(&error))))
            }
            _ => Err(choice("is only complete with tls-ca, tls-certificate and tls-key")),
        }
    }
}

/// Options of a program that only calls.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClientSecurityOptions {
    /// Certificates of the authority that signed the coordinator's, PEM
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "FILE", env = "STRAIT_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// A certificate of an operator, PEM, with the URI spiffe://strait/operator/NAME
    #[arg(help_heading = HELP_HEADING)]
    #[arg(
        long,
        value_name = "FILE",
        env = "STRAIT_TLS_CERTIFICATE",
        requires = "tls_key",
        requires = "tls_ca"
    )]
    pub tls_certificate: Option<PathBuf>,
    /// Its key, PEM, readable by nobody else
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "FILE", env = "STRAIT_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
}

impl ClientSecurityOptions {
    /// Reads the certificates for `https://`; none are needed, nor used, where the coordinator is dialled by `http://`.
    ///
    /// # Errors
    /// When the files cannot be used, or are not there.
    pub fn resolve(&self, uri: &str) -> Result<Security, SecurityError> {
        if uri.starts_with("http://") {
            return Ok(Security::PlainText);
        }
        let authority = self.tls_ca.clone().ok_or(SecurityError::Choice(
            "https:// needs --tls-ca, and --tls-certificate with --tls-key, or a token",
        ))?;
        let identity = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Identity::load(authority, certificate.clone(), key.clone())?,
            _ => Identity::load_authority(authority)?,
        };
        Ok(Security::Mutual(Arc::new(identity)))
    }
}

/// An error and its cause on one line.
fn told(error: &SecurityError) -> String {
    match error {
        SecurityError::Read { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}
