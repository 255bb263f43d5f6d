//! From one kind to another. What does not fit is an error, never NULL.

use super::{
    Answer, BOOL, BYTES, DATE, DATE_TIME, DECIMAL, DOUBLE, Function, INT, JSON, MISMATCH, TEXT, TIMESTAMP,
    Takes, function,
};
use crate::transform::calendar::{self, DAY};
use crate::transform::decimal::Decimal;
use crate::transform::kind::Kind;
use crate::transform::value::Value;

pub(super) static ALL: &[Function] = &[
    function("int", &[INT], Kind::Int, same),
    function("int", &[DECIMAL], Kind::Int, |arguments| match arguments {
        [Value::Decimal(value)] => value.to_int().map(Value::Int).ok_or(NO_INT),
        _ => Err(MISMATCH),
    }),
    function("int", &[DOUBLE], Kind::Int, |arguments| match arguments {
        [Value::Double(value)] => {
            Decimal::of_double(*value).and_then(|value| value.to_int()).map(Value::Int).ok_or(NO_INT)
        }
        _ => Err(MISMATCH),
    }),
    function("int", &[BOOL], Kind::Int, |arguments| match arguments {
        [Value::Bool(value)] => Ok(Value::Int(i64::from(*value))),
        _ => Err(MISMATCH),
    }),
    function("int", &[TEXT], Kind::Int, |arguments| read(arguments, Kind::Int, NO_INT)),
    function("decimal", &[DECIMAL], Kind::Decimal, same),
    function("decimal", &[DOUBLE], Kind::Decimal, |arguments| match arguments {
        [Value::Double(value)] => Decimal::of_double(*value).map(Value::Decimal).ok_or(NO_DECIMAL),
        _ => Err(MISMATCH),
    }),
    function("decimal", &[TEXT], Kind::Decimal, |arguments| read(arguments, Kind::Decimal, NO_DECIMAL)),
    function("double", &[DOUBLE], Kind::Double, same),
    function("double", &[DECIMAL], Kind::Double, |arguments| match arguments {
        [Value::Decimal(value)] => value.to_double().map(Value::Double).ok_or("the decimal is no double"),
        _ => Err(MISMATCH),
    }),
    function("double", &[TEXT], Kind::Double, |arguments| {
        read(arguments, Kind::Double, "the string is no double")
    }),
    function("bool", &[TEXT], Kind::Bool, |arguments| {
        read(arguments, Kind::Bool, "the string is neither true nor false")
    }),
    function("string", &[BYTES], Kind::Text, |arguments| match arguments {
        [Value::Bytes(bytes)] => {
            String::from_utf8(bytes.clone()).map(Value::Text).map_err(|_| "the bytes are no text in UTF-8")
        }
        _ => Err(MISMATCH),
    }),
    function("string", &[Takes::Any], Kind::Text, |arguments| match arguments {
        [Value::Bool(value)] => Ok(Value::Text(value.to_string())),
        [value] => value.text().map(Value::Text).ok_or(MISMATCH),
        _ => Err(MISMATCH),
    }),
    function("bytes", &[TEXT], Kind::Bytes, |arguments| match arguments {
        [Value::Text(text)] => Ok(Value::Bytes(text.clone().into_bytes())),
        _ => Err(MISMATCH),
    }),
    function("timestamp", &[TIMESTAMP], Kind::Timestamp, same),
    function("timestamp", &[DATE_TIME], Kind::Timestamp, |arguments| match arguments {
        [Value::DateTime(micros)] => Ok(Value::Timestamp(*micros)),
        _ => Err(MISMATCH),
    }),
    function("timestamp", &[DATE], Kind::Timestamp, |arguments| midnight(arguments).map(Value::Timestamp)),
    function("timestamp", &[TEXT], Kind::Timestamp, |arguments| {
        read(arguments, Kind::Timestamp, NO_TIMESTAMP)
    }),
    function("datetime", &[DATE_TIME], Kind::DateTime, same),
    function("datetime", &[TIMESTAMP], Kind::DateTime, |arguments| match arguments {
        [Value::Timestamp(micros)] => Ok(Value::DateTime(*micros)),
        _ => Err(MISMATCH),
    }),
    function("datetime", &[DATE], Kind::DateTime, |arguments| midnight(arguments).map(Value::DateTime)),
    function("datetime", &[TEXT], Kind::DateTime, |arguments| read(arguments, Kind::DateTime, NO_TIMESTAMP)),
    function("date", &[DATE], Kind::Date, same),
    function("date", &[TIMESTAMP], Kind::Date, day),
    function("date", &[DATE_TIME], Kind::Date, day),
    function("date", &[TEXT], Kind::Date, |arguments| read(arguments, Kind::Date, "the string is no date")),
    function("interval", &[TEXT], Kind::Interval, |arguments| {
        read(arguments, Kind::Interval, "the string is no interval")
    }),
    function("json", &[JSON], Kind::Json, same),
    function("json", &[TEXT], Kind::Json, |arguments| read(arguments, Kind::Json, "the string is no JSON")),
];

const NO_INT: &str = "the value is no integer of 64 bits";
const NO_DECIMAL: &str = "the value is no decimal";
const NO_TIMESTAMP: &str = "the string is no timestamp";

fn same(arguments: &[Value]) -> Answer {
    arguments.first().cloned().ok_or(MISMATCH)
}

fn read(arguments: &[Value], kind: Kind, otherwise: &'static str) -> Answer {
    match arguments {
        [Value::Text(text)] => Value::read(text, kind).ok_or(otherwise),
        _ => Err(MISMATCH),
    }
}

fn midnight(arguments: &[Value]) -> Result<i64, &'static str> {
    match arguments {
        [Value::Date(days)] if calendar::is_infinite(*days) => Ok(*days),
        [Value::Date(days)] => days.checked_mul(DAY).ok_or("the date is out of range"),
        _ => Err(MISMATCH),
    }
}

fn day(arguments: &[Value]) -> Answer {
    match arguments {
        [Value::Timestamp(micros) | Value::DateTime(micros)] if calendar::is_infinite(*micros) => {
            Ok(Value::Date(*micros))
        }
        [Value::Timestamp(micros) | Value::DateTime(micros)] => Ok(Value::Date(micros.div_euclid(DAY))),
        _ => Err(MISMATCH),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, text};
    use super::*;

    #[test]
    fn what_does_not_fit_is_an_error() {
        let decimal = |text| Value::Decimal(Decimal::parse(text).unwrap());
        for (name, argument, expected) in [
            ("int", text("42"), Ok(Value::Int(42))),
            ("int", decimal("-1.9"), Ok(Value::Int(-1))),
            ("int", Value::Double(1e300), Err(NO_INT)),
            ("int", decimal("NaN"), Err(NO_INT)),
            ("int", text("4x"), Err(NO_INT)),
            ("decimal", Value::Double(0.1), Ok(decimal("0.1"))),
            ("string", Value::Bytes(vec![255]), Err("the bytes are no text in UTF-8")),
            ("string", decimal("1.10"), Ok(text("1.10"))),
            ("string", Value::Bool(true), Ok(text("true"))),
            ("date", text("2024-02-30"), Err("the string is no date")),
            ("json", text("{"), Err("the string is no JSON")),
        ] {
            assert_eq!(answer(name, &[argument]), expected, "{name}");
        }
    }
}
