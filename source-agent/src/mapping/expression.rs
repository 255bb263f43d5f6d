//! Rewrites deparsed texts for the destination's names.
//!
//! A text over one table names its columns without a qualifier, and everything else with its schema, because it was deparsed
//! under `search_path = pg_catalog`. So an identifier is a column unless its neighbours say otherwise: a dot, a parenthesis
//! behind it, `::` or an operand before it, or a keyword that takes a name. What refers to a column that is left out is
//! refused: it cannot exist at the destination.

use std::collections::BTreeSet;
use std::fmt;

use strait_postgres::quote;

use super::ColumnMap;
use super::lexer::{Kind, Token, tokens};
use super::names::{Name, Names};

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
    /// What it has that is not followed, as the end of a sentence about it.
    Other(String),
}

impl Refusal {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self::Other(reason.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut(column) => write!(f, "it needs column {column}, which the task leaves out"),
            Self::Other(reason) => write!(f, "{reason}"),
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
    rewrite_noting(text, names, scope).map(|(text, _)| text)
}

/// The rewritten text, and what it mentions by the source's names.
pub(super) fn rewrite_noting(
    text: &str,
    names: &Names,
    scope: Option<&Scope<'_>>,
) -> Result<(String, Mentions), Refusal> {
    let tokens = tokens(text);
    let mut rewriter = Rewriter::new(&tokens, names, scope);
    while !rewriter.is_done() {
        rewriter.step()?;
    }
    Ok((rewriter.written, rewriter.mentions))
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

/// Whether it is called, and its name at the source.
pub(super) type Mentions = BTreeSet<(bool, Name)>;

pub(super) struct Rewriter<'a> {
    tokens: &'a [Token<'a>],
    names: &'a Names,
    pub(super) scope: Option<&'a Scope<'a>>,
    at: usize,
    pub(super) written: String,
    pub(super) mentions: Mentions,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(tokens: &'a [Token<'a>], names: &'a Names, scope: Option<&'a Scope<'a>>) -> Self {
        Self { tokens, names, scope, at: 0, written: String::new(), mentions: Mentions::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn is_at_space(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|it| it.kind == Kind::Space)
    }

    pub(super) fn keep_spaces(&mut self) {
        while self.is_at_space() {
            self.keep();
        }
    }

    /// Takes over so many tokens, and the spaces before each.
    pub(super) fn keep_significant(&mut self, count: usize) {
        for _ in 0..count {
            self.keep_spaces();
            if !self.is_done() {
                self.keep();
            }
        }
    }

    /// Writes something else for so many tokens.
    pub(super) fn replace_all(&mut self, count: usize, text: &str) {
        self.written.push_str(text);
        self.skip(count);
    }

    /// Passes over the `schema.name` that comes next.
    pub(super) fn take_pair(&mut self) -> Name {
        let name = |it: Option<Token<'_>>| it.map(|it| it.name()).unwrap_or_default();
        let pair = (name(self.next(0)), name(self.next(2)));
        self.mentions.insert((false, pair.clone()));
        self.skip(3);
        pair
    }

    /// Passes over the `(a, b)` that comes next.
    pub(super) fn take_list(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(token) = self.next(0) {
            self.skip(1);
            if token.is_identifier() {
                names.push(token.name());
            } else if token.is(")") {
                break;
            }
        }
        names
    }

    /// Takes over the next token, or what belongs together with it.
    pub(super) fn step(&mut self) -> Result<(), Refusal> {
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

    pub(super) fn keep(&mut self) {
        self.written.push_str(self.tokens[self.at].text);
        self.at += 1;
    }

    /// The token so many behind this one; spaces do not count.
    pub(super) fn next(&self, distance: usize) -> Option<Token<'a>> {
        self.tokens[self.at..].iter().filter(|it| it.kind != Kind::Space).nth(distance).copied()
    }

    /// The token so many before this one; spaces do not count.
    pub(super) fn previous(&self, distance: usize) -> Option<Token<'a>> {
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

    pub(super) fn identifier(&mut self, token: Token<'a>) -> Result<(), Refusal> {
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
    pub(super) fn qualified(&mut self, first: Token<'a>) -> Result<(), Refusal> {
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
            self.mentions.insert((is_function, (schema.clone(), name.clone())));
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
            self.mentions.insert((false, (schema.clone(), name.clone())));
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
            match rewrite_noting(&content, self.names, None) {
                Ok((text, mentions)) => {
                    self.mentions.extend(mentions);
                    text
                }
                // Without columns nothing is refused.
                Err(_) => content.clone(),
            }
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
    pub(super) fn skip(&mut self, count: usize) {
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
