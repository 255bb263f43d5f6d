//! JSON documents: what is not touched stays as it was written.

use super::{Answer, Function, JSON, MISMATCH, TEXT, Takes, function};
use crate::transform::json;
use crate::transform::kind::Kind;
use crate::transform::value::Value;

pub(super) static ALL: &[Function] = &[
    Function {
        name: "json_get",
        takes: &[JSON, Takes::Any],
        rest: Some(Takes::Any),
        returns: Kind::Json,
        sees_nulls: false,
        call: |arguments| Ok(get(arguments)?.map_or(Value::Null, |found| Value::Json(found.to_owned()))),
    },
    Function {
        name: "json_text",
        takes: &[JSON],
        rest: Some(Takes::Any),
        returns: Kind::Text,
        sees_nulls: false,
        call: |arguments| Ok(get(arguments)?.and_then(json::plain_text).map_or(Value::Null, Value::Text)),
    },
    Function {
        name: "json_set",
        takes: &[JSON, TEXT, Takes::Any],
        rest: None,
        returns: Kind::Json,
        sees_nulls: true,
        call: set,
    },
    function("json_remove", &[JSON, TEXT], Kind::Json, |arguments| match arguments {
        [Value::Json(document), Value::Text(name)] => {
            json::without_member(document, name).map(Value::Json).ok_or(NO_OBJECT)
        }
        _ => Err(MISMATCH),
    }),
    Function {
        name: "to_json",
        takes: &[Takes::Any],
        rest: None,
        returns: Kind::Json,
        sees_nulls: false,
        call: |arguments| arguments.first().map(|value| Value::Json(of(value))).ok_or(MISMATCH),
    },
];

const NO_OBJECT: &str = "the JSON document is not an object";

/// Follows names of members and numbers of elements; None where there is nothing.
fn get(arguments: &[Value]) -> Result<Option<&str>, &'static str> {
    let [Value::Json(document), path @ ..] = arguments else { return Err(MISMATCH) };
    let mut found = &**document;
    for step in path {
        let next = match step {
            Value::Text(name) => json::member(found, name),
            Value::Int(index) => json::element(found, *index),
            _ => return Err("a step in a JSON document is a name or a number"),
        };
        let Some(next) = next else { return Ok(None) };
        found = next;
    }
    Ok(Some(found))
}

fn set(arguments: &[Value]) -> Answer {
    match arguments {
        [Value::Null, ..] | [_, Value::Null, _] => Ok(Value::Null),
        [Value::Json(document), Value::Text(name), value] => {
            json::with_member(document, name, &of(value)).map(Value::Json).ok_or(NO_OBJECT)
        }
        _ => Err(MISMATCH),
    }
}

/// Numbers that JSON has are numbers, everything else but truth and JSON itself is a string.
fn of(value: &Value) -> String {
    let text = value.text();
    match (value, text) {
        (_, None) => "null".to_owned(),
        (Value::Bool(value), _) => value.to_string(),
        (Value::Json(document), _) => document.clone(),
        (Value::Int(_) | Value::Decimal(_) | Value::Double(_), Some(text)) if json::is_valid(&text) => text,
        (_, Some(text)) => json::of_text(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, text};
    use super::*;

    #[test]
    fn members_are_found_set_and_removed() {
        let json = |text: &str| Value::Json(text.to_owned());
        let document = json(r#"{"a": {"b": [10, "x"]}, "n": 1.10}"#);
        for (name, arguments, expected) in [
            ("json_get", vec![document.clone(), text("a"), text("b"), Value::Int(0)], json("10")),
            ("json_get", vec![document.clone(), text("z")], Value::Null),
            ("json_text", vec![document.clone(), text("a"), text("b"), Value::Int(1)], text("x")),
            ("json_set", vec![document.clone(), text("a"), Value::Null], json(r#"{"a": null, "n": 1.10}"#)),
            ("json_remove", vec![document.clone(), text("a")], json(r#"{"n": 1.10}"#)),
            ("to_json", vec![text("a\"b")], json(r#""a\"b""#)),
            ("to_json", vec![Value::Double(f64::NAN)], json(r#""NaN""#)),
            ("to_json", vec![Value::Bool(true)], json("true")),
        ] {
            assert_eq!(answer(name, &arguments), Ok(expected), "{name}");
        }
        assert_eq!(answer("json_set", &[json("1"), text("a"), Value::Int(1)]), Err(NO_OBJECT));
    }
}
