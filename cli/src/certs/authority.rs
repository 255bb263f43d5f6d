//! The authority's key, and what it signs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use strait_runtime::security::Peer;
use time::{Duration, OffsetDateTime};

use crate::error::Error;

/// How long an authority lasts.
const AUTHORITY_DAYS: i64 = 3650;
/// Clocks of machines differ.
const CLOCK_DIFFERENCE: Duration = Duration::minutes(5);
const AUTHORITY_NAME: &str = "Strait private authority";

/// From when to when a certificate counts.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Validity {
    /// From now on for so many days.
    #[must_use]
    pub fn days(days: u32) -> Self {
        let now = OffsetDateTime::now_utc();
        Self { not_before: now - CLOCK_DIFFERENCE, not_after: now + Duration::days(days.into()) }
    }

    /// Until yesterday.
    #[must_use]
    pub fn past() -> Self {
        let now = OffsetDateTime::now_utc();
        Self { not_before: now - Duration::days(2), not_after: now - Duration::days(1) }
    }
}

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority of a directory; where it has none, one is made there.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn open_or_create(directory: &Path) -> Result<Self, Error> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        let keys = match fs::read_to_string(&key) {
            Ok(text) => KeyPair::from_pem(&text).map_err(|error| unusable(&key, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(directory).map_err(|error| not_written(directory, error))?;
                let keys = KeyPair::generate().map_err(|error| unusable(&key, error))?;
                let signed = authority_params().self_signed(&keys).map_err(|error| unusable(&key, error))?;
                write(&key, &keys.serialize_pem(), Secrecy::Secret)?;
                write(&certificate, &signed.pem(), Secrecy::Public)?;
                keys
            }
            Err(source) => return Err(Error::Read { path: key, source }),
        };
        Ok(Self { issuer: Issuer::new(authority_params(), keys) })
    }

    /// Writes a certificate for a part, and its key, as `ROLE-NAME.pem` and `.key`; what stood there is replaced.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(
        &self,
        directory: &Path,
        peer: &Peer,
        validity: Validity,
    ) -> Result<(PathBuf, PathBuf), Error> {
        let stem = format!("{}-{}", peer.role, peer.name);
        let (certificate, key) =
            (directory.join(format!("{stem}.pem")), directory.join(format!("{stem}.key")));
        let keys = KeyPair::generate().map_err(|error| unusable(&key, error))?;
        let signed = leaf_params(peer, validity)
            .and_then(|params| params.signed_by(&keys, &self.issuer))
            .map_err(|error| unusable(&certificate, error))?;
        write(&key, &keys.serialize_pem(), Secrecy::Secret)?;
        write(&certificate, &signed.pem(), Secrecy::Public)?;
        Ok((certificate, key))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_DIFFERENCE;
    params.not_after = now + Duration::days(AUTHORITY_DAYS);
    params
}

/// Both for connections that come and for connections that go: an agent does both.
fn leaf_params(peer: &Peer, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&peer.name);
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(peer.to_string())?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[derive(Clone, Copy)]
enum Secrecy {
    Public,
    Secret,
}

/// In one step, so that a program that reads its files anew never finds half of one.
fn write(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), Error> {
    let mode = match secrecy {
        Secrecy::Public => 0o644,
        Secrecy::Secret => 0o600,
    };
    let beside = path.with_extension("new");
    let written = (|| {
        let _ = fs::remove_file(&beside);
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    written.map_err(|error| not_written(path, error))
}

fn not_written(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.to_owned(), source }
}

fn unusable(path: &Path, error: rcgen::Error) -> Error {
    Error::Write { path: path.to_owned(), source: io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use strait_runtime::security::{Identity, Role};

    use super::*;

    #[test]
    fn what_is_written_is_what_a_part_reads_and_an_authority_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("certs");
        for name in ["eu-1", "eu-2", "eu-1"] {
            let peer = Peer { role: Role::SourceAgent, name: name.to_owned() };
            let authority = Authority::open_or_create(&path).unwrap();
            let (certificate, key) = authority.write(&path, &peer, Validity::days(1)).unwrap();
            let identity = Identity::load(path.join("ca.pem"), certificate, key).unwrap();
            assert_eq!(identity.peer(), Some(peer));
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 6);
    }
}
