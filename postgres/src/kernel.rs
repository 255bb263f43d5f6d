//! The version of a member of the Greenplum family, which has one beside that of the PostgreSQL that it is based on.

use std::fmt;

/// `7.0.6.6`: what is missing counts as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion([u32; 4]);

impl KernelVersion {
    /// The oldest AnalyticDB for PostgreSQL whose storage engine Beam can be chosen (product documentation).
    pub const BEAM: Self = Self([7, 0, 6, 6]);
    /// The oldest AnalyticDB for PostgreSQL that can be a source (product documentation).
    pub const SOURCE: Self = Self([7, 2, 1, 4]);

    /// Reads `gp_server_version` (`7.1.0 build commit:…`), or else what `version()` has in parentheses (`PostgreSQL 12.12
    /// (Greenplum Database 7.0.6.6 build …) on …`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.split_once('(').map_or(text, |(_, inner)| inner);
        let word = text.split_whitespace().find(|word| word.starts_with(|it: char| it.is_ascii_digit()))?;
        let mut numbers = [0; 4];
        for (number, part) in numbers.iter_mut().zip(word.split('.')) {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            *number = digits.parse().ok()?;
        }
        Some(Self(numbers))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([first, second, third, fourth]) = self;
        write!(f, "{first}.{second}.{third}.{fourth}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_either_place_and_compare_by_number() {
        for (text, version) in [
            ("7.1.0 build commit:abc", Some("7.1.0.0")),
            ("PostgreSQL 12.12 (Greenplum Database 7.0.6.6 build dev) on x86_64", Some("7.0.6.6")),
            ("PostgreSQL 14.4 (Apache Cloudberry 2.0.0-incubating build 1) on x", Some("2.0.0.0")),
            ("PostgreSQL 15.4 on x (Debian)", None),
            ("", None),
        ] {
            assert_eq!(KernelVersion::parse(text).map(|it| it.to_string()).as_deref(), version, "{text}");
        }
        assert!(KernelVersion([7, 0, 10, 0]) > KernelVersion::BEAM);
    }
}
