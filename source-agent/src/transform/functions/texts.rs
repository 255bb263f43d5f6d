//! Text. Positions count characters from 1 on, as PostgreSQL's functions do.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

use super::{Answer, Function, INT, Literal, MISMATCH, TEXT, Takes, function};
use crate::transform::kind::Kind;
use crate::transform::value::Value;

/// Of a result that could grow without the row's doing.
const LENGTH_MAX: usize = 64 << 20;
const TOO_LONG: &str = "the result is too long";
/// Of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

const PATTERN: Takes = Takes::Literal(Literal::Pattern);

pub(super) static ALL: &[Function] = &[
    function("mask", &[TEXT, INT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(first)] => Ok(Value::Text(mask(text, *first, 0))),
        _ => Err(MISMATCH),
    }),
    function("mask", &[TEXT, INT, INT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(first), Value::Int(last)] => {
            Ok(Value::Text(mask(text, *first, *last)))
        }
        _ => Err(MISMATCH),
    }),
    function("upper", &[TEXT], Kind::Text, |arguments| one(arguments, |text| text.to_uppercase())),
    function("lower", &[TEXT], Kind::Text, |arguments| one(arguments, |text| text.to_lowercase())),
    function("trim", &[TEXT], Kind::Text, |arguments| one(arguments, |text| text.trim().to_owned())),
    function("length", &[TEXT], Kind::Int, |arguments| match arguments {
        [Value::Text(text)] => Ok(Value::Int(int(text.chars().count()))),
        _ => Err(MISMATCH),
    }),
    function("length", &[super::BYTES], Kind::Int, |arguments| match arguments {
        [Value::Bytes(bytes)] => Ok(Value::Int(int(bytes.len()))),
        _ => Err(MISMATCH),
    }),
    function("substring", &[TEXT, INT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(from)] => Ok(Value::Text(substring(text, *from, i64::MAX)?)),
        _ => Err(MISMATCH),
    }),
    function("substring", &[TEXT, INT, INT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(from), Value::Int(length)] => {
            Ok(Value::Text(substring(text, *from, *length)?))
        }
        _ => Err(MISMATCH),
    }),
    function("left", &[TEXT, INT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(length)] => Ok(Value::Text(substring(text, 1, (*length).max(0))?)),
        _ => Err(MISMATCH),
    }),
    function("right", &[TEXT, INT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(length)] => {
            let from = int(text.chars().count()).saturating_sub((*length).max(0)).saturating_add(1);
            Ok(Value::Text(substring(text, from.max(1), i64::MAX)?))
        }
        _ => Err(MISMATCH),
    }),
    function("lpad", &[TEXT, INT, TEXT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(length), Value::Text(fill)] => {
            Ok(Value::Text(format!("{}{text}", padding(text, *length, fill)?)))
        }
        _ => Err(MISMATCH),
    }),
    function("rpad", &[TEXT, INT, TEXT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Int(length), Value::Text(fill)] => {
            Ok(Value::Text(format!("{text}{}", padding(text, *length, fill)?)))
        }
        _ => Err(MISMATCH),
    }),
    function("replace", &[TEXT, TEXT, TEXT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Text(from), _] if from.is_empty() => Ok(Value::Text(text.clone())),
        [Value::Text(text), Value::Text(from), Value::Text(to)] => {
            let found = text.matches(&**from).count();
            bounded(text.len().saturating_add(found.saturating_mul(to.len())))?;
            Ok(Value::Text(text.replace(&**from, to)))
        }
        _ => Err(MISMATCH),
    }),
    function("split", &[TEXT, TEXT, INT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Text(separator), Value::Int(number)] => {
            Ok(Value::Text(split(text, separator, *number)?.to_owned()))
        }
        _ => Err(MISMATCH),
    }),
    function("contains", &[TEXT, TEXT], Kind::Bool, |arguments| {
        test(arguments, |text, part| text.contains(part))
    }),
    function("starts_with", &[TEXT, TEXT], Kind::Bool, |arguments| {
        test(arguments, |text, part| text.starts_with(part))
    }),
    function("ends_with", &[TEXT, TEXT], Kind::Bool, |arguments| {
        test(arguments, |text, part| text.ends_with(part))
    }),
    function("regex_match", &[TEXT, PATTERN], Kind::Bool, |arguments| match arguments {
        [Value::Text(text), Value::Text(pattern)] => Ok(Value::Bool(compiled(pattern)?.is_match(text))),
        _ => Err(MISMATCH),
    }),
    function("regex_replace", &[TEXT, PATTERN, TEXT], Kind::Text, |arguments| match arguments {
        [Value::Text(text), Value::Text(pattern), Value::Text(replacement)] => {
            let pattern = compiled(pattern)?;
            let found = pattern.find_iter(text).count();
            // A group's reference may stand for the whole text.
            let each = replacement.len().saturating_mul(if replacement.contains('$') {
                text.len().max(1)
            } else {
                1
            });
            bounded(text.len().saturating_add(found.saturating_mul(each)))?;
            Ok(Value::Text(pattern.replace_all(text, &**replacement).into_owned()))
        }
        _ => Err(MISMATCH),
    }),
    Function {
        name: "concat",
        takes: &[],
        rest: Some(Takes::Any),
        returns: Kind::Text,
        sees_nulls: true,
        call: |arguments| Ok(Value::Text(arguments.iter().filter_map(Value::text).collect())),
    },
];

fn one(arguments: &[Value], change: impl Fn(&str) -> String) -> Answer {
    match arguments {
        [Value::Text(text)] => Ok(Value::Text(change(text))),
        _ => Err(MISMATCH),
    }
}

fn test(arguments: &[Value], matches: impl Fn(&str, &str) -> bool) -> Answer {
    match arguments {
        [Value::Text(text), Value::Text(part)] => Ok(Value::Bool(matches(text, part))),
        _ => Err(MISMATCH),
    }
}

fn int(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn bounded(length: usize) -> Result<(), &'static str> {
    if length > LENGTH_MAX { Err(TOO_LONG) } else { Ok(()) }
}

/// Keeps some characters at the beginning and the end; never all of a text that has any.
fn mask(text: &str, first: i64, last: i64) -> String {
    let length = int(text.chars().count());
    let (first, last) = (first.max(0), last.max(0));
    let shown = |at: i64| first.saturating_add(last) < length && (at < first || at >= length - last);
    (0..).zip(text.chars()).map(|(at, letter)| if shown(at) { letter } else { '*' }).collect()
}

fn substring(text: &str, from: i64, length: i64) -> Result<String, &'static str> {
    if length < 0 {
        return Err("a substring's length is negative");
    }
    // What lies before the first character counts, too.
    let end = from.saturating_add(length);
    let start = from.max(1);
    let count = usize::try_from(end.saturating_sub(start)).unwrap_or_default();
    Ok(text.chars().skip(usize::try_from(start - 1).unwrap_or(usize::MAX)).take(count).collect())
}

fn padding(text: &str, length: i64, fill: &str) -> Result<String, &'static str> {
    let length = usize::try_from(length).unwrap_or_default();
    bounded(length.saturating_mul(4))?;
    Ok(fill.chars().cycle().take(length.saturating_sub(text.chars().count())).collect())
}

/// The part of that number, from 1 on; a negative one counts from the end; empty where there is none.
fn split<'t>(text: &'t str, separator: &str, number: i64) -> Result<&'t str, &'static str> {
    let parts: Vec<&str> = if separator.is_empty() { vec![text] } else { text.split(separator).collect() };
    let index = match number {
        0 => return Err("parts are counted from 1 on"),
        1.. => number - 1,
        _ => int(parts.len()) + number,
    };
    Ok(usize::try_from(index).ok().and_then(|index| parts.get(index)).copied().unwrap_or_default())
}

/// Every pattern is a literal of a task, so there are few.
fn compiled(pattern: &str) -> Result<Regex, &'static str> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    const KEPT_MAX: usize = 1000;
    let mut kept = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = kept.get(pattern) {
        return Ok(regex.clone());
    }
    let regex = build(pattern).map_err(|_| "the pattern is not a regular expression")?;
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

/// Takes time in proportion to the text, whatever the pattern.
fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build()
}

pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    build(pattern).map(drop).map_err(|error| {
        let words = error.to_string();
        let last = words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("not a regular expression: {last}")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, text};
    use super::*;

    #[test]
    fn functions_of_text_answer_as_those_of_postgresql() {
        let ints = |numbers: &[i64]| numbers.iter().map(|it| Value::Int(*it)).collect::<Vec<_>>();
        for (name, arguments, expected) in [
            ("mask", [vec![text("joe@example.org")], ints(&[2])].concat(), text("jo*************")),
            ("mask", [vec![text("4111111111111111")], ints(&[0, 4])].concat(), text("************1111")),
            // Never what there is as a whole.
            ("mask", [vec![text("ab")], ints(&[2])].concat(), text("**")),
            ("mask", [vec![text("äöü")], ints(&[1])].concat(), text("ä**")),
            ("substring", [vec![text("größe")], ints(&[3, 2])].concat(), text("öß")),
            ("substring", [vec![text("abc")], ints(&[0, 2])].concat(), text("a")),
            ("substring", [vec![text("abc")], ints(&[2])].concat(), text("bc")),
            ("left", [vec![text("abc")], ints(&[2])].concat(), text("ab")),
            ("right", [vec![text("abc")], ints(&[2])].concat(), text("bc")),
            ("split", vec![text("a,b,c"), text(","), Value::Int(2)], text("b")),
            ("split", vec![text("a,b,c"), text(","), Value::Int(-1)], text("c")),
            ("split", vec![text("a"), text(","), Value::Int(5)], text("")),
            ("lpad", vec![text("7"), Value::Int(3), text("0")], text("007")),
            ("replace", vec![text("a-b-c"), text("-"), text("")], text("abc")),
            (
                "regex_replace",
                vec![text("2024-05-06"), text(r"(\d+)-(\d+)"), text("$2.$1")],
                text("05.2024-06"),
            ),
            ("regex_match", vec![text("x1"), text(r"^\w\d$")], Value::Bool(true)),
            ("length", vec![text("größe")], Value::Int(5)),
        ] {
            assert_eq!(answer(name, &arguments), Ok(expected), "{name}");
        }
        assert!(check_pattern("(").unwrap_err().contains("unclosed group"));
        assert!(check_pattern(r"\w{1000}{1000}").is_err());
        assert_eq!(answer("lpad", &[text(""), Value::Int(1 << 40), text("x")]), Err(TOO_LONG));
    }
}
