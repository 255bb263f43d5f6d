//! What the includes of a selection say about one table.
//!
//! Where includes overlap, each option comes from the most specific one that says something about it: a table by its exact
//! name, before a pattern, before a whole schema. So `{schema: sales, rename: {schema: dw}}` also holds for a table of that
//! schema that has an entry of its own with, say, a condition. Of two patterns the one with more literal characters is the more
//! specific; of two equal ones the later.

use strait_proto::v1::{ObjectPattern, ObjectSelection, Rename, TableOptions};

use super::selection::matches;

/// The options of one table of the source, by its exact name; none are set where no include says anything.
pub fn options_of(selection: &ObjectSelection, schema: &str, table: &str) -> TableOptions {
    let mut covering: Vec<(&ObjectPattern, &TableOptions)> = selection
        .include
        .iter()
        .filter_map(|pattern| Some((pattern, pattern.options.as_ref()?)))
        .filter(|(pattern, _)| covers(pattern, schema, table))
        .collect();
    // Stable: among equals the later one is laid over the earlier one.
    covering.sort_by_key(|(pattern, _)| specificity(pattern));
    covering.into_iter().fold(TableOptions::default(), |under, (_, over)| laid_over(under, over))
}

fn covers(pattern: &ObjectPattern, schema: &str, table: &str) -> bool {
    matches(&pattern.schema, schema) && (pattern.table.is_empty() || matches(&pattern.table, table))
}

/// Greater is more specific.
fn specificity(pattern: &ObjectPattern) -> (u8, usize) {
    let is_pattern = pattern.schema.contains('*') || pattern.table.contains('*');
    let rank = match (pattern.table.is_empty(), is_pattern) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    };
    let literal = |text: &str| text.chars().filter(|letter| *letter != '*').count();
    (rank, literal(&pattern.schema) + literal(&pattern.table))
}

/// What holds where both say something: `over` does, option by option.
pub fn laid_over(under: TableOptions, over: &TableOptions) -> TableOptions {
    let text = |under: String, over: &String| if over.is_empty() { under } else { over.clone() };
    let names = |under: Vec<String>, over: &Vec<String>| if over.is_empty() { under } else { over.clone() };
    TableOptions {
        rename: match (under.rename, &over.rename) {
            (None, over) => over.clone(),
            (under, None) => under,
            (Some(under), Some(over)) => Some(Rename {
                schema: text(under.schema, &over.schema),
                table: text(under.table, &over.table),
                columns: if over.columns.is_empty() { under.columns } else { over.columns.clone() },
            }),
        },
        columns: names(under.columns, &over.columns),
        r#where: text(under.r#where, &over.r#where),
        operations: if over.operations.is_empty() { under.operations } else { over.operations.clone() },
        primary_key: names(under.primary_key, &over.primary_key),
        distribution_key: names(under.distribution_key, &over.distribution_key),
        storage: text(under.storage, &over.storage),
        transform: if over.transform.is_empty() { under.transform } else { over.transform.clone() },
        column_types: if over.column_types.is_empty() {
            under.column_types
        } else {
            over.column_types.clone()
        },
        merge: under.merge || over.merge,
    }
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::Operation;

    use super::*;

    fn entry(schema: &str, table: &str, options: TableOptions) -> ObjectPattern {
        ObjectPattern { schema: schema.into(), table: table.into(), options: Some(options) }
    }

    fn condition(text: &str) -> TableOptions {
        TableOptions { r#where: text.into(), ..Default::default() }
    }

    fn including(include: Vec<ObjectPattern>) -> ObjectSelection {
        ObjectSelection { include, ..Default::default() }
    }

    #[test]
    fn the_more_specific_include_wins_wherever_it_stands() {
        let mut include = vec![
            entry("sales", "orders", condition("table")),
            entry("sales", "ord*", condition("longer pattern")),
            entry("sales", "*", condition("pattern")),
            entry("sales", "", condition("schema")),
            entry("*", "", condition("everything")),
        ];
        for _ in 0..2 {
            let selection = including(include.clone());
            for (schema, table, expected) in [
                ("sales", "orders", "table"),
                ("sales", "ordinals", "longer pattern"),
                ("sales", "customers", "pattern"),
                ("public", "orders", "everything"),
            ] {
                assert_eq!(options_of(&selection, schema, table).r#where, expected, "{schema}.{table}");
            }
            include.reverse();
        }
    }

    #[test]
    fn of_two_equal_ones_the_later_wins() {
        let twice = vec![entry("a", "x*", condition("first")), entry("a", "*x", condition("second"))];
        assert_eq!(options_of(&including(twice), "a", "x").r#where, "second");
    }

    #[test]
    fn what_the_more_specific_one_leaves_open_the_others_say() {
        let schema = TableOptions {
            rename: Some(Rename { schema: "dw".into(), ..Default::default() }),
            operations: vec![Operation::Insert.into()],
            storage: "heap".into(),
            ..Default::default()
        };
        let table = TableOptions {
            rename: Some(Rename { table: "fact".into(), ..Default::default() }),
            storage: "beam".into(),
            ..Default::default()
        };
        let selection = including(vec![
            entry("sales", "", schema),
            entry("sales", "orders", table),
            ObjectPattern { schema: "sales".into(), table: "bare".into(), options: None },
        ]);
        let options = options_of(&selection, "sales", "orders");
        let rename = Rename { schema: "dw".into(), table: "fact".into(), ..Default::default() };
        assert_eq!((options.rename, &*options.storage), (Some(rename), "beam"));
        assert_eq!(options.operations, [i32::from(Operation::Insert)]);
        assert_eq!(options_of(&selection, "sales", "bare").storage, "heap");
    }

    #[test]
    fn a_table_that_nothing_is_said_about_has_no_options() {
        for selection in [including(vec![]), including(vec![entry("a", "b", condition("x"))])] {
            assert_eq!(options_of(&selection, "public", "t"), TableOptions::default());
        }
    }
}
