//! Which server a connection has reached.

use std::fmt;

use crate::Error;

/// `server_version_num`: 150004 is PostgreSQL 15.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion(pub u32);

impl ServerVersion {
    /// The oldest major version that Strait works with.
    pub const MAJOR_MIN: u32 = 12;
    /// The newest major version that Strait is tested with.
    pub const MAJOR_MAX: u32 = 18;

    /// The major version: 15 for PostgreSQL 15.4.
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// Whether a publication takes a partitioned table, and with it every partition that comes.
    pub fn publishes_partitioned_tables(self) -> bool {
        self.major() >= 13
    }

    /// Whether logical messages travel in the change stream.
    pub fn streams_messages(self) -> bool {
        self.major() >= 14
    }

    /// Whether standbys can keep a copy of a logical slot.
    pub fn has_failover_slots(self) -> bool {
        self.major() >= 17
    }

    /// Whether each range type has its multirange type.
    pub fn has_multiranges(self) -> bool {
        self.major() >= 14
    }

    /// Whether an identity with a generated column needs that column in the publication.
    pub fn publishes_generated_columns(self) -> bool {
        self.major() >= 18
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 100_000 {
            write!(f, "{}.{}", self.0 / 10_000, self.0 % 10_000)
        } else {
            write!(f, "{}.{}.{}", self.0 / 10_000, self.0 / 100 % 100, self.0 % 100)
        }
    }
}

/// The family that a server belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL itself and what is managed as such.
    PostgreSql,
    /// Greenplum, Apache Cloudberry, AnalyticDB for PostgreSQL.
    Greenplum,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PostgreSql => "PostgreSQL",
            Self::Greenplum => "Greenplum family",
        })
    }
}

/// Whether tables of this access method only grow, their rows being marked as deleted elsewhere: they have no unique keys that
/// ON CONFLICT could name (Greenplum, Apache Cloudberry).
pub fn is_append_optimised(access_method: &str) -> bool {
    matches!(access_method, "ao_row" | "ao_column" | "pax")
}

const VERSIONS_REMEDY: &str = "Use a server of PostgreSQL 12 to 18.";

/// A server as far as its behaviour depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Version of PostgreSQL, or of the PostgreSQL that the family is based on.
    pub version: ServerVersion,
    /// The family.
    pub dialect: Dialect,
}

impl Server {
    /// Refuses, with what to do about it, a server that changes cannot be read from: one of the Greenplum family, or a version
    /// outside of 12 to 18. With `changes` false they are not to be.
    pub fn require_source(&self, changes: bool) -> Result<(), Error> {
        self.require_version()?;
        if changes && self.dialect == Dialect::Greenplum {
            return Err(Error::refused(
                "the server belongs to the Greenplum family, where each segment has a change stream of its own \
                 (per_segment_direct, per_segment_via_coordinator): this version reads changes from a single one, and \
                 append-optimised tables decode to nothing",
                "Leave the changes out of the task: `synchronize: [schema, full]`.",
            ));
        }
        Ok(())
    }

    /// Refuses a version outside of 12 to 18, whatever the family.
    pub fn require_version(&self) -> Result<(), Error> {
        let supported = ServerVersion::MAJOR_MIN..=ServerVersion::MAJOR_MAX;
        if !supported.contains(&self.version.major()) {
            return Err(Error::refused(
                format!("PostgreSQL {} is not supported", self.version),
                VERSIONS_REMEDY,
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_print_as_people_write_them() {
        for (number, major, text) in [(150_004, 15, "15.4"), (180_000, 18, "18.0"), (90_624, 9, "9.6.24")] {
            assert_eq!(ServerVersion(number).major(), major);
            assert_eq!(ServerVersion(number).to_string(), text);
        }
    }

    #[test]
    fn changes_are_read_from_plain_postgresql_12_to_18_alone() {
        for (number, dialect, rows, changes) in [
            (110_022, Dialect::PostgreSql, false, false),
            (120_000, Dialect::PostgreSql, true, true),
            (180_004, Dialect::PostgreSql, true, true),
            (190_000, Dialect::PostgreSql, false, false),
            (140_000, Dialect::Greenplum, true, false),
            (90_426, Dialect::Greenplum, false, false),
        ] {
            let server = Server { version: ServerVersion(number), dialect };
            let found = (server.require_source(false).is_ok(), server.require_source(true).is_ok());
            assert_eq!(found, (rows, changes), "{server:?}");
        }
    }
}
