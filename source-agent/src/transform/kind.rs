//! The kinds of values that rules work with, and which of PostgreSQL's types are of which.

use std::fmt;

/// A kind of value. What has none of its own (enums, arrays, uuid, ranges, domains, …) is its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Of `null` alone, which fits everywhere.
    Null,
    Bool,
    Int,
    Decimal,
    Double,
    Text,
    Bytes,
    /// `timestamp with time zone`.
    Timestamp,
    /// `timestamp without time zone`.
    DateTime,
    Date,
    Interval,
    Json,
}

impl Kind {
    /// Of a type by its oid; None: a type without a kind of its own.
    pub(crate) fn of_oid(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            16 => Self::Bool,
            17 => Self::Bytes,
            20 | 21 | 23 | 26 => Self::Int,
            19 | 25 | 1042 | 1043 => Self::Text,
            114 | 3802 => Self::Json,
            700 | 701 => Self::Double,
            1082 => Self::Date,
            1114 => Self::DateTime,
            1184 => Self::Timestamp,
            1186 => Self::Interval,
            1700 => Self::Decimal,
            _ => return None,
        })
    }

    /// Of a type by its name, as format_type() prints it or a person writes it; None: a type without a kind of its own.
    pub(crate) fn of_type(type_name: &str) -> Option<Self> {
        if type_name.contains('[') {
            return None;
        }
        let mut plain = String::with_capacity(type_name.len());
        let mut depth = 0;
        for letter in type_name.trim().chars() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                letter if depth == 0 => plain.extend(letter.to_lowercase()),
                _ => {}
            }
        }
        let words: Vec<&str> = plain.split_whitespace().collect();
        Some(match &*words.join(" ") {
            "boolean" | "bool" => Self::Bool,
            "bytea" => Self::Bytes,
            "smallint" | "integer" | "bigint" | "int" | "int2" | "int4" | "int8" | "oid" => Self::Int,
            "text" | "character varying" | "varchar" | "character" | "char" | "bpchar" | "name" => Self::Text,
            "json" | "jsonb" => Self::Json,
            "real" | "double precision" | "float4" | "float8" => Self::Double,
            "date" => Self::Date,
            "timestamp" | "timestamp without time zone" => Self::DateTime,
            "timestamptz" | "timestamp with time zone" => Self::Timestamp,
            "numeric" | "decimal" => Self::Decimal,
            words if words == "interval" || words.starts_with("interval ") => Self::Interval,
            _ => return None,
        })
    }

    /// The type of a column that a rule adds.
    pub(crate) fn added_type(self) -> &'static str {
        match self {
            Self::Null | Self::Text => "text",
            Self::Bool => "boolean",
            Self::Int => "bigint",
            Self::Decimal => "numeric",
            Self::Double => "double precision",
            Self::Bytes => "bytea",
            Self::Timestamp => "timestamp with time zone",
            Self::DateTime => "timestamp without time zone",
            Self::Date => "date",
            Self::Interval => "interval",
            Self::Json => "jsonb",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Decimal | Self::Double)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::DateTime => "datetime",
            Self::Date => "date",
            Self::Interval => "interval",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_names_with_and_without_modifiers() {
        for (name, kind) in [
            ("numeric(10,2)", Some(Kind::Decimal)),
            ("timestamp(3) without time zone", Some(Kind::DateTime)),
            ("timestamp(3) with time zone", Some(Kind::Timestamp)),
            ("TIMESTAMPTZ", Some(Kind::Timestamp)),
            ("character varying(20)", Some(Kind::Text)),
            ("interval day to second(3)", Some(Kind::Interval)),
            ("integer[]", None),
            ("public.mood", None),
            ("time without time zone", None),
            ("uuid", None),
        ] {
            assert_eq!(Kind::of_type(name), kind, "{name}");
        }
    }
}
