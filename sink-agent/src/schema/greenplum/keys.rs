//! The column lists of keys, as PostgreSQL's deparse functions print them.

use strait_postgres::quote::identifier;

/// A primary key or a unique constraint as `pg_get_constraintdef()` prints it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyList {
    /// `PRIMARY KEY`, `UNIQUE` or `UNIQUE NULLS NOT DISTINCT`.
    words: String,
    pub(super) columns: Vec<String>,
    /// What follows the list: INCLUDE, DEFERRABLE.
    rest: String,
}

impl KeyList {
    /// None where it is not such a definition.
    pub(super) fn parse(definition: &str) -> Option<Self> {
        let (words, list) = definition.split_once(" (")?;
        let (columns, rest) = column_list(list)?;
        Some(Self { words: words.to_owned(), columns, rest: rest.to_owned() })
    }

    /// Adds the columns that are missing; whether any was.
    pub(super) fn extend(&mut self, columns: &[String]) -> bool {
        let before = self.columns.len();
        for column in columns {
            if !self.columns.contains(column) {
                self.columns.push(column.clone());
            }
        }
        self.columns.len() > before
    }

    pub(super) fn definition(&self) -> String {
        format!("{} {}{}", self.words, self.column_list(), self.rest)
    }

    /// The columns in parentheses.
    pub(super) fn column_list(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| identifier(column)).collect();
        format!("({})", columns.join(", "))
    }

    pub(super) fn as_primary_key(&self) -> String {
        let primary =
            Self { words: "PRIMARY KEY".to_owned(), columns: self.columns.clone(), rest: self.rest.clone() };
        primary.definition()
    }
}

/// The columns of a plain unique index of all rows; None where it has expressions or a condition.
pub(super) fn index_columns(definition_tail: &str) -> Option<Vec<String>> {
    let (_, list) = definition_tail.split_once(" (")?;
    let (columns, rest) = column_list(list)?;
    (!rest.contains(" WHERE ")).then_some(columns)
}

/// Reads names up to the closing parenthesis, and returns what follows it.
fn column_list(text: &str) -> Option<(Vec<String>, &str)> {
    let mut columns = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = name(rest)?;
        columns.push(name);
        if let Some(end) = after.strip_prefix(')') {
            return Some((columns, end));
        }
        rest = after.strip_prefix(", ")?;
    }
}

/// A name as it is quoted where it has to be.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', ')', ' ', '('])?;
        let (name, after) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), after));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_they_are() {
        for (definition, columns) in [
            ("PRIMARY KEY (a)", &["a"][..]),
            (r#"UNIQUE ("A ""b"", (c)", d) INCLUDE (e) DEFERRABLE"#, &[r#"A "b", (c)"#, "d"]),
            ("UNIQUE NULLS NOT DISTINCT (a, b)", &["a", "b"]),
        ] {
            let key = KeyList::parse(definition).unwrap();
            assert_eq!(key.columns, columns, "{definition}");
            assert_eq!(KeyList::parse(&key.definition()), Some(key), "{definition}");
        }
        assert_eq!(KeyList::parse("CHECK ((a > 0))"), None);
    }

    #[test]
    fn an_index_counts_where_it_is_plain_and_of_all_rows() {
        assert_eq!(index_columns("USING btree (a, b)"), Some(vec!["a".into(), "b".into()]));
        for tail in ["USING btree (lower(a))", "USING btree (a DESC)", "USING btree (a) WHERE (a > 0)"] {
            assert_eq!(index_columns(tail), None, "{tail}");
        }
    }
}
