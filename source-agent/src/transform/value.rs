//! Values of rows, out of PostgreSQL's text and back into it, exactly.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::calendar;
use super::decimal::{self, Decimal};
use super::interval::Interval;
use super::json;
use super::kind::Kind;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Microseconds since 2000-01-01 00:00 UTC.
    Timestamp(i64),
    /// The same without a zone.
    DateTime(i64),
    /// Days since 2000-01-01.
    Date(i64),
    Interval(Interval),
    /// As it was written.
    Json(String),
}

impl Value {
    /// Reads the text of a value of a kind; None where it is none.
    pub(super) fn read(text: &str, kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Null => return None,
            Kind::Text => Self::Text(text.to_owned()),
            Kind::Bool => match text.trim() {
                "t" | "true" => Self::Bool(true),
                "f" | "false" => Self::Bool(false),
                _ => return None,
            },
            Kind::Int => Self::Int(text.trim().parse().ok()?),
            Kind::Decimal => Self::Decimal(Decimal::parse(text)?),
            Kind::Double => Self::Double(read_double(text.trim())?),
            Kind::Bytes => Self::Bytes(read_bytes(text)?),
            Kind::Timestamp => Self::Timestamp(calendar::parse_timestamp(text, true)?),
            Kind::DateTime => Self::DateTime(calendar::parse_timestamp(text, false)?),
            Kind::Date => Self::Date(calendar::parse_date(text)?),
            Kind::Interval => Self::Interval(Interval::parse(text)?),
            Kind::Json => json::is_valid(text).then(|| Self::Json(text.to_owned()))?,
        })
    }

    /// The text that PostgreSQL reads; None: NULL.
    pub(super) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Decimal(value) => value.text(),
            Self::Double(value) => double_text(*value),
            Self::Text(value) | Self::Json(value) => value.clone(),
            Self::Bytes(value) => format!("\\x{}", hex(value)),
            Self::Timestamp(value) => calendar::timestamp_text(*value, true),
            Self::DateTime(value) => calendar::timestamp_text(*value, false),
            Self::Date(value) => calendar::date_text(*value),
            Self::Interval(value) => value.text(),
        })
    }

    /// How two values of one kind compare; None: one is NULL, or they do not.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Decimal(left), Self::Decimal(right)) => decimal::compare(left, right),
            (Self::Double(left), Self::Double(right)) => compare_doubles(*left, *right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Bytes(left), Self::Bytes(right)) => left.cmp(right),
            (Self::Timestamp(left), Self::Timestamp(right))
            | (Self::DateTime(left), Self::DateTime(right))
            | (Self::Date(left), Self::Date(right)) => left.cmp(right),
            (Self::Interval(left), Self::Interval(right)) => left.compare(*right),
            (Self::Json(left), Self::Json(right)) => left.cmp(right),
            _ => return None,
        })
    }

    pub(super) fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

/// As PostgreSQL orders them: NaN equals itself and is the largest.
fn compare_doubles(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

fn read_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        text if text.bytes().any(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// The shortest that is read back as the same number, in PostgreSQL's notation.
fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value != 0.0 && !(-4..15).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
    } else {
        format!("{value}")
    }
}

/// Of `bytea_output = hex`.
fn read_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let nibble = |digit: u8| (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(text: &str, kind: Kind) -> Option<String> {
        Value::read(text, kind)?.text()
    }

    #[test]
    fn texts_of_postgresql_come_back_as_they_were() {
        for (kind, texts) in [
            (Kind::Bool, &["t", "f"][..]),
            (Kind::Int, &["0", "-9223372036854775808", "9223372036854775807"]),
            (
                Kind::Decimal,
                &[
                    "0",
                    "-0.10",
                    "1234567890123456789012345678901234567890.1234567890123456789012345678901234567890",
                    "NaN",
                    "Infinity",
                    "-Infinity",
                    "0.000000000000000000000000000000000000000000000000000001",
                ],
            ),
            (
                Kind::Double,
                &[
                    "0",
                    "-0",
                    "0.1",
                    "1e-05",
                    "0.0001",
                    "100000000000000",
                    "1e+15",
                    "1.7976931348623157e+308",
                    "5e-324",
                    "NaN",
                    "Infinity",
                    "-Infinity",
                ],
            ),
            (Kind::Text, &["", "ä \\ \t\n", "null"]),
            (Kind::Bytes, &["\\x", "\\x00ff7f"]),
            (Kind::Json, &["{\"a\" : 1.10, \"a\": 12345678901234567890123}", "[ ]", "null"]),
        ] {
            for text in texts {
                assert_eq!(there_and_back(text, kind).as_deref(), Some(*text), "{kind}");
            }
        }
        for (kind, text) in [
            (Kind::Int, "1.5"),
            (Kind::Bytes, "abc"),
            (Kind::Bytes, "\\x0"),
            (Kind::Json, "{"),
            (Kind::Bool, ""),
        ] {
            assert_eq!(Value::read(text, kind), None, "{kind} {text}");
        }
    }

    proptest! {
        #[test]
        fn decimals_come_back_with_every_digit(text in "-?[1-9][0-9]{0,60}(\\.[0-9]{1,60})?") {
            prop_assert_eq!(there_and_back(&text, Kind::Decimal), Some(text));
        }

        #[test]
        fn doubles_come_back_as_the_same_number(bits: u64) {
            let value = f64::from_bits(bits);
            let text = double_text(value);
            let back = read_double(&text).unwrap();
            prop_assert!(back.to_bits() == value.to_bits() || value.is_nan());
            prop_assert_eq!(double_text(back), text);
        }

        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let text = Value::Bytes(bytes.clone()).text().unwrap();
            prop_assert_eq!(Value::read(&text, Kind::Bytes), Some(Value::Bytes(bytes)));
        }
    }
}
