//! Expressions, from their text to what they give on a row.

use bytes::Bytes;
use proptest::prelude::*;
use strait_postgres::pgoutput::TupleValue;

use super::super::node::Scene;
use super::*;

/// Name, kind and value (None: NULL) of the columns of the row that everything here is evaluated on.
const ROW: [(&str, Kind, Option<&str>); 12] = [
    ("id", Kind::Int, Some("7")),
    ("email", Kind::Text, Some("joe@example.org")),
    ("nothing", Kind::Text, None),
    ("price", Kind::Decimal, Some("1234567890123456789012345678901234567890.10")),
    ("share", Kind::Double, Some("0.5")),
    ("at", Kind::Timestamp, Some("2024-05-15 13:45:59.123456+00")),
    ("local", Kind::DateTime, Some("infinity")),
    ("day", Kind::Date, Some("2024-05-15")),
    ("raw", Kind::Bytes, Some("\\x00ff")),
    ("doc", Kind::Json, Some("{\"a\": 1.10}")),
    ("active", Kind::Bool, Some("t")),
    ("odd name", Kind::Int, None),
];

fn columns() -> Vec<Name> {
    ROW.iter()
        .map(|(name, kind, _)| Name { name: (*name).to_owned(), kind: *kind, unreadable: None })
        .collect()
}

fn compiled(text: &str) -> Result<Expression, Trouble> {
    let columns = columns();
    compile(text, &Names { table: "public.people", columns: &columns, old_columns: columns.len() })
}

fn evaluated(text: &str) -> Result<Option<String>, String> {
    let expression = compiled(text).map_err(|trouble| trouble.to_string())?;
    let value = |(_, _, value): &(&str, Kind, Option<&'static str>)| {
        value.map_or(TupleValue::Null, |text| TupleValue::Text(Bytes::from_static(text.as_bytes())))
    };
    let row: Vec<TupleValue> = ROW.iter().map(value).collect();
    let kinds: Vec<Kind> = ROW.iter().map(|(_, kind, _)| *kind).collect();
    let scene = Scene { row: &row, kinds: &kinds, old: None, op: Some("update"), commit_time: Some(0) };
    expression.evaluate(scene).map(|value| value.text()).map_err(|trouble| trouble.to_string())
}

#[test]
fn expressions_give_exact_values() {
    for (text, expected) in [
        ("row.id + 1", Some("8")),
        ("row.id / 2", Some("3")),
        ("row.id / 2.0", Some("3.5")),
        ("row.price * 2", Some("2469135780246913578024691357802469135780.20")),
        ("row.price + 0.05", Some("1234567890123456789012345678901234567890.15")),
        ("round(row.price, 1)", Some("1234567890123456789012345678901234567890.1")),
        ("row.price > 5", Some("t")),
        ("mask(row.email, 2)", Some("jo*************")),
        ("row.email.contains('@') && row.active", Some("t")),
        ("row.email + '/' + string(row.id)", Some("joe@example.org/7")),
        ("row.id in [1, 7, 9]", Some("t")),
        ("row.id in [1.5, 7]", Some("t")),
        ("row.email in ['a']", Some("f")),
        ("row.at + '1 month' > timestamp('2024-06-15')", Some("t")),
        ("row.at + interval('1 day')", Some("2024-05-16 13:45:59.123456+00")),
        ("row.at - '2024-05-14 13:45:59'", Some("1 day 00:00:00.123456")),
        ("row.local", Some("infinity")),
        ("row.local > row.day", None),
        ("row.day + 20", Some("2024-06-04")),
        ("row.day - '2024-05-01'", Some("14")),
        ("date_trunc('hour', row.at)", Some("2024-05-15 13:00:00+00")),
        ("extract('year', row.day) == 2024", Some("t")),
        ("json_get(row.doc, 'a')", Some("1.10")),
        ("decimal(json_text(row.doc, 'a')) * 10", Some("11.00")),
        ("row.raw + b'a'", Some("\\x00ff61")),
        ("hex(row.raw)", Some("00ff")),
        ("table + ' ' + op", Some("public.people update")),
        ("commit_time", Some("2000-01-01 00:00:00+00")),
        ("old.id", None),
        ("-row.share", Some("-0.5")),
        ("row.id > 5 ? 'high' : 'low'", Some("high")),
        ("row[\"odd name\"]", None),
        ("row.`odd name` == null", Some("t")),
        // NULL, as in SQL.
        ("upper(row.nothing)", None),
        ("row.nothing == null", Some("t")),
        ("row.nothing == 'x'", Some("f")),
        ("row.nothing != 'x'", Some("t")),
        ("row.nothing < 'x'", None),
        ("row.nothing < 'x' || row.active", Some("t")),
        ("row.nothing < 'x' && row.active", None),
        ("row.nothing < 'x' && !row.active", Some("f")),
        ("row.nothing < 'x' ? 1 : 2", Some("2")),
        ("coalesce(row.nothing, 'x')", Some("x")),
        ("coalesce(row[\"odd name\"], 0.5)", Some("0.5")),
        ("concat(row.nothing, row.id)", Some("7")),
        ("has(row.nothing)", Some("f")),
        ("has(row.email)", Some("t")),
    ] {
        if text == "row.local > row.day" {
            assert!(evaluated(text).is_err(), "{text}");
            continue;
        }
        assert_eq!(evaluated(text), Ok(expected.map(str::to_owned)), "{text}");
    }
}

#[test]
fn what_does_not_compile_is_told_with_its_position() {
    for (text, expected) in [
        ("row.emial == 'x'", "line 1, column 5: the table has no column emial"),
        ("row.Email", "line 1, column 5: the table has no column Email: email?"),
        ("row.id == 1 &&\n  nope(row.id)", "line 2, column 3: there is no function nope"),
        (
            "mask(row.email)",
            "line 1, column 1: mask(string) does not exist: there is mask(string, int), mask(string, int, int)",
        ),
        (
            "row.id + row.email",
            "line 1, column 8: a int and a string do not go together: say int(…) or string(…)",
        ),
        (
            "row.price * row.share",
            "line 1, column 11: a decimal and a double do not go together: a double is not exact",
        ),
        ("row.price * 1.12345678901234567", "line 1, column 11: a decimal and a double do not go together"),
        (
            "row.at > row.local",
            "line 1, column 8: a timestamp and a datetime do not go together: say timestamp(…)",
        ),
        ("row.id && row.active", "line 1, column 5: a condition is true or false, and this is a int"),
        ("regex_match(row.email, '(')", "line 1, column 24: not a regular expression"),
        (
            "regex_match(row.email, row.email)",
            "line 1, column 28: argument 2 of regex_match has to be a literal string",
        ),
        ("date_trunc('eon', row.at)", "line 1, column 12: there is no field \"eon\""),
        ("row", "line 1, column 1: row stands for a whole row"),
        ("[1]", "line 1, column 1: a list can only stand behind `in`"),
        ("email", "line 1, column 1: there is no email"),
        ("row.doc == '{}'", "line 1, column 9: JSON documents are not compared"),
        ("[1, 2].exists(x, x > 1)", "line 1, column 14"),
        (
            "hmac(row.email, 'NO_SUCH_KEY')",
            "line 1, column 17: the environment of the source-agent has no STRAIT_KEY_NO_SUCH_KEY",
        ),
        ("1u", "line 1, column 1: unsigned"),
        ("row.doc.a", "line 1, column 9: only row and old have fields: for JSON there is json_get"),
    ] {
        let found = compiled(text).map(|it| it.kind).unwrap_err().to_string();
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_told_without_the_rows_values() {
    for (text, expected) in [
        ("row.id / (row.id - 7)", "line 1, column 8: division by zero"),
        ("row.price / 0.0", "line 1, column 11: division by zero"),
        ("int(row.email)", "line 1, column 1: the value is no integer of 64 bits"),
        ("9223372036854775807 + row.id", "line 1, column 21: the integer is out of range"),
        ("timestamp(row.email)", "line 1, column 1: the string is no timestamp"),
    ] {
        assert_eq!(evaluated(text), Err(expected.to_owned()), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_brings_the_compiler_down(text in "\\PC{0,60}") {
        let _ = compiled(&text);
    }

    #[test]
    fn no_expression_brings_the_evaluation_down(
        parts in prop::collection::vec(prop::sample::select(vec![
            "row.id", "row.price", "row.share", "row.email", "row.nothing", "row.at", "row.day", "null", "1", "0", "0.5", "'x'",
            "(", ")", "+", "-", "*", "/", "%", "<", "==", "&&", "||", "?", ":", ",", "round(", "mask(", "coalesce(", "substring(",
            "extract('day',", "int(", "!",
        ]), 1..12),
    ) {
        let _ = evaluated(&parts.join(" "));
    }
}
