//! JSON that is never taken apart further than asked: numbers keep their digits, objects their order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members in their order, as they were written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

pub(super) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The last member of that name, as PostgreSQL has it.
pub(super) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let Members(members) = serde_json::from_str(json).ok()?;
    members.into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.get())
}

/// From 0 on; a negative one counts from the end.
pub(super) fn element(json: &str, index: i64) -> Option<&str> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let length = i64::try_from(elements.len()).ok()?;
    let index = if index < 0 { length + index } else { index };
    elements.get(usize::try_from(index).ok()?).map(|element| element.get())
}

/// What `->>` gives: a string's content, NULL for null, anything else as it is written.
pub(super) fn plain_text(json: &str) -> Option<String> {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok(),
        _ if json == "null" => None,
        _ => Some(json.to_owned()),
    }
}

pub(super) fn of_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An object with a member set, or added; None where it is no object.
pub(super) fn with_member(json: &str, name: &str, value: &str) -> Option<String> {
    let Members(mut members) = serde_json::from_str(json).ok()?;
    let value: &RawValue = serde_json::from_str(value).ok()?;
    match members.iter_mut().rev().find(|(key, _)| key == name) {
        Some((_, present)) => *present = value,
        None => members.push((name.to_owned(), value)),
    }
    Some(object(&members))
}

/// An object without a member; None where it is no object.
pub(super) fn without_member(json: &str, name: &str) -> Option<String> {
    let Members(mut members) = serde_json::from_str(json).ok()?;
    members.retain(|(key, _)| key != name);
    Some(object(&members))
}

fn object(members: &[(String, &RawValue)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{}: {}", of_text(key), value.get())).collect();
    format!("{{{}}}", members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_stays_as_it_was_written() {
        let document = r#"{"b": 1.10, "a": {"x": 12345678901234567890123.0}, "l": [1, "zwei", null]}"#;
        assert_eq!(member(document, "b"), Some("1.10"));
        assert_eq!(element(member(document, "l").unwrap(), -2), Some("\"zwei\""));
        assert_eq!(member(document, "nope"), None);
        assert_eq!(
            with_member(document, "b", "\"new\"").unwrap(),
            r#"{"b": "new", "a": {"x": 12345678901234567890123.0}, "l": [1, "zwei", null]}"#
        );
        assert_eq!(
            without_member(document, "l").unwrap(),
            r#"{"b": 1.10, "a": {"x": 12345678901234567890123.0}}"#
        );
        assert_eq!(with_member("[1]", "a", "1"), None);
        assert_eq!(plain_text("\"a\\nb\"").as_deref(), Some("a\nb"));
        assert_eq!(plain_text(" null "), None);
    }
}
