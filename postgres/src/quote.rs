//! Quoting of identifiers and literals for SQL that has to be built as text.
//!
//! Identifiers are always quoted: it is correct for every name, keywords of every version included. Values
//! belong into parameters wherever the statement takes them; [`literal`] is for utility statements, which
//! take none.

/// A name as an SQL identifier: `"Order"`, with embedded quotes doubled.
pub fn identifier(name: &str) -> String {
    enclose(name, '"')
}

/// A text as an SQL literal that is correct whatever `standard_conforming_strings` says: `'it''s'`, or `E'…'`
/// where it holds a backslash.
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E{}", enclose(&text.replace('\\', "\\\\"), '\''))
    } else {
        enclose(text, '\'')
    }
}

/// A name within a schema as an SQL identifier: `"public"."Order"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

fn enclose(text: &str, quote: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for character in text.chars() {
        if character == quote {
            quoted.push(quote);
        }
        quoted.push(character);
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_always_quoted() {
        for (name, quoted) in
            [("orders", r#""orders""#), ("select", r#""select""#), ("A \"b\"", r#""A ""b""""#), ("", r#""""#)]
        {
            assert_eq!(identifier(name), quoted);
        }
        assert_eq!(qualified("s.x", "t"), r#""s.x"."t""#);
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        for (text, quoted) in
            [("plain", "'plain'"), ("it's", "'it''s'"), (r"a\b", r"E'a\\b'"), (r"\'", r"E'\\'''"), ("", "''")]
        {
            assert_eq!(literal(text), quoted);
        }
    }
}
