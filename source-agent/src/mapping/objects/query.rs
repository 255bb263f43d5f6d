//! Rewrites queries, as PostgreSQL's deparse functions print them, for the destination's names.
//!
//! Only what stands in the place of a relation has to be replaced: `FROM s.t` becomes `FROM new.u t`, and where columns are
//! called otherwise `FROM new.u t(a, b)`, so that everything else in the query goes on naming what it names at the source. USING,
//! what comes out, and the names of subqueries stay as they are. Columns that are written to, and those of `new` and `old`, have no
//! such list: they are replaced one by one, by the name that the statement knows their relation by, which is unique within it.

use std::collections::{BTreeMap, BTreeSet};

use strait_postgres::quote;

use super::super::expression::{Mentions, Refusal, Rewriter, Scope};
use super::super::lexer::{Token, tokens};
use super::super::names::Name;
use super::known::{Known, Relation};

/// Where a query stands.
#[derive(Default)]
pub(super) struct Surroundings<'a> {
    /// The columns that bare names outside of every query are.
    pub(super) scope: Option<&'a Scope<'a>>,
    /// Names of relations that stand in no FROM: `new`, `old`, and the table of a condition, with what to call it.
    pub(super) rows: Vec<(String, Name, String)>,
    /// Columns are printed with the name of their relation, however few there are.
    pub(super) prefixed: bool,
    /// The text is a query from its beginning, not a condition.
    pub(super) is_query: bool,
}

/// A text for the destination, and what it mentions.
pub(super) struct Followed {
    pub(super) text: String,
    pub(super) mentions: Mentions,
}

/// Rewrites a text that may have queries in it.
pub(super) fn follow(
    text: &str,
    known: &Known<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Followed, Refusal> {
    let tokens = tokens(text);
    // Once to learn what the query itself gives names to, which stands behind what uses them.
    let first = Query::new(&tokens, known, surroundings, Given::default()).run()?;
    let query = Query::new(&tokens, known, surroundings, first.given).run()?;
    Ok(Followed { text: query.inner.written, mentions: query.inner.mentions })
}

/// What names go by that are no schemas.
#[derive(Default)]
struct Given<'a> {
    aliases: BTreeSet<String>,
    /// Those of relations in FROM.
    listed: Vec<(String, &'a Relation)>,
}

/// What a pair of parentheses holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Query,
    /// Joined relations.
    Join,
    /// Columns to write to.
    Columns,
    Other,
}

struct Frame {
    within: Within,
    /// In a list of relations.
    from: bool,
    /// A relation comes next.
    expecting: bool,
    /// `SET`: a column to write to comes next.
    setting: Option<bool>,
    /// USING begins a list of relations.
    using: bool,
}

impl Frame {
    fn new(within: Within) -> Self {
        let from = within == Within::Join;
        Self { within, from, expecting: from, setting: None, using: false }
    }
}

struct Query<'a> {
    inner: Rewriter<'a>,
    known: &'a Known<'a>,
    surroundings: &'a Surroundings<'a>,
    frames: Vec<Frame>,
    given: Given<'a>,
    /// Relations whose columns are replaced one by one, with what to call them.
    rows: BTreeMap<String, (&'a Relation, String)>,
    /// What the statement at hand writes to, where its columns are called otherwise.
    written_to: Option<(&'a Relation, bool)>,
    /// A join whose columns have names by their places.
    join_has_list: bool,
}

/// Keywords behind which no relations are listed.
const ENDS_FROM: [&str; 17] = [
    "SELECT",
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "VALUES",
    "RETURNING",
    "SET",
    "WHEN",
];
const BEGINS_QUERY: [&str; 7] = ["SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE"];

impl<'a> Query<'a> {
    fn new(
        tokens: &'a [Token<'a>],
        known: &'a Known<'a>,
        surroundings: &'a Surroundings<'a>,
        given: Given<'a>,
    ) -> Self {
        let rows = surroundings.rows.iter().filter_map(|(alias, name, target)| {
            Some((alias.clone(), (known.relation(name)?, target.clone())))
        });
        let within = if surroundings.is_query { Within::Query } else { Within::Other };
        Self {
            inner: Rewriter::new(tokens, known.names, surroundings.scope),
            known,
            surroundings,
            frames: vec![Frame::new(within)],
            given,
            rows: rows.collect(),
            written_to: None,
            join_has_list: false,
        }
    }

    fn run(mut self) -> Result<Self, Refusal> {
        while !self.inner.is_done() {
            self.step()?;
        }
        if self.join_has_list && self.given.listed.iter().any(|(_, relation)| relation.lacks_columns()) {
            return Err(Refusal::because(
                "it names the columns of a join, of which the task leaves some out",
            ));
        }
        Ok(self)
    }

    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::new(Within::Other));
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn step(&mut self) -> Result<(), Refusal> {
        let Some(token) = self.inner.next(0).filter(|_| !self.inner.is_at_space()) else {
            self.inner.keep();
            return Ok(());
        };
        if token.is_identifier() {
            return self.identifier(token);
        }
        match token.text {
            "(" => self.open(),
            ")" => self.close(),
            "," => {
                let top = self.top();
                top.expecting |= top.from && top.within == Within::Query;
                top.setting = top.setting.map(|_| true);
            }
            "=" => {
                let top = self.top();
                top.setting = top.setting.map(|_| false);
            }
            "JOIN" => self.top().expecting = true,
            "FROM" => return self.from(),
            "USING" if self.top().using => {
                let top = self.top();
                (top.using, top.from, top.expecting) = (false, true, true);
            }
            "INSERT" if self.inner.next(1).is_some_and(|it| it.is("INTO")) => {
                self.inner.keep_significant(2);
                return self.target(true);
            }
            "MERGE" => {
                self.inner.keep_significant(2);
                return self.target(false);
            }
            "UPDATE" if self.is_statement() => {
                self.inner.keep_significant(1);
                return self.target(false);
            }
            "ON" if self.inner.next(1).is_some_and(|it| it.is("CONFLICT")) => self.only_inserts()?,
            ";" => {
                let top = self.top();
                *top = Frame::new(top.within);
                self.written_to = None;
            }
            "ON" => (self.top().from, self.top().expecting) = (self.top().within == Within::Join, false),
            word if ENDS_FROM.contains(&word) => {
                let top = self.top();
                (top.from, top.expecting) = (false, false);
                top.setting = (word == "SET").then_some(true);
                if word == "RETURNING" && self.top().within == Within::Query {
                    self.only_inserts()?;
                    self.inner.keep();
                    return Ok(());
                }
            }
            _ => {}
        }
        self.inner.scope = self.surroundings.scope.filter(|_| !self.in_query());
        self.inner.step()
    }

    fn in_query(&self) -> bool {
        self.frames.iter().any(|frame| frame.within == Within::Query)
    }

    fn open(&mut self) {
        let begins_query = self.inner.next(1).is_some_and(|it| BEGINS_QUERY.contains(&it.text));
        let top = self.top();
        let within = if begins_query {
            Within::Query
        } else if top.expecting {
            Within::Join
        } else if top.setting == Some(true) {
            Within::Columns
        } else {
            Within::Other
        };
        top.expecting = false;
        self.frames.push(Frame::new(within));
    }

    fn close(&mut self) {
        let closed = self.frames.pop();
        let is_join = closed.is_some_and(|frame| frame.within == Within::Join);
        let has_list = self.inner.next(1).is_some_and(|it| it.is_identifier())
            && self.inner.next(2).is_some_and(|it| it.is("("));
        self.join_has_list |= is_join && has_list;
    }

    /// UPDATE as a statement, not as what rows are locked for or what an event is.
    fn is_statement(&self) -> bool {
        let is_relation = |at| {
            self.inner.next(at).is_some_and(|it| it.is_identifier())
                && self.inner.next(at + 1).is_some_and(|it| it.is("."))
        };
        is_relation(1) || self.inner.next(1).is_some_and(|it| it.is("ONLY")) && is_relation(2)
    }

    fn from(&mut self) -> Result<(), Refusal> {
        let before = |distance: usize, words: &[&str]| {
            self.inner.previous(distance).is_some_and(|it| words.contains(&it.text))
        };
        let compares = before(1, &["DISTINCT"]) && before(2, &["IS", "NOT"]);
        let (deletes, rows) = (before(1, &["DELETE"]), before(1, &["ROWS"]));
        self.inner.keep();
        if deletes {
            return self.target(false);
        }
        let top = self.top();
        if rows {
            top.expecting = false;
        } else if top.within == Within::Query && !compares {
            (top.from, top.expecting) = (true, true);
        }
        Ok(())
    }

    fn identifier(&mut self, token: Token<'a>) -> Result<(), Refusal> {
        let is = |it: Option<Token<'_>>, text: &str| it.is_some_and(|it| it.is(text));
        let name = token.name();
        let top = self.top();
        let (from, within, setting) = (top.from, top.within, top.setting);
        let expecting = std::mem::take(&mut top.expecting);
        let qualified = is(self.inner.next(1), ".");
        if expecting && qualified && !is(self.inner.next(3), "(") {
            return self.relation();
        }
        if qualified && !is(self.inner.previous(1), ".") {
            return self.pair(token);
        }
        if within == Within::Columns || setting == Some(true) {
            self.top().setting = setting.map(|_| false);
            if let Some((relation, _)) = self.written_to {
                return self.column(relation, None, 1);
            }
        } else if from && matches!(within, Within::Query | Within::Join) {
            self.given.aliases.insert(name.clone());
        } else if !self.in_query() {
            self.inner.scope = self.surroundings.scope;
            return self.inner.identifier(token);
        }
        let is_field = is(self.inner.previous(1), ".")
            && self.inner.previous(2).is_some_and(|it| it.is(")") || it.is("]"));
        if is_field && self.known.is_changed_field(&name) {
            return Err(Refusal::because(format!("it takes the field {name} out of a row")));
        }
        self.inner.keep();
        Ok(())
    }

    /// `a.b`, where no relation has to stand.
    fn pair(&mut self, token: Token<'a>) -> Result<(), Refusal> {
        let Some(second) = self.inner.next(2) else {
            self.inner.keep();
            return Ok(());
        };
        let name = (token.name(), second.name());
        let calls = self.inner.next(3).is_some_and(|it| it.is("("));
        if let Some((relation, target)) = self.rows.get(&name.0).cloned() {
            return if second.is("*") {
                self.whole_row(relation, &target)
            } else {
                self.column(relation, Some(&target), 3)
            };
        }
        if second.is("*") {
            let listed = self.given.listed.iter().find(|(alias, it)| *alias == name.0 && it.lacks_columns());
            if listed.is_some() {
                return Err(Refusal::WholeRow);
            }
            self.inner.keep_significant(3);
            return Ok(());
        }
        let is_column = self.given.aliases.contains(&name.0) && !calls
            || !calls
                && second.is_identifier()
                && !self.known.is_object(&name)
                && !self.inner.previous(1).is_some_and(|it| it.is("COLLATE"));
        if is_column {
            self.inner.keep_significant(3);
            return Ok(());
        }
        self.inner.qualified(token)
    }

    fn whole_row(&mut self, relation: &Relation, target: &str) -> Result<(), Refusal> {
        if relation.lacks_columns() {
            return Err(Refusal::WholeRow);
        }
        self.inner.replace_all(3, &format!("{}.*", quote::identifier(target)));
        Ok(())
    }

    /// A column of a relation that has it otherwise, `count` tokens long.
    fn column(&mut self, relation: &Relation, alias: Option<&str>, count: usize) -> Result<(), Refusal> {
        let name = self.inner.next(count - 1).map(|it| it.name()).unwrap_or_default();
        let target = match relation.column(&name) {
            Some(Some(target)) => target.clone(),
            Some(None) => return Err(Refusal::LeftOut(name)),
            // A system column.
            None => name,
        };
        let column = quote::identifier(&target);
        let text = alias.map_or(column.clone(), |alias| format!("{}.{column}", quote::identifier(alias)));
        self.inner.replace_all(count, &text);
        Ok(())
    }

    /// `s.t`, in the place of a relation to read.
    fn relation(&mut self) -> Result<(), Refusal> {
        let only = self.inner.previous(1).is_some_and(|it| it.is("ONLY"));
        let name = self.inner.take_pair();
        let target = self.known.names.object(&name.0, &name.1);
        let own_alias = self.inner.next(0).filter(|it| it.is_identifier());
        let alias = own_alias.map_or_else(|| name.1.clone(), |it| it.name());
        self.given.aliases.insert(alias.clone());
        let Some(relation) = self.known.relation(&name) else {
            self.inner.written.push_str(&quote::qualified(&target.0, &target.1));
            if own_alias.is_none() && target.1 != name.1 {
                self.inner.written.push_str(&format!(" {}", quote::identifier(&alias)));
            }
            return Ok(());
        };
        self.given.listed.push((alias.clone(), relation));
        let list = own_alias.and_then(|_| {
            self.inner.skip(1);
            self.inner.next(0).filter(|it| it.is("(")).map(|_| self.inner.take_list())
        });
        let table = quote::qualified(&relation.target.0, &relation.target.1);
        let as_alias = quote::identifier(&alias);
        if list.is_none() && !relation.is_renamed() {
            let needs_alias = own_alias.is_some() || relation.target.1 != name.1;
            let alias = if needs_alias { format!(" {as_alias}") } else { String::new() };
            self.inner.written.push_str(&format!("{table}{alias}"));
            return Ok(());
        }
        let names = list.unwrap_or_else(|| relation.columns.iter().map(|(name, _)| name.clone()).collect());
        if names.len() != relation.columns.len() {
            return Err(Refusal::because(format!(
                "it names some columns of {}.{} by their places",
                name.0, name.1
            )));
        }
        let carried = names
            .iter()
            .zip(&relation.columns)
            .filter_map(|(name, (_, target))| Some((name, target.as_ref()?)));
        let text = if self.known.by_name {
            if only || self.inner.next(0).is_some_and(|it| it.is("TABLESAMPLE")) {
                return Err(Refusal::because(
                    "the destination's table may have its columns in another order, which ONLY and TABLESAMPLE do not allow for",
                ));
            }
            let columns: Vec<String> = carried
                .map(|(name, target)| format!("{} AS {}", quote::identifier(target), quote::identifier(name)))
                .collect();
            format!("(SELECT {} FROM {table}) {as_alias}", columns.join(", "))
        } else {
            let columns: Vec<String> = carried.map(|(name, _)| quote::identifier(name)).collect();
            format!("{table} {as_alias}({})", columns.join(", "))
        };
        self.inner.written.push_str(&text);
        Ok(())
    }

    /// The relation that a statement writes to.
    fn target(&mut self, inserts: bool) -> Result<(), Refusal> {
        if self.inner.next(0).is_some_and(|it| it.is("ONLY")) {
            self.inner.keep_significant(1);
        }
        self.inner.keep_spaces();
        let top = self.top();
        (top.from, top.expecting, top.using) = (false, false, !inserts);
        let name = self.inner.take_pair();
        let target = self.known.names.object(&name.0, &name.1);
        let has_as = self.inner.next(0).is_some_and(|it| it.is("AS"));
        if has_as {
            self.inner.skip(1);
        }
        let own_alias = self.inner.next(0).filter(|it| it.is_identifier());
        if own_alias.is_some() {
            self.inner.skip(1);
        }
        let alias = own_alias.map_or_else(|| name.1.clone(), |it| it.name());
        self.given.aliases.insert(alias.clone());
        let needs_alias = own_alias.is_some() || target.1 != name.1;
        let table = quote::qualified(&target.0, &target.1);
        let suffix = if needs_alias { format!(" AS {}", quote::identifier(&alias)) } else { String::new() };
        self.inner.written.push_str(&format!("{table}{suffix}"));
        let changed = self.known.relation(&name).filter(|relation| relation.is_changed());
        self.written_to = changed.map(|relation| (relation, inserts));
        let Some(relation) = changed else { return Ok(()) };
        if !inserts && !self.surroundings.prefixed {
            return Err(Refusal::because(format!(
                "it writes to {}.{}, whose columns are called otherwise or left out",
                name.0, name.1
            )));
        }
        if inserts && self.inner.next(0).is_some_and(|it| it.is("(")) {
            self.inner.keep_significant(1);
            self.frames.push(Frame::new(Within::Columns));
        }
        self.rows.insert(alias.clone(), (relation, alias));
        Ok(())
    }

    /// What comes back from an INSERT, or meets a row that is there, names columns in ways that are not followed.
    fn only_inserts(&self) -> Result<(), Refusal> {
        match self.written_to {
            Some((relation, true)) => Err(Refusal::because(format!(
                "it has ON CONFLICT or RETURNING for {}.{}, whose columns are called otherwise or left out",
                relation.source.0, relation.source.1
            ))),
            _ => Ok(()),
        }
    }
}
