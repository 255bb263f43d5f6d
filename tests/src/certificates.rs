//! Certificates of an authority that lasts as long as a test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use strait_cli::certs::{Authority, Validity};
use strait_runtime::security::{Identity, Peer, Role, Security};
use tempfile::TempDir;

use crate::layout::{SINK_AGENT, SOURCE_AGENT};

/// The name of the coordinator in its certificate, and of the operator in theirs.
const NAME: &str = "main";

/// An authority, and a certificate for each part of a deployment and for an operator.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
    authority: Authority,
}

impl Certificates {
    /// Makes all of them.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("strait-certificates-").tempdir()?;
        let certificates = Self {
            authority: Authority::open_or_create(directory.path()).context("make an authority")?,
            directory,
        };
        for role in Role::ALL {
            certificates.issue(role, Self::name_of(role), Validity::days(1))?;
        }
        Ok(certificates)
    }

    /// Writes a certificate; one of the same role and name is replaced.
    pub fn issue(&self, role: Role, name: &str, validity: Validity) -> Result<()> {
        let peer = Peer { role, name: name.to_owned() };
        self.authority.write(self.directory.path(), &peer, validity).context("write a certificate")?;
        Ok(())
    }

    /// Speaks as the part of this deployment that has the role.
    pub fn security(&self, role: Role) -> Result<Security> {
        self.security_of(role, Self::name_of(role))
    }

    /// Speaks as another one, whose certificate was issued.
    pub fn security_of(&self, role: Role, name: &str) -> Result<Security> {
        let (certificate, key) = self.files_of(role, name);
        let identity = Identity::load(self.authority(), certificate, key).context("load a certificate")?;
        Ok(Security::Mutual(Arc::new(identity)))
    }

    /// Knows the authority and is nobody.
    pub fn anonymous(&self) -> Result<Security> {
        let identity = Identity::load_authority(self.authority()).context("load the authority")?;
        Ok(Security::Mutual(Arc::new(identity)))
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// Certificate and key of a part.
    pub fn files(&self, role: Role) -> (PathBuf, PathBuf) {
        self.files_of(role, Self::name_of(role))
    }

    /// The lines of a configuration file.
    pub(crate) fn configuration(&self, role: Role) -> String {
        let (certificate, key) = self.files(role);
        format!("tls-ca = {:?}\ntls-certificate = {certificate:?}\ntls-key = {key:?}\n", self.authority())
    }

    /// Certificate and key of any holder.
    pub fn files_of(&self, role: Role, name: &str) -> (PathBuf, PathBuf) {
        let stem = self.path().join(format!("{role}-{name}"));
        (stem.with_extension("pem"), stem.with_extension("key"))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    const fn name_of(role: Role) -> &'static str {
        match role {
            Role::SourceAgent => SOURCE_AGENT,
            Role::SinkAgent => SINK_AGENT,
            Role::Coordinator | Role::Operator => NAME,
        }
    }
}
