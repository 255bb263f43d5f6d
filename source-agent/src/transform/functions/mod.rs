//! The functions that expressions can call.
//!
//! A function that is given NULL gives NULL, unless it says that it sees NULLs. None depends on anything but its arguments:
//! the same row gives the same result whenever it is evaluated.

mod casts;
mod hashes;
mod json;
mod numbers;
mod texts;
mod times;

use super::kind::Kind;
use super::value::Value;

/// Why a function has no result. Never holds a value of a row.
pub(super) type Answer = Result<Value, &'static str>;

/// One form of a function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// The kinds of its arguments.
    pub(super) takes: &'static [Takes],
    /// Any number of these may follow.
    pub(super) rest: Option<Takes>,
    pub(super) returns: Kind,
    pub(super) sees_nulls: bool,
    pub(super) call: fn(&[Value]) -> Answer,
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Is(Kind),
    Any,
    /// A literal string, which is looked at when the expression is compiled.
    Literal(Literal),
}

/// What a literal argument has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    Pattern,
    /// A part of a timestamp: `year`, `hour`, …
    Field,
    /// The name of a key in the agent's environment.
    Key,
}

const TEXT: Takes = Takes::Is(Kind::Text);
const INT: Takes = Takes::Is(Kind::Int);
const DECIMAL: Takes = Takes::Is(Kind::Decimal);
const DOUBLE: Takes = Takes::Is(Kind::Double);
const BYTES: Takes = Takes::Is(Kind::Bytes);
const TIMESTAMP: Takes = Takes::Is(Kind::Timestamp);
const DATE_TIME: Takes = Takes::Is(Kind::DateTime);
const DATE: Takes = Takes::Is(Kind::Date);
const INTERVAL: Takes = Takes::Is(Kind::Interval);
const JSON: Takes = Takes::Is(Kind::Json);
const BOOL: Takes = Takes::Is(Kind::Bool);

/// A form with a fixed number of arguments.
const fn function(
    name: &'static str,
    takes: &'static [Takes],
    returns: Kind,
    call: fn(&[Value]) -> Answer,
) -> Function {
    Function { name, takes, rest: None, returns, sees_nulls: false, call }
}

/// All forms of a name.
pub(super) fn named(name: &str) -> Vec<&'static Function> {
    // CEL's own names for what has another one here.
    let name = match name {
        "startsWith" => "starts_with",
        "endsWith" => "ends_with",
        "matches" => "regex_match",
        "size" => "length",
        name => name,
    };
    all().filter(|function| function.name == name).collect()
}

/// Whether there is a function of the name; `coalesce` is one that the compiler itself knows.
pub(super) fn exists(name: &str) -> bool {
    name == "coalesce" || !named(name).is_empty()
}

/// The names that a misspelt one may have meant.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    let wanted = name.to_lowercase().replace('_', "");
    all().map(|function| function.name).find(|known| known.replace('_', "") == wanted)
}

fn all() -> impl Iterator<Item = &'static Function> {
    [texts::ALL, hashes::ALL, numbers::ALL, times::ALL, json::ALL, casts::ALL].into_iter().flatten()
}

/// Evaluates a form without NULLs.
pub(super) fn call(function: &Function, arguments: &[Value]) -> Answer {
    if !function.sees_nulls && arguments.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    (function.call)(arguments)
}

/// Checks a literal argument; the words are about what is wrong with it.
pub(super) fn check_literal(literal: Literal, text: &str) -> Result<(), String> {
    match literal {
        Literal::Pattern => texts::check_pattern(text),
        Literal::Field => times::check_field(text),
        Literal::Key => hashes::check_key(text),
    }
}

/// The compiler has seen to the kinds of arguments, so this does not come up.
const MISMATCH: &str = "the arguments are of other kinds";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Calls the form that takes exactly these kinds of values.
    pub(crate) fn answer(name: &str, arguments: &[Value]) -> Answer {
        let fits = |takes: &Takes, value: &Value| match (takes, value) {
            (Takes::Any, _) | (_, Value::Null) => true,
            (Takes::Literal(_), Value::Text(_)) => true,
            (Takes::Is(kind), value) => super::super::node::kind_of(value) == *kind,
            _ => false,
        };
        let forms = named(name);
        let form = forms.into_iter().find(|form| {
            arguments.len() >= form.takes.len()
                && (form.rest.is_some() || arguments.len() == form.takes.len())
                && arguments.iter().enumerate().all(|(at, value)| {
                    form.takes.get(at).or(form.rest.as_ref()).is_some_and(|takes| fits(takes, value))
                })
        });
        call(form.unwrap_or_else(|| panic!("{name}{arguments:?}")), arguments)
    }

    pub(crate) fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn null_gives_null_and_names_of_cel_are_known() {
        assert_eq!(answer("upper", &[Value::Null]), Ok(Value::Null));
        assert_eq!(answer("concat", &[text("a"), Value::Null, Value::Int(1)]), Ok(text("a1")));
        assert_eq!(answer("startsWith", &[text("abc"), text("a")]), Ok(Value::Bool(true)));
        assert_eq!(similar("sha_256"), Some("sha256"));
    }
}
