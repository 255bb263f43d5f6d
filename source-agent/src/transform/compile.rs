//! Syntax trees to typed expressions, against the columns of a table: unknown columns and functions, wrong numbers of
//! arguments and kinds that do not go together are found here, with their positions.

use std::cmp::Ordering;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::decimal::Decimal;
use super::functions::{self, Function, Takes};
use super::kind::Kind;
use super::node::{Expression, Node, Operator, result_kind};
use super::syntax::{Syntax, unknown_function, unknown_variable};
use super::trouble::{Position, Trouble};
use super::value::Value;

/// What expressions can name.
pub(super) struct Names<'a> {
    pub(super) table: &'a str,
    /// By their positions; None: there, but not to be read at this place, for the reason.
    pub(super) columns: &'a [Name],
    /// How many of them, from the first on, `old` has too.
    pub(super) old_columns: usize,
}

/// A column by its name at the source.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Why it cannot be read.
    pub(super) unreadable: Option<String>,
}

/// Compiles a text.
pub(super) fn compile(text: &str, names: &Names<'_>) -> Result<Expression, Trouble> {
    let syntax = Syntax::parse(text)?;
    let compiler = Compiler { syntax: &syntax, names };
    let mut expression = compiler.expression(&syntax.tree)?;
    if matches!(expression.node, Node::Column(_)) {
        expression.position = Position { line: 1, column: 1 };
    }
    Ok(expression)
}

struct Compiler<'a> {
    syntax: &'a Syntax,
    names: &'a Names<'a>,
}

/// The name that stands for one of the rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Row,
    Old,
}

impl Compiler<'_> {
    fn expression(&self, node: &IdedExpr) -> Result<Expression, Trouble> {
        let position = self.syntax.position(node);
        let fail = |message: String| Err(Trouble::new(position, message));
        let made = |node, kind| Ok(Expression { node, kind, position });
        match &node.expr {
            Expr::Literal(literal) => self.literal(literal, position),
            Expr::Ident(name) => match &**name {
                "op" => made(Node::Op, Kind::Text),
                "table" => made(Node::Literal(Value::Text(self.names.table.to_owned())), Kind::Text),
                "commit_time" => made(Node::CommitTime, Kind::Timestamp),
                "row" | "old" => {
                    fail(format!("{name} stands for a whole row: name one of its columns, {name}.…"))
                }
                _ => fail(unknown_variable(name)),
            },
            Expr::Select(select) => match side(&select.operand) {
                // has(row.x): a column is always there, so whether it has a value is asked.
                Some(side) if select.test => {
                    let column = self.column(side, &select.field, position)?;
                    Ok(is_null(column, true, position))
                }
                Some(side) => self.column(side, &select.field, position),
                None => fail(format!(
                    "only row and old have fields: for JSON there is json_get(…, {:?})",
                    select.field
                )),
            },
            Expr::Call(call) => self.call(call, position),
            Expr::List(_) => fail("a list can only stand behind `in`".to_owned()),
            Expr::Map(_) | Expr::Struct(_) => {
                fail("maps are not supported: see json_set and to_json".to_owned())
            }
            Expr::Comprehension(_) => fail("all, exists, map and filter are not supported".to_owned()),
            Expr::Unspecified => fail("cannot be read as an expression".to_owned()),
        }
    }

    fn literal(&self, literal: &LiteralValue, position: Position) -> Result<Expression, Trouble> {
        let (value, kind) = match literal {
            LiteralValue::Boolean(value) => (Value::Bool(*value.inner()), Kind::Bool),
            LiteralValue::Int(value) => (Value::Int(*value.inner()), Kind::Int),
            LiteralValue::Double(value) => (Value::Double(*value.inner()), Kind::Double),
            LiteralValue::String(value) => (Value::Text(value.inner().to_owned()), Kind::Text),
            LiteralValue::Bytes(value) => (Value::Bytes(value.inner().to_vec()), Kind::Bytes),
            LiteralValue::Null => (Value::Null, Kind::Null),
            LiteralValue::UInt(_) => {
                return Err(Trouble::new(position, "unsigned integers are not supported"));
            }
        };
        Ok(Expression { node: Node::Literal(value), kind, position })
    }

    fn column(&self, side: Side, name: &str, position: Position) -> Result<Expression, Trouble> {
        let columns = match side {
            Side::Row => self.names.columns,
            Side::Old => &self.names.columns[..self.names.old_columns],
        };
        let Some(index) = columns.iter().position(|column| column.name == name) else {
            let folded = name.to_lowercase();
            let similar = columns.iter().find(|column| column.name.to_lowercase() == folded);
            let hint = similar.map(|column| format!(": {}?", column.name)).unwrap_or_default();
            return Err(Trouble::new(position, format!("the table has no column {name}{hint}")));
        };
        let column = &columns[index];
        let node = match side {
            Side::Row => Node::Column(index),
            Side::Old => Node::Old(index),
        };
        match &column.unreadable {
            Some(reason) if side == Side::Row => Err(Trouble::new(position, reason.clone())),
            _ => Ok(Expression { node, kind: column.kind, position }),
        }
    }

    fn call(&self, call: &CallExpr, position: Position) -> Result<Expression, Trouble> {
        if call.func_name == operators::INDEX {
            return self.index(call, position);
        }
        if call.func_name == operators::IN {
            return self.is_in(call, position);
        }
        let target = call.target.iter().map(|target| &**target);
        let arguments: Vec<Expression> =
            target.chain(&call.args).map(|argument| self.expression(argument)).collect::<Result<_, _>>()?;
        match operator(&call.func_name) {
            Some(kind) => operation(kind, arguments, position),
            None if call.func_name == "coalesce" => coalesce(arguments, position),
            None => called(&call.func_name, arguments, position),
        }
    }

    /// `row["odd name"]`.
    fn index(&self, call: &CallExpr, position: Position) -> Result<Expression, Trouble> {
        if let [operand, index] = &call.args[..]
            && let Some(side) = side(operand)
            && let Expr::Literal(LiteralValue::String(name)) = &index.expr
        {
            return self.column(side, name.inner(), position);
        }
        Err(Trouble::new(position, "only row and old can be indexed, by a column's name: row[\"name\"]"))
    }

    fn is_in(&self, call: &CallExpr, position: Position) -> Result<Expression, Trouble> {
        let [value, list] = &call.args[..] else {
            return Err(Trouble::new(position, "`in` stands between a value and a list"));
        };
        let Expr::List(list) = &list.expr else {
            return Err(Trouble::new(position, "`in` wants a list: … in ['a', 'b']"));
        };
        let mut value = self.expression(value)?;
        let mut elements = Vec::new();
        for element in &list.elements {
            let (left, right) =
                alike(value, self.expression(element)?).map_err(|kinds| mismatch(position, kinds))?;
            value = left;
            elements.push(right);
        }
        // An element may have widened the value after others were compared to it.
        for element in &mut elements {
            let held = std::mem::replace(element, null(position));
            *element = alike(value.clone(), held).map_err(|kinds| mismatch(position, kinds))?.1;
        }
        Ok(Expression {
            node: Node::In { value: Box::new(value), list: elements },
            kind: Kind::Bool,
            position,
        })
    }
}

fn null(position: Position) -> Expression {
    Expression { node: Node::Literal(Value::Null), kind: Kind::Null, position }
}

fn side(node: &IdedExpr) -> Option<Side> {
    match &node.expr {
        Expr::Ident(name) if name == "row" => Some(Side::Row),
        Expr::Ident(name) if name == "old" => Some(Side::Old),
        _ => None,
    }
}

/// What an operator does.
enum Operation {
    If,
    And,
    Or,
    Not,
    Negate,
    Equal { negated: bool },
    Compare(fn(Ordering) -> bool),
    Arithmetic(Operator),
}

fn operator(name: &str) -> Option<Operation> {
    Some(match name {
        operators::CONDITIONAL => Operation::If,
        operators::LOGICAL_AND => Operation::And,
        operators::LOGICAL_OR => Operation::Or,
        operators::LOGICAL_NOT => Operation::Not,
        operators::NEGATE => Operation::Negate,
        operators::EQUALS => Operation::Equal { negated: false },
        operators::NOT_EQUALS => Operation::Equal { negated: true },
        operators::LESS => Operation::Compare(Ordering::is_lt),
        operators::LESS_EQUALS => Operation::Compare(Ordering::is_le),
        operators::GREATER => Operation::Compare(Ordering::is_gt),
        operators::GREATER_EQUALS => Operation::Compare(Ordering::is_ge),
        operators::ADD => Operation::Arithmetic(Operator::Add),
        operators::SUBSTRACT => Operation::Arithmetic(Operator::Subtract),
        operators::MULTIPLY => Operation::Arithmetic(Operator::Multiply),
        operators::DIVIDE => Operation::Arithmetic(Operator::Divide),
        operators::MODULO => Operation::Arithmetic(Operator::Remainder),
        _ => return None,
    })
}

fn operation(
    operation: Operation,
    operands: Vec<Expression>,
    position: Position,
) -> Result<Expression, Trouble> {
    let made = |node, kind| Ok(Expression { node, kind, position });
    let mut operands = operands.into_iter();
    let mut next = || operands.next().ok_or_else(|| Trouble::new(position, "an operand is missing"));
    match operation {
        Operation::Not => made(Node::Not(Box::new(truth(next()?)?)), Kind::Bool),
        Operation::And => made(Node::And(Box::new([truth(next()?)?, truth(next()?)?])), Kind::Bool),
        Operation::Or => made(Node::Or(Box::new([truth(next()?)?, truth(next()?)?])), Kind::Bool),
        Operation::If => {
            let (condition, then, otherwise) = (truth(next()?)?, next()?, next()?);
            let (then, otherwise) = alike(then, otherwise).map_err(|kinds| mismatch(position, kinds))?;
            let kind = if then.kind == Kind::Null { otherwise.kind } else { then.kind };
            made(Node::If(Box::new([condition, then, otherwise])), kind)
        }
        Operation::Equal { negated } => {
            let (left, right) = (next()?, next()?);
            let (left, right) = alike(left, right).map_err(|kinds| mismatch(position, kinds))?;
            if left.kind == Kind::Json && right.kind == Kind::Json {
                let message = "JSON documents are not compared: compare json_text(…)";
                return Err(Trouble::new(position, message));
            }
            made(Node::Equal { operands: Box::new([left, right]), negated }, Kind::Bool)
        }
        Operation::Compare(accepts) => {
            let (left, right) = (next()?, next()?);
            let (left, right) = alike(left, right).map_err(|kinds| mismatch(position, kinds))?;
            if left.kind == Kind::Json || right.kind == Kind::Json {
                return Err(Trouble::new(position, "JSON documents have no order"));
            }
            made(Node::Compare { operands: Box::new([left, right]), accepts }, Kind::Bool)
        }
        Operation::Negate => {
            let operand = next()?;
            let kind = operand.kind;
            if !(kind.is_number() || kind == Kind::Interval || kind == Kind::Null) {
                return Err(Trouble::new(position, format!("a {kind} cannot be negated")));
            }
            made(Node::Negate(Box::new(operand)), kind)
        }
        Operation::Arithmetic(operator) => arithmetic(operator, next()?, next()?, position),
    }
}

fn arithmetic(
    operator: Operator,
    left: Expression,
    right: Expression,
    position: Position,
) -> Result<Expression, Trouble> {
    let is_time = |kind| matches!(kind, Kind::Timestamp | Kind::DateTime);
    let (left, right) = if is_time(left.kind) && right.kind == Kind::Text {
        // A moment or a span.
        let (kind, span) = (left.kind, converted(right.clone(), Kind::Interval));
        match span.or_else(|_| converted(right, kind)) {
            Ok(right) => (left, right),
            Err(right) => return Err(mismatch(position, (left.kind, right.kind))),
        }
    } else if result_kind(operator, left.kind, right.kind).is_some() {
        (left, right)
    } else {
        alike(left, right).map_err(|kinds| mismatch(position, kinds))?
    };
    match result_kind(operator, left.kind, right.kind) {
        Some(kind) => Ok(Expression {
            node: Node::Arithmetic { operator, operands: Box::new([left, right]) },
            kind,
            position,
        }),
        None => Err(mismatch(position, (left.kind, right.kind))),
    }
}

fn coalesce(arguments: Vec<Expression>, position: Position) -> Result<Expression, Trouble> {
    let Some(mut kind) = arguments.first().map(|first| first.kind) else {
        return Err(Trouble::new(position, "coalesce wants one argument or more"));
    };
    for argument in &arguments {
        let (left, right) = alike(Expression { kind, ..null(position) }, argument.clone())
            .map_err(|kinds| mismatch(position, kinds))?;
        kind = if left.kind == Kind::Null { right.kind } else { left.kind };
    }
    let converted = arguments.into_iter().map(|argument| {
        converted(argument, kind).map_err(|argument| {
            Trouble::new(position, format!("a {} and a {kind} do not go together", argument.kind))
        })
    });
    Ok(Expression { node: Node::Coalesce(converted.collect::<Result<_, _>>()?), kind, position })
}

fn called(name: &str, arguments: Vec<Expression>, position: Position) -> Result<Expression, Trouble> {
    let forms = functions::named(name);
    if forms.is_empty() {
        return Err(Trouble::new(position, unknown_function(name)));
    }
    let counted: Vec<&'static Function> = forms
        .iter()
        .copied()
        .filter(|form| {
            arguments.len() == form.takes.len() || (form.rest.is_some() && arguments.len() > form.takes.len())
        })
        .collect();
    let exact =
        counted.iter().find(|form| fits(form, &arguments, |kind, takes| kind == takes || kind == Kind::Null));
    let fitting = exact.or_else(|| counted.iter().find(|form| fits(form, &arguments, widens)));
    let fitting = fitting.or_else(|| {
        counted.iter().find(|form| {
            let takes = |at: usize| form.takes.get(at).or(form.rest.as_ref());
            arguments.iter().enumerate().all(|(at, argument)| match takes(at) {
                Some(Takes::Is(kind)) => converted(argument.clone(), *kind).is_ok(),
                Some(_) => true,
                None => false,
            })
        })
    });
    let Some(form) = fitting else {
        let given: Vec<String> = arguments.iter().map(|argument| argument.kind.to_string()).collect();
        let known: Vec<String> = forms.iter().map(|form| signature(form)).collect();
        return Err(Trouble::new(
            position,
            format!("{name}({}) does not exist: there is {}", given.join(", "), known.join(", ")),
        ));
    };
    let mut prepared = Vec::with_capacity(arguments.len());
    for (at, argument) in arguments.into_iter().enumerate() {
        let takes = form.takes.get(at).or(form.rest.as_ref()).copied().unwrap_or(Takes::Any);
        prepared.push(match takes {
            Takes::Any => argument,
            Takes::Is(kind) => converted(argument, kind).map_err(|argument| {
                Trouble::new(position, format!("a {} is not taken here", argument.kind))
            })?,
            Takes::Literal(literal) => {
                let Node::Literal(Value::Text(text)) = &argument.node else {
                    let message = format!("argument {} of {name} has to be a literal string", at + 1);
                    return Err(Trouble::new(argument.position, message));
                };
                functions::check_literal(literal, text)
                    .map_err(|message| Trouble::new(argument.position, message))?;
                argument
            }
        });
    }
    Ok(Expression { node: Node::Call { function: form, arguments: prepared }, kind: form.returns, position })
}

fn fits(form: &Function, arguments: &[Expression], accepts: impl Fn(Kind, Kind) -> bool) -> bool {
    arguments.iter().enumerate().all(|(at, argument)| match form.takes.get(at).or(form.rest.as_ref()) {
        Some(Takes::Is(kind)) => accepts(argument.kind, *kind),
        Some(Takes::Literal(_)) => argument.kind == Kind::Text,
        Some(Takes::Any) => true,
        None => false,
    })
}

fn signature(form: &Function) -> String {
    let word = |takes: &Takes| match takes {
        Takes::Is(kind) => kind.to_string(),
        Takes::Any => "any".to_owned(),
        Takes::Literal(_) => "literal".to_owned(),
    };
    let mut words: Vec<String> = form.takes.iter().map(word).collect();
    words.extend(form.rest.as_ref().map(|rest| format!("{}…", word(rest))));
    format!("{}({})", form.name, words.join(", "))
}

/// Whether a kind is taken for another one by itself.
fn widens(from: Kind, to: Kind) -> bool {
    from == to || from == Kind::Null || (from == Kind::Int && matches!(to, Kind::Decimal | Kind::Double))
}

/// An expression as one of a kind, if that loses nothing; otherwise the expression.
pub(super) fn converted(expression: Expression, kind: Kind) -> Result<Expression, Expression> {
    if expression.kind == kind || expression.kind == Kind::Null {
        return Ok(expression);
    }
    let position = expression.position;
    if widens(expression.kind, kind) {
        return Ok(Expression { node: Node::Widen(Box::new(expression)), kind, position });
    }
    let literal = match (&expression.node, kind) {
        // As it was written: what a double cannot hold exactly is no literal decimal.
        (Node::Literal(Value::Double(value)), Kind::Decimal) => {
            Decimal::of_double(*value).filter(|decimal| digits(decimal) <= 15).map(Value::Decimal)
        }
        // A string that says what it is meant as.
        (
            Node::Literal(Value::Text(text)),
            Kind::Timestamp | Kind::DateTime | Kind::Date | Kind::Interval | Kind::Json,
        ) => Value::read(text, kind),
        _ => None,
    };
    match literal {
        Some(value) => Ok(Expression { node: Node::Literal(value), kind, position }),
        None => Err(expression),
    }
}

fn digits(decimal: &Decimal) -> usize {
    decimal.text().bytes().filter(u8::is_ascii_digit).count()
}

/// Two operands as ones of one kind; otherwise their kinds.
fn alike(left: Expression, right: Expression) -> Result<(Expression, Expression), (Kind, Kind)> {
    let (kind, wanted) = (right.kind, left.kind);
    if left.kind == Kind::Null {
        return Ok((left, right));
    }
    match converted(right, wanted) {
        Ok(right) => Ok((left, right)),
        Err(right) => match converted(left, kind) {
            Ok(left) => Ok((left, right)),
            Err(_) => Err((wanted, kind)),
        },
    }
}

fn mismatch(position: Position, (left, right): (Kind, Kind)) -> Trouble {
    let hint = match (left, right) {
        (Kind::Decimal, Kind::Double) | (Kind::Double, Kind::Decimal) => {
            ": a double is not exact; say decimal(…) or double(…)".to_owned()
        }
        (Kind::Text, other) | (other, Kind::Text) => format!(": say {other}(…) or string(…)"),
        (Kind::Timestamp | Kind::DateTime | Kind::Date, Kind::Timestamp | Kind::DateTime | Kind::Date) => {
            format!(": say {left}(…) or {right}(…)")
        }
        _ => String::new(),
    };
    Trouble::new(position, format!("a {left} and a {right} do not go together{hint}"))
}

fn truth(expression: Expression) -> Result<Expression, Trouble> {
    if matches!(expression.kind, Kind::Bool | Kind::Null) {
        return Ok(expression);
    }
    let message = format!("a condition is true or false, and this is a {}", expression.kind);
    Err(Trouble::new(expression.position, message))
}

fn is_null(column: Expression, negated: bool, position: Position) -> Expression {
    let operands = Box::new([column, null(position)]);
    Expression { node: Node::Equal { operands, negated }, kind: Kind::Bool, position }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
