//! Rules on rows.

use super::super::text::RuleText;
use super::*;

fn input(name: &str, kind: Option<Kind>, key: bool) -> Input {
    Input { name: name.to_owned(), kind, carried: true, key }
}

fn inputs() -> Vec<Input> {
    vec![
        input("id", Some(Kind::Int), true),
        input("country", Some(Kind::Text), false),
        input("email", Some(Kind::Text), false),
        input("total", Some(Kind::Decimal), false),
        input("mood", None, false),
    ]
}

fn rule(when: &str, set: &[(&str, &str)]) -> RuleText {
    let set = set.iter().map(|(column, text)| ((*column).to_owned(), (*text).to_owned()));
    RuleText { when: when.to_owned(), set: set.collect(), drop: false }
}

fn drop(when: &str) -> RuleText {
    RuleText { when: when.to_owned(), drop: true, ..RuleText::default() }
}

fn text(rules: Vec<RuleText>) -> TransformText {
    TransformText { table: "s.t".to_owned(), rules, ..TransformText::default() }
}

fn program(rules: Vec<RuleText>) -> Program {
    Program::compile(&text(rules), &inputs()).unwrap()
}

fn troubles(rules: Vec<RuleText>) -> Vec<String> {
    let troubles = Program::compile(&text(rules), &inputs()).unwrap_err();
    troubles.iter().map(ToString::to_string).collect()
}

/// Words, `-` for NULL and `~` for unchanged.
fn row(words: &str) -> Vec<TupleValue> {
    let value = |word| match word {
        "-" => TupleValue::Null,
        "~" => TupleValue::Unchanged,
        word => TupleValue::Text(Bytes::copy_from_slice(str::as_bytes(word))),
    };
    words.split(' ').map(value).collect()
}

const INSERTED: Subject<'static> = Subject::New { op: "insert", commit_time: Some(0), old: None };

fn applied(program: &Program, words: &str, subject: Subject<'_>) -> Option<Vec<TupleValue>> {
    let mut values = row(words);
    program.apply(&mut values, subject).unwrap().then_some(values)
}

#[test]
fn each_rule_sees_what_those_before_it_left() {
    let program = program(vec![
        rule("row.country == 'DE'", &[("email", "mask(row.email, 1)"), ("country", "'EU'")]),
        drop("row.total < 0"),
        rule("row.country == 'EU'", &[("total", "row.total * 2"), ("note", "row.email + row.country")]),
    ]);
    assert_eq!(applied(&program, "1 DE abc 1.50 ok", INSERTED), Some(row("1 EU a** 3.00 ok a**EU")));
    assert_eq!(applied(&program, "1 FR abc 1.50 ok", INSERTED), Some(row("1 FR abc 1.50 ok -")));
    assert_eq!(applied(&program, "1 FR abc -1 ok", INSERTED), None);
    assert_eq!(program.added, [Added { name: "note".into(), type_name: "text".into() }]);
}

#[test]
fn what_one_rule_sets_is_computed_from_the_same_row() {
    let program = program(vec![rule("", &[("country", "row.email"), ("email", "row.country")])]);
    assert_eq!(applied(&program, "1 a b - -", INSERTED), Some(row("1 b a - -")));
}

#[test]
fn a_column_that_is_not_read_may_have_come_unchanged() {
    let program = program(vec![rule("", &[("country", "upper(row.country)")])]);
    assert_eq!(applied(&program, "1 de ~ 1 ~", INSERTED), Some(row("1 DE ~ 1 ~")));
    let mut unknown = row("1 ~ a 1 x");
    assert!(program.apply(&mut unknown, INSERTED).is_err());
}

#[test]
fn of_an_old_row_only_what_depends_on_the_row_is_computed() {
    let program = program(vec![
        rule("", &[("id", "row.id + 1000"), ("total", "row.total + 1"), ("seen", "commit_time")]),
        drop("row.id > 1500"),
    ]);
    assert_eq!(applied(&program, "1 a b 1 x", Subject::Old), Some(row("1001 a b 2 x -")));
    // The key alone.
    assert_eq!(applied(&program, "1 - - - -", Subject::OldKey), Some(row("1001 - - - - -")));
    assert_eq!(applied(&program, "501 - - - -", Subject::OldKey), None);
    assert_eq!(program.needs.in_key, ["id".to_owned()].into());
    assert!(program.needs.all_values && program.is_contextual && program.uses_commit_time);
}

#[test]
fn what_decides_about_rows_and_keys_needs_the_old_row() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let program = |rules| super::tests::program(rules);
    // Through a column that another rule sets.
    let through = program(vec![
        rule("row.mood == 'x'", &[("country", "row.email")]),
        rule("", &[("total", "1")]),
        drop("row.country == 'a'"),
    ]);
    assert_eq!(through.needs.in_key, names(&["country", "email", "mood"]));
    let harmless = program(vec![rule("row.country == 'DE'", &[("email", "mask(row.email, 2)")])]);
    assert_eq!(harmless.needs, Needs { values: names(&["country", "email"]), ..Needs::default() });
    let keyed = program(vec![rule("", &[("id", "row.id * 2")])]);
    assert_eq!(keyed.needs.in_key, names(&["id"]));
    assert!(!keyed.needs.all_values);
    assert!(program(vec![rule("", &[("total", "coalesce(old.total, 0)")])]).needs.old);
}

#[test]
fn what_is_wrong_is_told_rule_by_rule() {
    assert_eq!(
        troubles(vec![
            rule("row.x", &[("email", "1")]),
            rule("row.id", &[("email", "row.id"), ("total", "'x'")]),
            rule("", &[("total", "row.email"), ("mood", "row.id"), ("new", "null")]),
        ]),
        [
            "rule 1, when, line 1, column 5: the table has no column x",
            "rule 2, when, line 1, column 1: a condition is true or false, and this is a int",
            "rule 3, set.mood, line 1, column 1: the column's type takes its text, and this is a int: say string(…)",
            "rule 3, set.new, line 1, column 1: the type of the new column new is not known: say it in `column_types`",
            "rule 3, set.total, line 1, column 1: the column takes a decimal, and this is a string: say decimal(…)",
        ]
    );
}

#[test]
fn rows_and_keys_may_depend_on_the_row_alone() {
    for rules in [
        vec![drop("op == 'delete'")],
        vec![rule("", &[("country", "op")]), drop("row.country == 'x'")],
        vec![rule("", &[("id", "old.id")])],
        vec![rule("op == 'update'", &[("id", "1")])],
    ] {
        let found = troubles(rules);
        assert!(found.len() == 1 && found[0].contains("may depend on the row alone"), "{found:?}");
    }
}

#[test]
fn a_column_of_another_type_takes_that_and_is_not_read_afterwards() {
    let mut typed =
        text(vec![rule("", &[("email", "bytes(row.email)")]), rule("", &[("country", "row.email")])]);
    typed.types.insert("email".into(), "bytea".into());
    let found = Program::compile(&typed, &inputs()).unwrap_err();
    assert!(found[0].to_string().contains("rule 1 gives email another type"), "{found:?}");
    typed.rules.pop();
    let program = Program::compile(&typed, &inputs()).unwrap();
    assert_eq!(applied(&program, "1 a ab - -", INSERTED), Some(row("1 a \\x6162 - -")));
}

#[test]
fn what_is_left_out_cannot_be_set() {
    let mut inputs = inputs();
    inputs[2].carried = false;
    let set = text(vec![rule("", &[("email", "'x'"), ("country", "row.email")])]);
    let found = Program::compile(&set, &inputs).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().contains("`columns` of the entry leaves email out"), "{found:?}");
}

#[test]
fn numbers_become_text_by_themselves_and_columns_are_taken_as_they_are() {
    let program = program(vec![rule("", &[("email", "row.total"), ("copy", "row.total")])]);
    let expected = row("1 a 1.50 1.50 x 1.50");
    assert_eq!(applied(&program, "1 a b 1.50 x", INSERTED), Some(expected));
    assert_eq!(program.added[0].type_name, "numeric");
}
