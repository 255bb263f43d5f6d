//! Rewrites deparsed texts for the destination's names.
//!
//! A text over one table names its columns without a qualifier, and everything else with its schema, because it was deparsed
//! under `search_path = pg_catalog`. So an identifier is a column unless its neighbours say otherwise: a dot, a parenthesis
//! behind it, `::` or an operand before it, or a keyword that takes a name. What refers to a column that is left out is
//! refused: it cannot exist at the destination.

use std::fmt;

use strait_postgres::quote;

use super::ColumnMap;
use super::lexer::{Kind, Token, tokens};
use super::names::Names;

/// The table whose columns a text names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// Its name at the source, without the schema.
    pub(super) table: &'a str,
    pub(super) target: &'a str,
    pub(super) columns: &'a ColumnMap,
}

/// Why a text cannot be had at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It needs this column.
    LeftOut(String),
    /// It needs the whole row, of which some columns are left out.
    WholeRow,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut(column) => write!(f, "it needs column {column}, which the task leaves out"),
            Self::WholeRow => write!(f, "it needs the whole row, of which the task leaves columns out"),
        }
    }
}

/// Keywords before a name that is no column.
const BEFORE_NAMES: [&str; 5] = ["USING", "COLLATE", "NAME", "AS", "RETURNING"];

/// Words that go on with the name of a type.
const IN_TYPES: [&str; 13] = [
    "precision",
    "varying",
    "without",
    "with",
    "time",
    "zone",
    "to",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
];

/// Rewrites a text; without a scope there are no columns in it.
pub(super) fn rewrite(text: &str, names: &Names, scope: Option<&Scope<'_>>) -> Result<String, Refusal> {
    let tokens = tokens(text);
    let mut rewriter = Rewriter { tokens: &tokens, names, scope, at: 0, written: String::new() };
    while rewriter.at < tokens.len() {
        rewriter.step()?;
    }
    Ok(rewriter.written)
}

/// The two halves of a foreign key: its own columns, and those that it refers to.
pub(super) fn rewrite_foreign_key(
    text: &str,
    names: &Names,
    own: &Scope<'_>,
    referred: &Scope<'_>,
) -> Result<String, Refusal> {
    let tokens = tokens(text);
    let place = |from: usize, wanted: &str| {
        tokens[from..].iter().position(|it| it.is(wanted)).map_or(tokens.len(), |place| from + place)
    };
    let references = place(0, "REFERENCES");
    let end = (place(references, ")") + 1).min(tokens.len());
    let text = |tokens: &[Token<'_>]| tokens.iter().map(|it| it.text).collect::<String>();
    Ok([
        rewrite(&text(&tokens[..references]), names, Some(own))?,
        rewrite(&text(&tokens[references..end]), names, Some(referred))?,
        rewrite(&text(&tokens[end..]), names, Some(own))?,
    ]
    .concat())
}

/// The columns in the first pair of parentheses of a key's definition.
pub(super) fn key_columns(definition: &str) -> Vec<String> {
    let tokens = tokens(definition);
    let inside = tokens.iter().skip_while(|it| !it.is("(")).take_while(|it| !it.is(")"));
    inside.filter(|it| it.is_identifier()).map(Token::name).collect()
}

struct Rewriter<'a> {
    tokens: &'a [Token<'a>],
    names: &'a Names,
    scope: Option<&'a Scope<'a>>,
    at: usize,
    written: String,
}

impl<'a> Rewriter<'a> {
    /// Takes over the next token, or what belongs together with it.
    fn step(&mut self) -> Result<(), Refusal> {
        let token = self.tokens[self.at];
        if token.is("::") || token.is("RETURNING") {
            self.keep();
            self.type_name();
        } else if token.is("WITH") && self.next(1).is_some_and(|it| it.is("(")) {
            self.options();
        } else if token.kind == Kind::Literal {
            self.literal(token);
        } else if token.is_identifier() {
            return self.identifier(token);
        } else {
            self.keep();
        }
        Ok(())
    }

    fn keep(&mut self) {
        self.written.push_str(self.tokens[self.at].text);
        self.at += 1;
    }

    /// The token so many behind this one; spaces do not count.
    fn next(&self, distance: usize) -> Option<Token<'a>> {
        self.tokens[self.at..].iter().filter(|it| it.kind != Kind::Space).nth(distance).copied()
    }

    /// The token so many before this one; spaces do not count.
    fn previous(&self, distance: usize) -> Option<Token<'a>> {
        self.tokens[..self.at].iter().rev().filter(|it| it.kind != Kind::Space).nth(distance - 1).copied()
    }

    /// `WITH (…)`: parameters of an index.
    fn options(&mut self) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            let token = self.tokens[self.at];
            depth += i32::from(token.is("(")) - i32::from(token.is(")"));
            self.keep();
            if token.is(")") && depth == 0 {
                return;
            }
        }
    }

    fn identifier(&mut self, token: Token<'a>) -> Result<(), Refusal> {
        let is = |token: Option<Token<'_>>, text: &str| token.is_some_and(|it| it.is(text));
        if is(self.next(1), ".") {
            return self.qualified(token);
        }
        let Some(scope) = self.scope else {
            self.keep();
            return Ok(());
        };
        let no_column = is(self.next(1), "(")
            || is(self.next(1), "=>")
            || self.previous(1).is_some_and(|before| {
                before.is(".")
                    || before.is(")")
                    || before.is("]")
                    || before.is_identifier()
                    || BEFORE_NAMES.contains(&before.text)
                    || before.is("(") && is(self.previous(2), "EXTRACT")
            });
        if no_column {
            self.keep();
            return Ok(());
        }
        let name = token.name();
        let target = scope.columns.target(&name).ok_or(Refusal::LeftOut(name.clone()))?;
        self.replace(1, &target, &name, token);
        Ok(())
    }

    /// `schema.name`, `schema.function(…)`, `OPERATOR(schema.+)`, or `table.*`.
    fn qualified(&mut self, first: Token<'a>) -> Result<(), Refusal> {
        let (Some(second), after) = (self.next(2), self.next(3)) else {
            self.keep();
            return Ok(());
        };
        let schema = first.name();
        if second.is("*") && self.scope.is_some_and(|scope| scope.table == schema) {
            return self.whole_row();
        }
        if !second.is_identifier() {
            let (schema, _) = self.names.function(&schema, second.text);
            self.written.push_str(&format!("{}.{}", quote::identifier(&schema), second.text));
        } else if self.previous(1).is_some_and(|before| before.is(".")) {
            self.keep();
            return Ok(());
        } else {
            let name = second.name();
            let is_function = after.is_some_and(|it| it.is("(")) && !self.is_referred();
            let target = if is_function {
                self.names.function(&schema, &name)
            } else {
                self.names.object(&schema, &name)
            };
            if target == (schema, name) {
                self.written.push_str(&format!("{}.{}", first.text, second.text));
            } else {
                self.written.push_str(&quote::qualified(&target.0, &target.1));
            }
        }
        self.skip(3);
        Ok(())
    }

    /// `REFERENCES schema.table(…)` looks like a function.
    fn is_referred(&self) -> bool {
        self.previous(1).is_some_and(|before| before.is("REFERENCES"))
    }

    fn whole_row(&mut self) -> Result<(), Refusal> {
        if let Some(scope) = self.scope {
            if scope.columns.is_subset() {
                return Err(Refusal::WholeRow);
            }
            self.written.push_str(&format!("{}.*", quote::identifier(scope.target)));
        }
        self.skip(3);
        Ok(())
    }

    /// What follows `::`.
    fn type_name(&mut self) {
        while self.tokens.get(self.at).is_some_and(|it| it.kind == Kind::Space) {
            self.keep();
        }
        let Some(first) = self.next(0).filter(Token::is_identifier) else { return };
        if let (true, Some(second)) = (self.next(1).is_some_and(|it| it.is(".")), self.next(2)) {
            let (schema, name) = (first.name(), second.name());
            let target = self.names.object(&schema, &name);
            if target == (schema, name) {
                self.written.push_str(&format!("{}.{}", first.text, second.text));
            } else {
                self.written.push_str(&quote::qualified(&target.0, &target.1));
            }
            self.skip(3);
        } else {
            self.keep();
        }
        loop {
            match self.next(0) {
                Some(next) if next.kind == Kind::Name && IN_TYPES.contains(&next.text) => {
                    self.keep_through(|token| token.kind == Kind::Name);
                }
                Some(next) if next.is("(") => self.keep_through(|token| token.is(")")),
                _ => return,
            }
        }
    }

    fn keep_through(&mut self, is_last: impl Fn(Token<'_>) -> bool) {
        while let Some(token) = self.tokens.get(self.at).copied() {
            self.keep();
            if is_last(token) {
                return;
            }
        }
    }

    /// `'schema.name'::regclass` and its kin name objects within a literal.
    fn literal(&mut self, token: Token<'a>) {
        let of_objects = ["regclass", "regtype", "regproc", "regprocedure", "regcollation"];
        let cast = self.next(1).is_some_and(|it| it.is("::")).then(|| self.next(2)).flatten();
        let Some(cast) = cast.filter(|_| token.text.starts_with('\'')) else { return self.keep() };
        let content = token.text[1..token.text.len().saturating_sub(1)].replace("''", "'");
        let renamed = if cast.is("regnamespace") {
            let name = tokens(&content).first().map(Token::name).unwrap_or_default();
            let target = self.names.schema(&name);
            if target == name { content.clone() } else { quote::identifier(&target) }
        } else if of_objects.contains(&cast.text) {
            // Without columns nothing is refused.
            rewrite(&content, self.names, None).unwrap_or_else(|_| content.clone())
        } else {
            return self.keep();
        };
        if renamed == content {
            return self.keep();
        }
        self.written.push_str(&quote::literal(&renamed));
        self.at += 1;
    }

    /// Writes a name instead of so many tokens; one that stays keeps its spelling.
    fn replace(&mut self, count: usize, target: &str, source: &str, token: Token<'_>) {
        if target == source {
            self.written.push_str(token.text);
        } else {
            self.written.push_str(&quote::identifier(target));
        }
        self.skip(count);
    }

    /// Leaves out so many tokens, spaces not counted.
    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            while self.tokens.get(self.at).is_some_and(|it| it.kind == Kind::Space) {
                self.at += 1;
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
