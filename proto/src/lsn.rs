//! A position in the write-ahead log.

use std::fmt;
use std::str::FromStr;

/// A position in the source's write-ahead log: a byte offset, printed as PostgreSQL prints `pg_lsn` (`16/B374D848`).
///
/// Variables of this type are named by the position's role (`commit_lsn`, `durable_lsn`), never bare `lsn`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// PostgreSQL's InvalidXLogRecPtr: no position.
    pub const ZERO: Self = Self(0);

    /// How many bytes of log lie between an earlier position and this one; 0 where the other is later.
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<u64> for Lsn {
    fn from(position: u64) -> Self {
        Self(position)
    }
}

impl From<Lsn> for u64 {
    fn from(position: Lsn) -> Self {
        position.0
    }
}

/// The text is not `hex/hex` with at most eight digits on either side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an LSN: expected two hexadecimal numbers like 16/B374D848")]
pub struct ParseLsnError(String);

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digits: &str| {
            let valid = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            valid.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseLsnError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_like_pg_lsn() {
        for (text, position) in [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/FFFFFFFF", u64::MAX)]
        {
            assert_eq!(text.parse(), Ok(Lsn(position)));
            assert_eq!(Lsn(position).to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_two_hexadecimal_halves() {
        for text in ["", "/", "0", "0/", "/0", "g/0", "0/0/0", "123456789/0", "+1/0", " 0/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }
}
