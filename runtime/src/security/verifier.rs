//! The client's check of a server's certificate: signed by the authority, valid today, and of the part that was meant.
//!
//! The host name does not count: a part is known by its role and name wherever it is.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Expected;
use super::peer::{Peer, PeerError};

#[derive(Debug)]
pub(super) struct ServerVerifier {
    roots: Arc<RootCertStore>,
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Somebody else answered.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error(transparent)]
    Nobody(PeerError),
    #[error("{expected} was dialled, and {found} answered")]
    Somebody { expected: Expected, found: Peer },
}

impl ServerVerifier {
    pub(super) fn new(roots: Arc<RootCertStore>, expected: Expected) -> Self {
        Self { roots, expected, algorithms: ring::default_provider().signature_verification_algorithms }
    }

    fn verify_identity(&self, certificate: &CertificateDer<'_>) -> Result<(), Wrong> {
        let found = Peer::of_certificate(certificate).map_err(Wrong::Nobody)?;
        if self.expected.is_met_by(&found) {
            return Ok(());
        }
        Err(Wrong::Somebody { expected: self.expected.clone(), found })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        self.verify_identity(end_entity).map_err(|wrong| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong))))
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
