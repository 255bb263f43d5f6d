//! Names of schemas and tables in a document.
//!
//! A name is exact: what stands in the file is what the catalog holds, without the case folding of SQL. `"…"`
//! around a part keeps a dot or a space in it, as in SQL; `*` stands for any run of characters.

use serde_saphyr::{Location, Spanned};
use strait_proto::v1::{ObjectPattern, ObjectSelection};

use super::fields::{Entry, EntryFields, Objects};
use super::options;
use super::problem::Problem;

/// The selection that `objects` makes.
pub(super) fn selection(objects: Option<&Objects>, problems: &mut Vec<Problem>) -> ObjectSelection {
    let mut patterns = |list: Option<&Vec<Spanned<Entry>>>| {
        let entries = list.map(Vec::as_slice).unwrap_or_default();
        entries.iter().filter_map(|entry| entry_pattern(entry, problems)).collect()
    };
    ObjectSelection {
        include: patterns(objects.and_then(|objects| objects.include.as_ref())),
        exclude: patterns(objects.and_then(|objects| objects.exclude.as_ref())),
        ..ObjectSelection::default()
    }
}

/// A pattern as a document writes it.
pub(crate) fn pattern_text(pattern: &ObjectPattern) -> String {
    let schema = quoted_if_needed(&pattern.schema);
    if pattern.table.is_empty() { schema } else { format!("{schema}.{}", quoted_if_needed(&pattern.table)) }
}

fn entry_pattern(entry: &Spanned<Entry>, problems: &mut Vec<Problem>) -> Option<ObjectPattern> {
    let (location, pattern) = match &entry.value {
        Entry::Text(text) => (entry.referenced, table_pattern(text)),
        Entry::Fields(fields) => fields_pattern(fields, entry.referenced),
    };
    pattern.map_err(|message| problems.push(Problem::at(location, message))).ok()
}

fn fields_pattern(fields: &EntryFields, entry: Location) -> (Location, Result<ObjectPattern, String>) {
    let with_options = |pattern| ObjectPattern { options: options::table_options(fields), ..pattern };
    match (&fields.schema, &fields.table) {
        (Some(schema), None) => (schema.referenced, schema_pattern(&schema.value).map(with_options)),
        (None, Some(table)) => (table.referenced, table_pattern(&table.value).map(with_options)),
        (Some(_), Some(table)) => (
            table.referenced,
            Err("an entry has either `schema` or `table`; a table is written `table: schema.table`"
                .to_owned()),
        ),
        (None, None) => (entry, Err("an entry needs `schema` or `table`".to_owned())),
    }
}

fn schema_pattern(text: &str) -> Result<ObjectPattern, String> {
    match &parts(text)?[..] {
        [schema] => Ok(ObjectPattern { schema: schema.clone(), ..Default::default() }),
        _ => Err(format!(
            "{text} is not one name: write `table: {text}`, or quote a name that has a dot: '\"a.b\"'"
        )),
    }
}

fn table_pattern(text: &str) -> Result<ObjectPattern, String> {
    match &parts(text)?[..] {
        [schema, table] => Ok(ObjectPattern { schema: schema.clone(), table: table.clone(), options: None }),
        [name] => Err(format!(
            "{text} has no schema: write schema.table (`*.{name}` for any schema), \
             or `schema: {name}` for all of a schema"
        )),
        _ => Err(format!(
            "{text} has more than two parts: write schema.table, and quote a name that has a dot: '\"a.b\".c'"
        )),
    }
}

/// Splits at the dots outside quotes and removes the quotes.
fn parts(text: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(text, quoted)?,
            None => plain_part(text, rest)?,
        };
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(parts),
            None => return Err(format!("{text}: a dot is expected after a closing quote")),
        }
    }
}

fn plain_part<'a>(whole: &str, text: &'a str) -> Result<(String, &'a str), String> {
    let end = text.find('.').unwrap_or(text.len());
    let (part, after) = text.split_at(end);
    if part.is_empty() {
        return Err(format!("{whole:?}: a name is empty"));
    }
    if part.contains('"') {
        return Err(format!(
            "{whole}: a quote inside a name; put the whole name in quotes and double the quote"
        ));
    }
    Ok((part.to_owned(), after))
}

/// `text` begins after the opening quote; a doubled quote stands for one.
fn quoted_part<'a>(whole: &str, text: &'a str) -> Result<(String, &'a str), String> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find('"') else {
            return Err(format!("{whole}: a closing quote is missing"));
        };
        part.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None => break,
        }
    }
    if part.is_empty() {
        return Err(format!("{whole}: a name is empty"));
    }
    if part.contains('*') {
        return Err(format!("{whole}: a name that itself contains * cannot be written here"));
    }
    Ok((part, rest))
}

fn quoted_if_needed(name: &str) -> String {
    let plain = !name.is_empty() && name.trim() == name && !name.contains(['.', '"', ',', ' ']);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
