//! Numbers. Decimals stay exact.

use super::{Answer, DECIMAL, DOUBLE, Function, INT, MISMATCH, function};
use crate::transform::decimal::Decimal;
use crate::transform::kind::Kind;
use crate::transform::value::Value;

pub(super) static ALL: &[Function] = &[
    function("abs", &[INT], Kind::Int, |arguments| match arguments {
        [Value::Int(value)] => value.checked_abs().map(Value::Int).ok_or("the integer is out of range"),
        _ => Err(MISMATCH),
    }),
    function("abs", &[DECIMAL], Kind::Decimal, |arguments| match arguments {
        [Value::Decimal(value)] if value.is_negative() => Ok(Value::Decimal(value.negate())),
        [value] => Ok(value.clone()),
        _ => Err(MISMATCH),
    }),
    function("abs", &[DOUBLE], Kind::Double, |arguments| double(arguments, f64::abs)),
    function("round", &[DECIMAL], Kind::Decimal, |arguments| decimal(arguments, |value| value.round(0))),
    function("round", &[DECIMAL, INT], Kind::Decimal, |arguments| match arguments {
        [Value::Decimal(value), Value::Int(digits)] => value.round(*digits).map(Value::Decimal),
        _ => Err(MISMATCH),
    }),
    // As PostgreSQL does it.
    function("round", &[DOUBLE], Kind::Double, |arguments| double(arguments, f64::round_ties_even)),
    function("floor", &[DECIMAL], Kind::Decimal, |arguments| decimal(arguments, Decimal::floor)),
    function("floor", &[DOUBLE], Kind::Double, |arguments| double(arguments, f64::floor)),
    function("ceil", &[DECIMAL], Kind::Decimal, |arguments| decimal(arguments, Decimal::ceil)),
    function("ceil", &[DOUBLE], Kind::Double, |arguments| double(arguments, f64::ceil)),
];

fn double(arguments: &[Value], change: impl Fn(f64) -> f64) -> Answer {
    match arguments {
        [Value::Double(value)] => Ok(Value::Double(change(*value))),
        _ => Err(MISMATCH),
    }
}

fn decimal(arguments: &[Value], change: impl Fn(&Decimal) -> Result<Decimal, &'static str>) -> Answer {
    match arguments {
        [Value::Decimal(value)] => change(value).map(Value::Decimal),
        _ => Err(MISMATCH),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::answer;
    use super::*;

    #[test]
    fn decimals_are_rounded_exactly() {
        let decimal = |text| Value::Decimal(Decimal::parse(text).unwrap());
        assert_eq!(answer("round", &[decimal("2.345"), Value::Int(2)]), Ok(decimal("2.35")));
        assert_eq!(answer("abs", &[decimal("-0.5")]), Ok(decimal("0.5")));
        assert_eq!(answer("round", &[Value::Double(2.5)]), Ok(Value::Double(2.0)));
        assert!(answer("abs", &[Value::Int(i64::MIN)]).is_err());
    }
}
