//! Types that a column gets at the destination instead of its own: which of them hold every value.

/// Whether every value of one type, as text, is one of the other with the same meaning; by the names of format_type().
pub(super) fn is_lossless(from: &str, to: &str) -> bool {
    let (from, from_size) = split(from);
    let (to, to_size) = split(to);
    if from == to && (to_size.is_empty() || from_size == to_size) {
        return true;
    }
    match (integer_bytes(from), integer_bytes(to)) {
        (Some(from), Some(to)) => return from <= to,
        (Some(_), None) if to == "numeric" && to_size.is_empty() => return true,
        _ => {}
    }
    // Anything is its text.
    if matches!(to, "text" | "character varying") && to_size.is_empty() {
        return true;
    }
    match (from, to) {
        ("character varying", "character varying") => length(from_size) <= length(to_size),
        ("real", "double precision") | ("json", "jsonb") | ("date", "timestamp without time zone") => {
            from != "json"
        }
        _ => false,
    }
}

/// The name as format_type() prints it, as far as a person may have written it otherwise, and the modifier.
fn split(type_name: &str) -> (&str, &str) {
    let type_name = type_name.trim();
    let (name, size) = match type_name.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.split(')').next().unwrap_or_default().trim()),
        None => (type_name, ""),
    };
    let name = match name {
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "int2" => "smallint",
        "varchar" => "character varying",
        "decimal" => "numeric",
        "float8" => "double precision",
        "float4" => "real",
        "timestamp" => "timestamp without time zone",
        name => name,
    };
    (name, size)
}

fn integer_bytes(type_name: &str) -> Option<u8> {
    Some(match type_name {
        "smallint" => 2,
        "integer" => 4,
        "bigint" => 8,
        _ => return None,
    })
}

/// 0: no limit was read.
fn length(size: &str) -> u32 {
    size.parse().unwrap_or(u32::MAX)
}

/// What an identity column can be.
pub(super) fn is_integer(type_name: &str) -> bool {
    integer_bytes(split(type_name).0).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_types_hold_every_value() {
        for (from, to, lossless) in [
            ("integer", "bigint", true),
            ("bigint", "integer", false),
            ("int4", "int8", true),
            ("integer", "numeric", true),
            ("integer", "numeric(5,2)", false),
            ("numeric(10,2)", "numeric", true),
            ("numeric", "numeric(10,2)", false),
            ("character varying(20)", "character varying(40)", true),
            ("character varying(40)", "varchar(20)", false),
            ("character varying", "character varying(20)", false),
            ("character varying(20)", "text", true),
            ("uuid", "text", true),
            ("real", "double precision", true),
            ("json", "jsonb", false),
            ("text", "integer", false),
            ("date", "timestamp", true),
        ] {
            assert_eq!(is_lossless(from, to), lossless, "{from} to {to}");
        }
    }
}
