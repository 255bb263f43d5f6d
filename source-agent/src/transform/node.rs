//! Expressions as they are evaluated: every operand's kind is settled, so what is left to go wrong is the values.
//!
//! NULL behaves as in SQL: what is given NULL gives NULL, a condition that is NULL is not met, and `&&` and `||` have three
//! values. Only `==` and `!=` see it, as CEL has it: `row.x == null`.

use std::cmp::Ordering;

use strait_postgres::pgoutput::TupleValue;

use super::decimal::Decimal;
use super::functions::{self, Function};
use super::interval::Interval;
use super::kind::Kind;
use super::trouble::{Position, Trouble};
use super::value::Value;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    pub(super) node: Node,
    pub(super) kind: Kind,
    /// Where it begins.
    pub(super) position: Position,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Literal(Value),
    /// A column of the row, by its position.
    Column(usize),
    /// A column of the row as it was before the change.
    Old(usize),
    Op,
    CommitTime,
    Not(Box<Expression>),
    And(Box<[Expression; 2]>),
    Or(Box<[Expression; 2]>),
    /// Condition, then, otherwise.
    If(Box<[Expression; 3]>),
    Coalesce(Vec<Expression>),
    Equal {
        operands: Box<[Expression; 2]>,
        negated: bool,
    },
    In {
        value: Box<Expression>,
        list: Vec<Expression>,
    },
    Compare {
        operands: Box<[Expression; 2]>,
        accepts: fn(Ordering) -> bool,
    },
    Negate(Box<Expression>),
    Arithmetic {
        operator: Operator,
        operands: Box<[Expression; 2]>,
    },
    /// From an `int` to a `decimal` or a `double`.
    Widen(Box<Expression>),
    Call {
        function: &'static Function,
        arguments: Vec<Expression>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// What an expression is evaluated on.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) row: &'a [TupleValue],
    /// The kinds of its columns.
    pub(super) kinds: &'a [Kind],
    pub(super) old: Option<&'a [TupleValue]>,
    /// None where it is not the change as it came: of the old row.
    pub(super) op: Option<&'static str>,
    /// Microseconds since 2000-01-01.
    pub(super) commit_time: Option<i64>,
}

impl Expression {
    pub(super) fn evaluate(&self, scene: Scene<'_>) -> Result<Value, Trouble> {
        let value = |at: &Expression| at.evaluate(scene);
        let failed = |message: &str| Trouble::new(self.position, message);
        Ok(match &self.node {
            Node::Literal(value) => value.clone(),
            Node::Column(column) => self.read(scene.row.get(*column), scene.kinds[*column])?,
            Node::Old(column) => match scene.old {
                Some(old) => self.read(old.get(*column), scene.kinds[*column])?,
                None => Value::Null,
            },
            Node::Op => scene.op.map_or(Value::Null, |op| Value::Text(op.to_owned())),
            Node::CommitTime => scene.commit_time.map_or(Value::Null, Value::Timestamp),
            Node::Not(operand) => match value(operand)? {
                Value::Bool(truth) => Value::Bool(!truth),
                other => other,
            },
            Node::And(operands) => three_valued(operands, false, scene)?,
            Node::Or(operands) => three_valued(operands, true, scene)?,
            Node::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                value(if value(condition)? == Value::Bool(true) { then } else { otherwise })?
            }
            Node::Coalesce(operands) => {
                for operand in operands {
                    let found = value(operand)?;
                    if !found.is_null() {
                        return Ok(found);
                    }
                }
                Value::Null
            }
            Node::Equal { operands, negated } => {
                let (left, right) = (value(&operands[0])?, value(&operands[1])?);
                Value::Bool(are_equal(&left, &right) != *negated)
            }
            Node::In { value: wanted, list } => {
                let wanted = value(wanted)?;
                let mut found = false;
                for element in list {
                    found = found || are_equal(&wanted, &value(element)?);
                }
                Value::Bool(found)
            }
            Node::Compare { operands, accepts } => {
                let (left, right) = (value(&operands[0])?, value(&operands[1])?);
                left.compare(&right).map_or(Value::Null, |ordering| Value::Bool(accepts(ordering)))
            }
            Node::Negate(operand) => negate(value(operand)?).map_err(failed)?,
            Node::Arithmetic { operator, operands } => {
                calculate(*operator, value(&operands[0])?, value(&operands[1])?).map_err(failed)?
            }
            Node::Widen(operand) => match (value(operand)?, self.kind) {
                (Value::Int(number), Kind::Decimal) => Value::Decimal(Decimal::of_int(number)),
                // The nearest one, as PostgreSQL has it.
                (Value::Int(number), _) => Value::Double(number as f64),
                (other, _) => other,
            },
            Node::Call { function, arguments } => {
                let arguments = arguments.iter().map(value).collect::<Result<Vec<_>, _>>()?;
                functions::call(function, &arguments).map_err(failed)?
            }
        })
    }

    fn read(&self, value: Option<&TupleValue>, kind: Kind) -> Result<Value, Trouble> {
        let failed = |message: String| Trouble::new(self.position, message);
        match value {
            Some(TupleValue::Text(text)) => {
                let value = std::str::from_utf8(text).ok().and_then(|text| Value::read(text, kind));
                value.ok_or_else(|| failed(format!("the column's value cannot be read as {kind}")))
            }
            Some(TupleValue::Null) => Ok(Value::Null),
            Some(TupleValue::Binary(_)) => {
                Err(failed("the column's value came in binary, which was not asked for".to_owned()))
            }
            Some(TupleValue::Unchanged) | None => Err(failed(
                "the column's value did not come with the change: the table's REPLICA IDENTITY was not FULL when it was made"
                    .to_owned(),
            )),
        }
    }

    /// Every expression in it, itself included.
    pub(super) fn visit(&self, see: &mut impl FnMut(&Node)) {
        see(&self.node);
        match &self.node {
            Node::Literal(_) | Node::Column(_) | Node::Old(_) | Node::Op | Node::CommitTime => {}
            Node::Not(operand) | Node::Negate(operand) | Node::Widen(operand) => operand.visit(see),
            Node::And(operands) | Node::Or(operands) => operands.iter().for_each(|it| it.visit(see)),
            Node::Equal { operands, .. }
            | Node::Compare { operands, .. }
            | Node::Arithmetic { operands, .. } => {
                operands.iter().for_each(|it| it.visit(see));
            }
            Node::If(parts) => parts.iter().for_each(|it| it.visit(see)),
            Node::Coalesce(operands) => operands.iter().for_each(|it| it.visit(see)),
            Node::In { value, list } => {
                value.visit(see);
                list.iter().for_each(|it| it.visit(see));
            }
            Node::Call { arguments, .. } => arguments.iter().for_each(|it| it.visit(see)),
        }
    }
}

/// `&&` and `||`: one operand that decides is enough.
fn three_valued(operands: &[Expression; 2], decides: bool, scene: Scene<'_>) -> Result<Value, Trouble> {
    let left = operands[0].evaluate(scene)?;
    if left == Value::Bool(decides) {
        return Ok(left);
    }
    let right = operands[1].evaluate(scene)?;
    Ok(if right == Value::Bool(decides) || left == Value::Bool(!decides) { right } else { left })
}

fn are_equal(left: &Value, right: &Value) -> bool {
    if left.is_null() || right.is_null() {
        return left.is_null() && right.is_null();
    }
    left.compare(right) == Some(Ordering::Equal)
}

const OUT_OF_RANGE: &str = "the integer is out of range";
const TIME_OUT_OF_RANGE: &str = "the timestamp is out of range";
const DIVISION_BY_ZERO: &str = "division by zero";

fn negate(value: Value) -> Result<Value, &'static str> {
    Ok(match value {
        Value::Int(number) => Value::Int(number.checked_neg().ok_or(OUT_OF_RANGE)?),
        Value::Decimal(number) => Value::Decimal(number.negate()),
        Value::Double(number) => Value::Double(-number),
        Value::Interval(interval) => Value::Interval(interval.negate()),
        other => other,
    })
}

fn calculate(operator: Operator, left: Value, right: Value) -> Result<Value, &'static str> {
    use Operator::{Add, Divide, Multiply, Remainder, Subtract};
    Ok(match (operator, left, right) {
        (_, Value::Null, _) | (_, _, Value::Null) => Value::Null,
        (operator, Value::Int(left), Value::Int(right)) => {
            if right == 0 && matches!(operator, Divide | Remainder) {
                return Err(DIVISION_BY_ZERO);
            }
            let result = match operator {
                Add => left.checked_add(right),
                Subtract => left.checked_sub(right),
                Multiply => left.checked_mul(right),
                Divide => left.checked_div(right),
                Remainder => Some(left.wrapping_rem(right)),
            };
            Value::Int(result.ok_or(OUT_OF_RANGE)?)
        }
        (operator, Value::Decimal(left), Value::Decimal(right)) => Value::Decimal(match operator {
            Add => left.add(&right),
            Subtract => left.add(&right.negate()),
            Multiply => left.multiply(&right),
            Divide => left.divide(&right),
            Remainder => left.remainder(&right),
        }?),
        (operator, Value::Double(left), Value::Double(right)) => {
            if right == 0.0 && matches!(operator, Divide | Remainder) {
                return Err(DIVISION_BY_ZERO);
            }
            let result = match operator {
                Add => left + right,
                Subtract => left - right,
                Multiply => left * right,
                Divide => left / right,
                Remainder => left % right,
            };
            if result.is_infinite() && left.is_finite() && right.is_finite() {
                return Err("the double is out of range");
            }
            Value::Double(result)
        }
        (Add, Value::Text(left), Value::Text(right)) => Value::Text(left + &right),
        (Add, Value::Bytes(left), Value::Bytes(right)) => Value::Bytes([left, right].concat()),
        (Add, Value::Interval(left), Value::Interval(right)) => {
            Value::Interval(left.add(right).ok_or("the interval is out of range")?)
        }
        (Subtract, Value::Interval(left), Value::Interval(right)) => {
            Value::Interval(left.add(right.negate()).ok_or("the interval is out of range")?)
        }
        (operator, Value::Timestamp(at), Value::Interval(span)) => {
            Value::Timestamp(moved(operator, at, span).ok_or(TIME_OUT_OF_RANGE)?)
        }
        (operator, Value::DateTime(at), Value::Interval(span)) => {
            Value::DateTime(moved(operator, at, span).ok_or(TIME_OUT_OF_RANGE)?)
        }
        (_, Value::Timestamp(left), Value::Timestamp(right))
        | (_, Value::DateTime(left), Value::DateTime(right)) => {
            let is_infinite = [left, right].into_iter().any(super::calendar::is_infinite);
            let between = if is_infinite { None } else { Interval::between(right, left) };
            Value::Interval(between.ok_or("the interval is out of range")?)
        }
        (operator, Value::Date(left), Value::Int(right)) => {
            if super::calendar::is_infinite(left) {
                return Ok(Value::Date(left));
            }
            let moved = if operator == Add { left.checked_add(right) } else { left.checked_sub(right) };
            let moved = moved.filter(|day| i32::try_from(*day).is_ok());
            Value::Date(moved.ok_or("the date is out of range")?)
        }
        (_, Value::Date(left), Value::Date(right)) => {
            if [left, right].into_iter().any(super::calendar::is_infinite) {
                return Err("the date is infinite");
            }
            Value::Int(left - right)
        }
        // The compiler lets no others pass.
        _ => return Err("the operands are of other kinds"),
    })
}

fn moved(operator: Operator, at: i64, span: Interval) -> Option<i64> {
    // The infinities' own numbers are no timestamps.
    let span = if operator == Operator::Add { span } else { span.negate() };
    span.after(at).filter(|moved| super::calendar::is_infinite(*moved) == super::calendar::is_infinite(at))
}

/// The kind of what two operands of an operator give; None: it does not take them. Both are of one kind of number already.
pub(super) fn result_kind(operator: Operator, left: Kind, right: Kind) -> Option<Kind> {
    use Operator::{Add, Subtract};
    Some(match (operator, left, right) {
        (_, Kind::Null, other) | (_, other, Kind::Null) => other,
        (_, left, right) if left == right && left.is_number() => left,
        (Add, Kind::Text, Kind::Text) => Kind::Text,
        (Add, Kind::Bytes, Kind::Bytes) => Kind::Bytes,
        (Add | Subtract, Kind::Interval, Kind::Interval) => Kind::Interval,
        (Add | Subtract, Kind::Timestamp | Kind::DateTime, Kind::Interval) => left,
        (Add | Subtract, Kind::Date, Kind::Int) => Kind::Date,
        (Subtract, Kind::Timestamp, Kind::Timestamp) | (Subtract, Kind::DateTime, Kind::DateTime) => {
            Kind::Interval
        }
        (Subtract, Kind::Date, Kind::Date) => Kind::Int,
        _ => return None,
    })
}

#[cfg(test)]
pub(super) fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) => Kind::Int,
        Value::Decimal(_) => Kind::Decimal,
        Value::Double(_) => Kind::Double,
        Value::Text(_) => Kind::Text,
        Value::Bytes(_) => Kind::Bytes,
        Value::Timestamp(_) => Kind::Timestamp,
        Value::DateTime(_) => Kind::DateTime,
        Value::Date(_) => Kind::Date,
        Value::Interval(_) => Kind::Interval,
        Value::Json(_) => Kind::Json,
    }
}
