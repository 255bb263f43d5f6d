//! Texts of SQL, as far as the gate has to read them.

/// The statements of a text, without what is between them.
pub(super) fn split(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < sql.len() {
        let rest = &sql[at..];
        if rest.starts_with(';') {
            statements.push(sql[start..at].trim());
            at += 1;
            start = at;
        } else {
            at += token_length(rest);
        }
    }
    statements.push(sql[start..].trim());
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// What cannot hold the end of a statement: a quoted text, a comment, a character.
fn token_length(rest: &str) -> usize {
    let to = |start: &str, end: &str| {
        rest[start.len()..].find(end).map_or(rest.len(), |place| start.len() + place + end.len())
    };
    if rest.starts_with("--") {
        return to("--", "\n");
    }
    if rest.starts_with("/*") {
        return to("/*", "*/");
    }
    if rest.starts_with('\'') || rest.starts_with('"') {
        // A doubled quote ends one and begins the next.
        return to(&rest[..1], &rest[..1]);
    }
    if let Some(tag) = rest.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(tag, _)| tag)
        && tag.chars().all(|character| character.is_alphanumeric() || character == '_')
        && !tag.starts_with(|character: char| character.is_ascii_digit())
    {
        let quote = format!("${tag}$");
        return to(&quote, &quote);
    }
    rest.chars().next().map_or(1, char::len_utf8)
}

/// A statement from its first word on: what comes before it are comments.
pub(super) fn without_comments(statement: &str) -> &str {
    let mut rest = statement.trim_start();
    while rest.starts_with("--") || rest.starts_with("/*") {
        rest = rest[token_length(rest)..].trim_start();
    }
    rest
}

/// The table that CREATE TABLE creates.
pub(super) fn created_table(statement: &str) -> Option<&str> {
    let rest = statement.strip_prefix("CREATE ")?;
    let kind = rest.find("TABLE ").filter(|place| {
        rest[..*place].split_whitespace().all(|word| matches!(word, "TEMP" | "TEMPORARY" | "UNLOGGED"))
    })?;
    let rest = &rest[kind + "TABLE ".len()..];
    Some(name(rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest)))
}

/// The name, quoted and qualified as it is, that a text begins with.
pub(super) fn name(text: &str) -> &str {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(|character: char| character.is_whitespace() || matches!(character, '(' | ';')) {
            break;
        }
        at += token_length(rest);
    }
    &text[..at]
}

/// The parts of a list of names, without their quotes.
pub(super) fn names(list: &str) -> Vec<String> {
    list.split(", ").map(|name| name.trim_matches('"').replace("\"\"", "\"")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_outside_of_quotes_and_comments() {
        let sql =
            "BEGIN; -- a; b\nSELECT ';', \"a;\", $1; /* ; */ CREATE FUNCTION f() AS $$ x; $$;DO $a$ ; $$ $a$";
        let statements = split(sql);
        let expected = [
            "BEGIN",
            "-- a; b\nSELECT ';', \"a;\", $1",
            "/* ; */ CREATE FUNCTION f() AS $$ x; $$",
            "DO $a$ ; $$ $a$",
        ];
        assert_eq!(statements, expected);
        assert_eq!(without_comments(statements[1]), "SELECT ';', \"a;\", $1");
    }

    #[test]
    fn tables_are_named_as_they_are_created() {
        for (statement, table) in [
            (r#"CREATE TABLE "s"."a b" (x int)"#, Some(r#""s"."a b""#)),
            ("CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.x (c1 int)", Some("pg_temp.x")),
            ("CREATE UNIQUE INDEX i ON TABLE t", None),
        ] {
            assert_eq!(created_table(statement), table, "{statement}");
        }
        assert_eq!(names(r#""a", "b""c", d"#), ["a", "b\"c", "d"]);
    }
}
