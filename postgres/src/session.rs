//! The settings that every session of Strait has, whatever the server's, the database's and the role's
//! defaults say.
//!
//! They travel in the `options` of the startup message, so that they hold from the first statement on, for
//! COPY and for walsenders alike: a value's text, and so what arrives at the other side, depends on them.

use std::fmt::Write as _;

/// Name and value of each pinned setting. `synchronous_commit` is not among them: whoever writes decides.
///
/// Every supported server knows them: one that it did not know would keep the session from starting. What only newer ones
/// know is set by [`dial`](crate::dial) afterwards.
pub const PINNED_SETTINGS: [(&str, &str); 16] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("TimeZone", "UTC"),
    ("search_path", "pg_catalog"),
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    ("standard_conforming_strings", "on"),
    // Databases exist whose default is on, as a guard against accidents.
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
];

/// The value of the startup parameter `options`: the user's own first, so that the pinned ones win.
///
/// `user_options` is in the syntax of that parameter already: separated by spaces, a backslash escapes.
pub(crate) fn startup_options(user_options: Option<&str>) -> String {
    let mut options = user_options.unwrap_or_default().trim_start().to_owned();
    for (name, value) in PINNED_SETTINGS {
        if !options.is_empty() {
            options.push(' ');
        }
        // Writing to a String cannot fail.
        let _ = write!(options, "-c {name}={}", escape(value));
    }
    options
}

/// Escapes what separates arguments within `options` (PostgreSQL, `pg_split_opts`).
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if character.is_ascii_whitespace() || character == '\\' {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_settings_come_after_the_users_own() {
        let options = startup_options(Some(r"-c work_mem=64MB -c statement_timeout=5s"));
        assert!(options.starts_with("-c work_mem=64MB -c statement_timeout=5s -c client_encoding=UTF8 -c "));
        assert!(options.ends_with("-c default_transaction_deferrable=off"));
        assert!(startup_options(None).starts_with("-c client_encoding=UTF8"));
    }

    #[test]
    fn separators_within_a_value_are_escaped() {
        assert_eq!(escape(r"ISO, MDY"), r"ISO,\ MDY");
        assert_eq!(escape(r"a\b"), r"a\\b");
    }
}
