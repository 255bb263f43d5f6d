//! Text to a syntax tree: the crate `cel` parses, everything after that is ours, because rules need values that CEL does not
//! have (decimals, microseconds, infinity) and kinds that are known before a row comes.

use cel::IdedExpr;
use cel::common::ast::{Expr, SourceInfo};
use cel::parser::Parser;

use super::functions;
use super::trouble::{Position, Trouble};

/// What an expression can name besides functions.
pub(super) const VARIABLES: [&str; 5] = ["row", "old", "op", "table", "commit_time"];

/// A parsed expression.
pub(super) struct Syntax {
    pub(super) tree: IdedExpr,
    source: String,
    info: SourceInfo,
}

impl Syntax {
    pub(super) fn parse(text: &str) -> Result<Self, Trouble> {
        let parser = Parser::new().enable_ident_escape_syntax(true);
        match parser.parse_with_source_info(text) {
            Ok((tree, info)) => Ok(Self { tree, source: text.to_owned(), info }),
            Err(errors) => Err(errors.errors.first().map_or_else(
                || Trouble::new(Position::default(), "cannot be read as an expression"),
                |error| {
                    let number = |part: isize| usize::try_from(part).unwrap_or(1).max(1);
                    let position = Position { line: number(error.pos.0), column: number(error.pos.1) };
                    Trouble::new(position, plain(&error.msg))
                },
            )),
        }
    }

    /// Where a node stands: its operator, or its first letter.
    pub(super) fn position(&self, node: &IdedExpr) -> Position {
        let start = self.info.offset_for(node.id).map_or(0, |(start, _)| start as usize);
        let start = match &node.expr {
            // Behind the point.
            Expr::Select(select) if !select.test => start + 1,
            // The parser points at the parenthesis of a call.
            Expr::Call(call) if self.source.as_bytes().get(start) == Some(&b'(') => {
                let before = self.source.get(..start).unwrap_or_default().trim_end();
                before.len().saturating_sub(call.func_name.len())
            }
            _ => start,
        };
        Position::of(&self.source, start)
    }
}

/// The parser lists every token that it would have taken, which helps nobody.
fn plain(message: &str) -> String {
    let message = message.trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or(message);
    message.replace("'<EOF>'", "the end").replace("<EOF>", "the end")
}

/// Checks what can be checked of an expression without the table: its syntax, and the names of variables and functions.
///
/// # Errors
/// What is wrong, after the position.
pub fn check_expression(text: &str) -> Result<(), String> {
    let syntax = Syntax::parse(text).map_err(|trouble| trouble.to_string())?;
    let references = syntax.tree.references();
    let mut variables = references.variables();
    variables.sort_unstable();
    if let Some(unknown) = variables.into_iter().find(|name| !VARIABLES.contains(name)) {
        return Err(unknown_variable(unknown));
    }
    let mut functions = references.functions();
    functions.sort_unstable();
    let is_word = |name: &&str| name.starts_with(|first: char| first.is_ascii_alphabetic());
    if let Some(unknown) = functions.into_iter().filter(is_word).find(|name| !functions::exists(name)) {
        return Err(unknown_function(unknown));
    }
    Ok(())
}

pub(super) fn unknown_variable(name: &str) -> String {
    format!("there is no {name}; expressions see row, old, op, table and commit_time: row.{name}?")
}

pub(super) fn unknown_function(name: &str) -> String {
    match functions::similar(name) {
        Some(similar) => format!("there is no function {name}: {similar}?"),
        None => format!("there is no function {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_without_any_table_is_told() {
        for (text, expected) in [
            ("row.a +", "line 1, column 8: mismatched input the end"),
            ("row.a ==\n $1", "line 2, column 2: token recognition error"),
            ("email", "there is no email"),
            ("Mask(row.email, 2)", "there is no function Mask: mask?"),
            ("nope(1)", "there is no function nope"),
        ] {
            let found = check_expression(text).unwrap_err();
            assert!(found.starts_with(expected), "{text}: {found}");
        }
        for text in
            ["row.a == 'x' && commit_time > old.at", "row[\"größe\"] in [1, 2]", "row.a.contains('x')"]
        {
            assert_eq!(check_expression(text), Ok(()), "{text}");
        }
    }
}
