//! Which PostgreSQL versions the tests run on, and where their programs are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::packages;

/// A major version that Strait supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PgVersion {
    /// PostgreSQL 12, the oldest.
    V12,
    /// PostgreSQL 13.
    V13,
    /// PostgreSQL 14.
    V14,
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18, the newest.
    V18,
}

impl PgVersion {
    /// Every supported version, oldest first.
    pub const ALL: [Self; 7] = [Self::V12, Self::V13, Self::V14, Self::V15, Self::V16, Self::V17, Self::V18];

    /// The number in front of the dot.
    pub const fn major(self) -> u32 {
        match self {
            Self::V12 => 12,
            Self::V13 => 13,
            Self::V14 => 14,
            Self::V15 => 15,
            Self::V16 => 16,
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }

    /// The source's and the destination's version: `STRAIT_TEST_SOURCE` and `STRAIT_TEST_DESTINATION`, by default what is
    /// installed here (newest first), which needs no download.
    pub fn default_pair() -> Result<(Self, Self)> {
        let side = |variable: &str| -> Result<Self> {
            match std::env::var(variable) {
                Ok(text) => text.parse().with_context(|| variable.to_owned()),
                Err(_) => Ok(Self::installed().unwrap_or(Self::V15)),
            }
        };
        Ok((side("STRAIT_TEST_SOURCE")?, side("STRAIT_TEST_DESTINATION")?))
    }

    /// The newest version that the system's packages provide.
    pub fn installed() -> Option<Self> {
        Self::ALL.into_iter().rev().find(|version| version.system_directory().is_some())
    }

    /// The directory with `initdb`, `pg_ctl` and `postgres`: the system's, else one that is fetched once and kept.
    pub async fn programs(self) -> Result<PathBuf> {
        match self.system_directory() {
            Some(directory) => Ok(directory),
            None => tokio::task::spawn_blocking(move || packages::fetch(self)).await?,
        }
    }

    fn system_directory(self) -> Option<PathBuf> {
        let major = self.major();
        [format!("/usr/lib/postgresql/{major}/bin"), format!("/usr/pgsql-{major}/bin")]
            .into_iter()
            .map(PathBuf::from)
            .find(|directory| directory.join("initdb").exists())
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.major().fmt(f)
    }
}

impl FromStr for PgVersion {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|version| version.major().to_string() == text) {
            Some(version) => Ok(version),
            None => bail!("{text:?} is not a PostgreSQL version from 12 to 18"),
        }
    }
}

/// One of PostgreSQL's client programs (`psql`, `pg_dump`, `pgbench`), newest first.
pub fn client_program(name: &str) -> Result<PathBuf> {
    let installed =
        PgVersion::ALL.into_iter().rev().filter_map(PgVersion::system_directory).map(|d| d.join(name));
    match installed.chain([Path::new("/usr/bin").join(name)]).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!("{name} is not installed: `make setup` installs PostgreSQL's client programs"),
    }
}
