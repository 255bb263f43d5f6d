//! What an include says about its tables: checked by itself, as far as that goes without looking at the source.

use std::collections::{BTreeMap, HashMap, HashSet};

use strait_proto::v1::{ObjectPattern, Rename, TableOptions, TransformRule};

use super::choice::OPERATIONS;
use super::{NAME_BYTES_MAX, Problems};

/// The longest condition, expression or type, in bytes.
const EXPRESSION_BYTES_MAX: usize = 64 * 1024;
/// How many columns PostgreSQL's tables have at most.
const COLUMNS_MAX: usize = 1600;
/// How many rules a table may have.
const RULES_MAX: usize = 1000;
const STORAGES: [&str; 4] = ["heap", "ao_row", "ao_column", "beam"];

/// How much an entry covers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Table,
    Pattern,
    Schema,
}

/// Includes with their options normalised: lists of choices in order, and none at all where nothing is said.
pub(super) fn normalise(
    field: &str,
    include: Vec<ObjectPattern>,
    problems: &mut Problems,
) -> Vec<ObjectPattern> {
    refuse_contradictions(field, &include, problems);
    let entries = include.into_iter().enumerate();
    entries.map(|(index, pattern)| entry(&format!("{field}[{index}]"), pattern, problems)).collect()
}

/// An exclude names what is left out and says nothing else.
pub(super) fn refuse_in_excludes(field: &str, exclude: &[ObjectPattern], problems: &mut Problems) {
    let says_something = |options: &TableOptions| *options != TableOptions::default();
    for (index, pattern) in exclude.iter().enumerate() {
        if pattern.options.as_ref().is_some_and(says_something) {
            problems.add(
                format!("{field}[{index}]"),
                "has options, and what is left out has no use for them: write them at an include",
            );
        }
    }
}

/// What an entry says, as the task file has it; empty where it says nothing.
pub(super) fn text(options: &TableOptions) -> String {
    let mut fields = Vec::new();
    let mut say = |name: &str, value: String| fields.push(format!("{name}: {value}"));
    let names = |names: &[String]| format!("[{}]", names.join(", "));
    if let Some(rename) = &options.rename {
        let mut parts = Vec::new();
        parts.extend((!rename.schema.is_empty()).then(|| format!("schema: {}", rename.schema)));
        parts.extend((!rename.table.is_empty()).then(|| format!("table: {}", rename.table)));
        parts.extend((!rename.columns.is_empty()).then(|| format!("columns: {}", map(&rename.columns))));
        say("rename", format!("{{{}}}", parts.join(", ")));
    }
    for (name, list) in [
        ("columns", &options.columns),
        ("primary_key", &options.primary_key),
        ("distribution_key", &options.distribution_key),
    ] {
        if !list.is_empty() {
            say(name, names(list));
        }
    }
    if !options.r#where.is_empty() {
        say("where", format!("{:?}", options.r#where));
    }
    if !options.operations.is_empty() {
        say("operations", OPERATIONS.words(&options.operations));
    }
    if !options.storage.is_empty() {
        say("storage", options.storage.clone());
    }
    if !options.transform.is_empty() {
        let rules: Vec<_> = options.transform.iter().map(rule_text).collect();
        say("transform", format!("[{}]", rules.join(", ")));
    }
    if !options.column_types.is_empty() {
        say("column_types", map(&options.column_types));
    }
    if options.merge {
        say("merge", "true".to_owned());
    }
    if fields.is_empty() { String::new() } else { format!(" {{{}}}", fields.join(", ")) }
}

fn rule_text(rule: &TransformRule) -> String {
    let mut parts = Vec::new();
    parts.extend((!rule.when.is_empty()).then(|| format!("when: {:?}", rule.when)));
    parts.extend((!rule.set.is_empty()).then(|| format!("set: {}", map(&rule.set))));
    parts.extend(rule.drop.then(|| "drop: true".to_owned()));
    format!("{{{}}}", parts.join(", "))
}

fn map(map: &BTreeMap<String, String>) -> String {
    let entries: Vec<_> = map.iter().map(|(key, value)| format!("{key}: {value:?}")).collect();
    format!("{{{}}}", entries.join(", "))
}

/// Two entries for the same tables that say different things: which one was meant cannot be told.
fn refuse_contradictions(field: &str, include: &[ObjectPattern], problems: &mut Problems) {
    let mut seen: HashMap<(&str, &str), (usize, &TableOptions)> = HashMap::new();
    for (index, pattern) in include.iter().enumerate() {
        let Some(options) = &pattern.options else { continue };
        let (first, said) = *seen.entry((&pattern.schema, &pattern.table)).or_insert((index, options));
        if said != options {
            problems.add(
                format!("{field}[{index}]"),
                format!("names the same as {field}[{first}] and says something else about it"),
            );
        }
    }
}

fn entry(field: &str, mut pattern: ObjectPattern, problems: &mut Problems) -> ObjectPattern {
    let Some(mut options) = pattern.options.take() else { return pattern };
    let has_star = pattern.schema.contains('*') || pattern.table.contains('*');
    let scope = match (pattern.table.is_empty(), has_star) {
        (true, _) => Scope::Schema,
        (false, true) => Scope::Pattern,
        (false, false) => Scope::Table,
    };
    let mut check = Check { entry: field, problems };
    check.scope(&pattern, scope, &options);
    check.names(&options);
    check.expressions(&options);
    if !options.storage.is_empty() && !STORAGES.contains(&&*options.storage) {
        let known = STORAGES.join(", ");
        check.add("storage", format!("is {:?}; this version knows {known}", options.storage));
    }
    options.operations = OPERATIONS.some(&format!("{field}.operations"), &options.operations, check.problems);
    options.rename = options.rename.filter(|rename| *rename != Rename::default());
    pattern.options = (options != TableOptions::default()).then_some(options);
    pattern
}

struct Check<'a> {
    entry: &'a str,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.problems.add(format!("{}.{field}", self.entry), message);
    }

    /// What is said of one table has no meaning for all tables of a schema.
    fn scope(&mut self, pattern: &ObjectPattern, scope: Scope, options: &TableOptions) {
        let rename = options.rename.clone().unwrap_or_default();
        if scope == Scope::Schema {
            let example = format!("write an entry `table: {}.*` for it", pattern.schema);
            for (field, is_said) in [
                ("rename.columns", !rename.columns.is_empty()),
                ("columns", !options.columns.is_empty()),
                ("where", !options.r#where.is_empty()),
                ("primary_key", !options.primary_key.is_empty()),
                ("distribution_key", !options.distribution_key.is_empty()),
                ("transform", !options.transform.is_empty()),
                ("column_types", !options.column_types.is_empty()),
            ] {
                if is_said {
                    self.add(field, format!("names columns, and a whole schema has none: {example}"));
                }
            }
            if !rename.table.is_empty() {
                self.add("rename.table", "is the name of one table, and a whole schema has many");
            }
        }
        if scope == Scope::Pattern && !rename.table.is_empty() && !options.merge {
            self.add(
                "rename.table",
                "would give every table of the pattern the same name: name one table, or say `merge: true`",
            );
        }
        if pattern.schema.contains('*') && !rename.schema.is_empty() && !options.merge {
            self.add(
                "rename.schema",
                "would put the tables of several schemas into one: name one schema, or say `merge: true`",
            );
        }
    }

    fn names(&mut self, options: &TableOptions) {
        let rename = options.rename.clone().unwrap_or_default();
        for (field, name) in [("rename.schema", &rename.schema), ("rename.table", &rename.table)] {
            self.name(field, name);
        }
        for (source, destination) in &rename.columns {
            for name in [source, destination] {
                self.required_name("rename.columns", name);
            }
        }
        self.distinct("rename.columns", rename.columns.values());
        for (field, list) in [
            ("columns", &options.columns),
            ("primary_key", &options.primary_key),
            ("distribution_key", &options.distribution_key),
        ] {
            if list.len() > COLUMNS_MAX {
                self.add(
                    field,
                    format!("has {} names; a table has at most {COLUMNS_MAX} columns", list.len()),
                );
            }
            for name in list {
                self.required_name(field, name);
            }
            self.distinct(field, list.iter());
        }
        for name in options.column_types.keys() {
            self.required_name("column_types", name);
        }
    }

    fn expressions(&mut self, options: &TableOptions) {
        if !options.r#where.is_empty() {
            self.expression("where", &options.r#where);
        }
        for type_name in options.column_types.values() {
            self.expression("column_types", type_name);
        }
        if options.transform.len() > RULES_MAX {
            self.add("transform", format!("has {} rules; at most {RULES_MAX}", options.transform.len()));
        }
        for (index, rule) in options.transform.iter().enumerate() {
            let field = format!("transform[{index}]");
            match (rule.set.is_empty(), rule.drop) {
                (true, false) => self.add(&field, "does nothing: say what it sets, or `drop: true`"),
                (false, true) => self.add(&field, "sets columns of a row that it drops"),
                _ => {}
            }
            if !rule.when.is_empty() {
                self.expression(&format!("{field}.when"), &rule.when);
            }
            for (column, expression) in &rule.set {
                self.required_name(&format!("{field}.set"), column);
                self.expression(&format!("{field}.set.{column}"), expression);
            }
        }
    }

    fn name(&mut self, field: &str, name: &str) {
        self.problems.text(&format!("{}.{field}", self.entry), name, NAME_BYTES_MAX);
    }

    fn required_name(&mut self, field: &str, name: &str) {
        if name.is_empty() {
            self.add(field, "holds an empty name");
        }
        self.name(field, name);
    }

    fn distinct<'n>(&mut self, field: &str, names: impl Iterator<Item = &'n String>) {
        let mut seen = HashSet::new();
        for name in names.filter(|name| !seen.insert(*name)) {
            self.add(field, format!("names {name:?} twice"));
        }
    }

    fn expression(&mut self, field: &str, text: &str) {
        if text.trim().is_empty() {
            self.add(field, "is empty");
        }
        if text.len() > EXPRESSION_BYTES_MAX {
            self.add(field, format!("is longer than {EXPRESSION_BYTES_MAX} bytes"));
        }
        if text.contains('\0') {
            self.add(field, "contains a zero byte");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn including(schema: &str, table: &str, options: TableOptions) -> Vec<ObjectPattern> {
        vec![ObjectPattern { schema: schema.into(), table: table.into(), options: Some(options) }]
    }

    fn problems(include: Vec<ObjectPattern>) -> Vec<String> {
        let mut problems = Problems::default();
        normalise("i", include, &mut problems);
        problems.0.iter().map(ToString::to_string).collect()
    }

    fn renaming(schema: &str, table: &str) -> TableOptions {
        let rename = Rename { schema: schema.into(), table: table.into(), ..Default::default() };
        TableOptions { rename: Some(rename), ..Default::default() }
    }

    #[test]
    fn what_concerns_one_table_is_refused_of_a_schema_and_of_a_pattern() {
        let merging = |options| TableOptions { merge: true, ..options };
        let keyed = || TableOptions { primary_key: vec!["id".into()], ..Default::default() };
        for (schema, table, options, expected) in [
            ("a", "b", renaming("c", "d"), None),
            ("a", "", renaming("c", ""), None),
            ("a", "", renaming("", "d"), Some("i[0].rename.table: is the name of one table")),
            ("a", "b*", renaming("", "d"), Some("i[0].rename.table: would give every table")),
            ("a", "b*", merging(renaming("", "d")), None),
            ("a*", "", renaming("c", ""), Some("i[0].rename.schema: would put the tables of several")),
            ("a", "", keyed(), Some("i[0].primary_key: names columns, and a whole schema has none")),
            ("a", "*", keyed(), None),
        ] {
            let found = problems(including(schema, table, options));
            match expected {
                None => assert_eq!(found, [""; 0], "{schema}.{table}"),
                Some(words) => {
                    assert!(found.len() == 1 && found[0].starts_with(words), "{schema}.{table}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn names_lists_and_expressions_are_checked() {
        let options = TableOptions {
            columns: vec!["a".into(), "a".into(), String::new()],
            distribution_key: vec!["x".repeat(64)],
            storage: "row".into(),
            r#where: "  ".into(),
            transform: vec![TransformRule::default()],
            operations: vec![77],
            ..Default::default()
        };
        assert_eq!(
            problems(including("s", "t", options)),
            [
                "i[0].columns: holds an empty name",
                "i[0].columns: names \"a\" twice",
                "i[0].distribution_key: is 64 bytes long; at most 63 are possible",
                "i[0].where: is empty",
                "i[0].transform[0]: does nothing: say what it sets, or `drop: true`",
                "i[0].storage: is \"row\"; this version knows heap, ao_row, ao_column, beam",
                "i[0].operations: is not a choice that this version knows: insert, update, delete, truncate",
            ]
        );
    }

    #[test]
    fn options_that_say_nothing_are_none_and_two_entries_may_not_contradict_each_other() {
        let empty = TableOptions { rename: Some(Rename::default()), ..Default::default() };
        let normalised = normalise("i", including("s", "t", empty), &mut Problems::default());
        assert_eq!(normalised[0].options, None);
        let mut twice = including("s", "t", renaming("a", ""));
        twice.extend(including("s", "t", renaming("b", "")));
        assert_eq!(problems(twice), ["i[1]: names the same as i[0] and says something else about it"]);
    }

    #[test]
    fn what_an_entry_says_is_told_as_the_file_has_it() {
        assert_eq!(text(&TableOptions::default()), "");
        let options = TableOptions {
            columns: vec!["id".into(), "b".into()],
            r#where: "b > 'x'".into(),
            operations: vec![2, 1],
            ..renaming("dw", "")
        };
        assert_eq!(
            text(&options),
            r#" {rename: {schema: dw}, columns: [id, b], where: "b > 'x'", operations: [insert, update]}"#
        );
    }
}
