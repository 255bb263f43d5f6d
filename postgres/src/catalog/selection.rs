//! Which objects a task asked for: include and exclude patterns, exclude wins.

use strait_proto::object_kind::is_wanted;
use strait_proto::v1;

/// Whether a selection takes a table by its own name, whatever it is a partition of.
pub fn covers(selection: &v1::ObjectSelection, schema: &str, table: &str) -> bool {
    Selection::new(selection).table(schema, table)
}

/// The patterns of one task.
pub(super) struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    /// Empty: all of them.
    kinds: Vec<String>,
    keeps_partitions: bool,
}

struct Pattern {
    schema: String,
    /// None: everything in the schema.
    table: Option<String>,
}

impl Selection {
    pub(super) fn new(selection: &v1::ObjectSelection) -> Self {
        let mut include: Vec<_> = selection.include.iter().map(Pattern::new).collect();
        if include.is_empty() {
            include.push(Pattern { schema: "*".to_owned(), table: None });
        }
        let exclude = selection.exclude.iter().map(Pattern::new).collect();
        let keeps_partitions = selection.partitions() == v1::Partitions::Preserve;
        Self { include, exclude, kinds: selection.object_kinds.clone(), keeps_partitions }
    }

    /// Whether partitioned tables keep their structure; otherwise each becomes one table.
    pub(super) fn keeps_partitions(&self) -> bool {
        self.keeps_partitions
    }

    /// Whether everything in the schema was asked for, not only tables by name.
    pub(super) fn whole_schema(&self, schema: &str) -> bool {
        self.include.iter().any(|pattern| pattern.table.is_none() && matches(&pattern.schema, schema))
            && !self.exclude.iter().any(|pattern| pattern.table.is_none() && matches(&pattern.schema, schema))
    }

    pub(super) fn table(&self, schema: &str, name: &str) -> bool {
        // What whole schemas bring is restricted by kind, what was named is not.
        let by_schema = is_wanted(&self.kinds, "table");
        let includes =
            |pattern: &Pattern| pattern.covers(schema, name) && (by_schema || pattern.table.is_some());
        self.include.iter().any(includes) && !self.excludes(schema, name)
    }

    pub(super) fn excludes(&self, schema: &str, name: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.covers(schema, name))
    }

    /// An object that is no table: it comes with its whole schema, unless it is excluded by name.
    pub(super) fn object(&self, schema: &str, name: &str) -> bool {
        self.whole_schema(schema) && !self.excludes(schema, name)
    }

    /// The kinds of objects that were asked for; empty: all.
    pub(super) fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// The includes without a wildcard: each names one object that should exist.
    pub(super) fn exact_includes(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let exact = |pattern: &&Pattern| {
            !pattern.schema.contains('*') && !pattern.table.as_ref().is_some_and(|table| table.contains('*'))
        };
        self.include.iter().filter(exact).map(|pattern| (&*pattern.schema, pattern.table.as_deref()))
    }
}

impl Pattern {
    fn new(pattern: &v1::ObjectPattern) -> Self {
        let table = (!pattern.table.is_empty()).then(|| pattern.table.clone());
        Self { schema: pattern.schema.clone(), table }
    }

    fn covers(&self, schema: &str, name: &str) -> bool {
        matches(&self.schema, schema) && self.table.as_ref().is_none_or(|table| matches(table, name))
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any run of characters. In time proportional to the
/// product of the lengths at worst: after a mismatch only the last `*` is tried again.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut taken) = (0, 0);
    let mut retry = None;
    while taken < text.len() {
        if pattern.get(at) == Some(&b'*') {
            retry = Some((at + 1, taken));
            at += 1;
        } else if pattern.get(at) == Some(&text[taken]) {
            at += 1;
            taken += 1;
        } else if let Some((after_star, start)) = retry {
            retry = Some((after_star, start + 1));
            at = after_star;
            taken = start + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(include: &[(&str, &str)], exclude: &[(&str, &str)]) -> Selection {
        let patterns = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(schema, table)| v1::ObjectPattern {
                    schema: (*schema).into(),
                    table: (*table).into(),
                    options: None,
                })
                .collect()
        };
        Selection::new(&v1::ObjectSelection {
            include: patterns(include),
            exclude: patterns(exclude),
            ..Default::default()
        })
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders", "Orders", false),
            ("*", "", true),
            ("*", "any.thing", true),
            ("tmp_*", "tmp_", true),
            ("tmp_*", "tmp", false),
            ("*_log", "audit_log", true),
            ("*_log", "audit_log_2", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("größe*", "größe_1", true),
            ("a%b_c", "aXbYc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        assert!(!matches(&"*a".repeat(30), &"a".repeat(29)));
        assert!(!matches(&format!("{}b", "*a".repeat(30)), &"a".repeat(5000)));
    }

    #[test]
    fn no_include_means_everything() {
        let all = selection(&[], &[]);
        assert!(all.whole_schema("public") && all.table("sales", "orders") && all.object("sales", "mood"));
    }

    #[test]
    fn exclude_wins() {
        let chosen =
            selection(&[("public", ""), ("sales", "orders")], &[("public", "tmp_*"), ("*", "audit_log")]);
        for (schema, table, expected) in [
            ("public", "customers", true),
            ("public", "tmp_1", false),
            ("public", "audit_log", false),
            ("sales", "orders", true),
            ("sales", "customers", false),
        ] {
            assert_eq!(chosen.table(schema, table), expected, "{schema}.{table}");
        }
        assert!(chosen.whole_schema("public") && !chosen.whole_schema("sales"));
        assert!(!selection(&[], &[("old_*", "")]).whole_schema("old_2019"));
    }

    #[test]
    fn tables_by_name_do_not_bring_the_other_objects_of_their_schema() {
        let chosen = selection(&[("sales", "*")], &[]);
        assert!(chosen.table("sales", "orders") && !chosen.object("sales", "mood"));
    }

    #[test]
    fn exact_includes_leave_out_wildcards() {
        let chosen = selection(&[("sales", "orders"), ("public", ""), ("s*", "x"), ("s", "x*")], &[]);
        let exact: Vec<_> = chosen.exact_includes().collect();
        assert_eq!(exact, [("sales", Some("orders")), ("public", None)]);
    }
}
