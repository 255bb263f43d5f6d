//! The rules of a table, compiled, and what they make of a row.
//!
//! In order; each sees the row as those before it left it, and the columns that one rule sets are computed from the same row.
//!
//! Of a row that a change replaces or removes nothing but itself is known, neither the change nor what was before it. So what
//! decides whether a row is left out, and what its key becomes, may depend on the row alone.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use strait_postgres::pgoutput::TupleValue;

use super::compile::{Name, Names, compile, converted};
use super::functions;
use super::kind::Kind;
use super::node::{Expression, Node, Scene};
use super::text::{Needs, TransformText};
use super::trouble::{Position, Trouble};
use super::value::Value;

/// A column of a table, as rules need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// The source's.
    pub(crate) name: String,
    /// None: a type without a kind of its own, whose values are their text.
    pub(crate) kind: Option<Kind>,
    /// It is sent.
    pub(crate) carried: bool,
    /// Rows are identified by it.
    pub(crate) key: bool,
}

/// A column that rules add to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) name: String,
    /// Its type at the destination.
    pub(crate) type_name: String,
}

/// A table's rules.
#[derive(Debug)]
pub(crate) struct Program {
    rules: Vec<Rule>,
    /// How a column's value is read, the added ones last.
    kinds: Vec<Kind>,
    source_columns: usize,
    pub(crate) added: Vec<Added>,
    /// What it needs to know of old rows.
    pub(crate) needs: Needs,
    /// Some rule looks at more than the row: `op`, `old` or `commit_time`.
    pub(crate) is_contextual: bool,
    /// `commit_time` among that.
    pub(crate) uses_commit_time: bool,
}

#[derive(Debug)]
struct Rule {
    when: Option<Expression>,
    action: Action,
    /// The condition looks at more than the row.
    contextual: bool,
    /// It decides about rows or keys.
    essential: bool,
}

#[derive(Debug)]
enum Action {
    Drop,
    Set(Vec<Set>),
}

#[derive(Debug)]
struct Set {
    column: usize,
    name: String,
    expression: Expression,
    contextual: bool,
    essential: bool,
}

/// What is wrong with a rule, or went wrong with it on a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleTrouble {
    /// From 1 on.
    pub(crate) rule: usize,
    /// `when`, `set.email`, `drop`.
    pub(crate) field: String,
    pub(crate) trouble: Trouble,
}

/// Which row rules are applied to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// The new row of a change, or a row that is copied.
    New {
        /// `insert`, `update`, `delete`, `copy`.
        op: &'static str,
        /// Microseconds since 2000-01-01 UTC.
        commit_time: Option<i64>,
        old: Option<&'a [TupleValue]>,
    },
    /// The row that a change replaces or removes.
    Old,
    /// The same, of which nothing but the key is known.
    OldKey,
}

impl Program {
    /// Compiles the rules against the columns of the table.
    ///
    /// # Errors
    /// Everything that is wrong, in order.
    pub(crate) fn compile(text: &TransformText, inputs: &[Input]) -> Result<Self, Vec<RuleTrouble>> {
        let mut builder = Builder::new(text, inputs);
        let mut rules = Vec::new();
        for (index, rule) in text.rules.iter().enumerate() {
            rules.extend(builder.rule(index + 1, rule));
        }
        builder.finish(rules)
    }

    /// How many columns a row has once rules were applied.
    pub(crate) fn width(&self) -> usize {
        self.kinds.len()
    }

    /// Applies the rules to a row of the source's columns, to which the added ones are appended. False: it is left out.
    ///
    /// # Errors
    /// Where an expression cannot be evaluated on it.
    pub(crate) fn apply(&self, row: &mut Vec<TupleValue>, subject: Subject<'_>) -> Result<bool, RuleTrouble> {
        debug_assert_eq!(row.len(), self.source_columns);
        row.resize(self.width(), TupleValue::Null);
        let (is_new, key_only) = match subject {
            Subject::New { .. } => (true, false),
            Subject::Old => (false, false),
            Subject::OldKey => (false, true),
        };
        let applies = |contextual: bool, essential: bool| (is_new || !contextual) && (essential || !key_only);
        for (index, rule) in self.rules.iter().enumerate() {
            if !applies(rule.contextual, rule.essential) {
                continue;
            }
            let failed = |field: String| move |trouble| RuleTrouble { rule: index + 1, field, trouble };
            if let Some(when) = &rule.when
                && when.evaluate(self.scene(row, subject)).map_err(failed("when".to_owned()))?
                    != Value::Bool(true)
            {
                continue;
            }
            let Action::Set(sets) = &rule.action else { return Ok(false) };
            let mut values = Vec::with_capacity(sets.len());
            for set in sets.iter().filter(|set| applies(set.contextual, set.essential)) {
                let value = set.value(self.scene(row, subject));
                values.push((set.column, value.map_err(failed(format!("set.{}", set.name)))?));
            }
            for (column, value) in values {
                row[column] = value;
            }
        }
        Ok(true)
    }

    fn scene<'a>(&'a self, row: &'a [TupleValue], subject: Subject<'a>) -> Scene<'a> {
        let scene = Scene { row, kinds: &self.kinds, old: None, op: None, commit_time: None };
        match subject {
            Subject::New { op, commit_time, old } => Scene { op: Some(op), commit_time, old, ..scene },
            Subject::Old | Subject::OldKey => scene,
        }
    }
}

impl Set {
    fn value(&self, scene: Scene<'_>) -> Result<TupleValue, Trouble> {
        // A column's value as it is: no reading could make it more exact.
        if let Node::Column(column) = self.expression.node
            && let Some(value @ (TupleValue::Text(_) | TupleValue::Null)) = scene.row.get(column)
        {
            return Ok(value.clone());
        }
        let text = self.expression.evaluate(scene)?.text();
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(Trouble::new(self.expression.position, "PostgreSQL has no text with a zero byte"));
        }
        Ok(text.map_or(TupleValue::Null, |text| TupleValue::Text(Bytes::from(text))))
    }
}

/// Compiles rule by rule.
struct Builder<'a> {
    text: &'a TransformText,
    inputs: &'a [Input],
    /// What can be named at this point, the added columns last.
    names: Vec<Name>,
    /// What a column takes; None: text of a type without a kind of its own.
    takes: Vec<Option<Kind>>,
    added: Vec<Added>,
    /// Columns whose values look at more than the row.
    contextual: BTreeSet<usize>,
    troubles: Vec<RuleTrouble>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a TransformText, inputs: &'a [Input]) -> Self {
        let name = |input: &Input| Name {
            name: input.name.clone(),
            kind: input.kind.unwrap_or(Kind::Text),
            unreadable: None,
        };
        let takes = |input: &Input| text.types.get(&input.name).map_or(input.kind, |it| Kind::of_type(it));
        Self {
            text,
            inputs,
            names: inputs.iter().map(name).collect(),
            takes: inputs.iter().map(takes).collect(),
            added: Vec::new(),
            contextual: BTreeSet::new(),
            troubles: Vec::new(),
        }
    }

    fn rule(&mut self, number: usize, rule: &super::text::RuleText) -> Option<Rule> {
        let when = if rule.when.is_empty() {
            None
        } else {
            let when = self.compiled(number, "when", &rule.when)?;
            if !matches!(when.kind, Kind::Bool | Kind::Null) {
                let message = format!("a condition is true or false, and this is a {}", when.kind);
                self.fail(number, "when", Trouble::new(when.position, message));
                return None;
            }
            Some(when)
        };
        let contextual = when.as_ref().is_some_and(|when| self.is_contextual(when));
        if rule.drop {
            if contextual {
                self.fail_contextual(number, "drop", when.as_ref(), "whether a row is left out");
            }
            return Some(Rule { when, action: Action::Drop, contextual, essential: true });
        }
        // All see the row as it was before this rule.
        let compiled: Vec<(String, Option<Expression>)> = rule
            .set
            .iter()
            .map(|(column, text)| (column.clone(), self.compiled(number, &format!("set.{column}"), text)))
            .collect();
        let mut sets = Vec::new();
        for (name, expression) in compiled {
            let Some(expression) = expression else { continue };
            let contextual = contextual || self.is_contextual(&expression);
            sets.extend(self.set(number, name, expression, contextual));
        }
        for set in &sets {
            if set.contextual {
                self.contextual.insert(set.column);
            }
            self.hide_where_of_another_type(number, set.column);
        }
        Some(Rule { when, action: Action::Set(sets), contextual, essential: false })
    }

    fn set(&mut self, number: usize, name: String, expression: Expression, contextual: bool) -> Option<Set> {
        let field = format!("set.{name}");
        let column = match self.names.iter().position(|known| known.name == name) {
            Some(column) => column,
            None => match self.add(&name, expression.kind) {
                Ok(column) => column,
                Err(message) => {
                    self.fail(number, &field, Trouble::new(expression.position, message));
                    return None;
                }
            },
        };
        if let Some(input) = self.inputs.get(column) {
            if !input.carried {
                let message = format!("`columns` of the entry leaves {name} out");
                self.fail(number, &field, Trouble::new(Position { line: 1, column: 1 }, message));
                return None;
            }
            if input.key && contextual {
                self.fail_contextual(number, &field, Some(&expression), "a column of a key");
            }
        }
        match assigned(expression, self.takes[column]) {
            Ok(expression) => Some(Set { column, name, expression, contextual, essential: false }),
            Err(trouble) => {
                self.fail(number, &field, trouble);
                None
            }
        }
    }

    fn add(&mut self, name: &str, kind: Kind) -> Result<usize, String> {
        let asked = self.text.types.get(name);
        if kind == Kind::Null && asked.is_none() {
            return Err(format!("the type of the new column {name} is not known: say it in `column_types`"));
        }
        let type_name = asked.cloned().unwrap_or_else(|| kind.added_type().to_owned());
        let takes = asked.map_or(Some(kind), |asked| Kind::of_type(asked));
        self.names.push(Name { name: name.to_owned(), kind: takes.unwrap_or(Kind::Text), unreadable: None });
        self.takes.push(takes);
        self.added.push(Added { name: name.to_owned(), type_name });
        Ok(self.names.len() - 1)
    }

    /// Once a rule has given a column a value of another type, its value may be of either.
    fn hide_where_of_another_type(&mut self, number: usize, column: usize) {
        let name = &mut self.names[column];
        if self.inputs.get(column).is_some_and(|input| input.kind != self.takes[column]) {
            name.unreadable = Some(format!(
                "rule {number} gives {} another type (`column_types`), so it cannot be read after it",
                name.name
            ));
        }
    }

    fn compiled(&mut self, number: usize, field: &str, text: &str) -> Option<Expression> {
        let names = Names { table: &self.text.table, columns: &self.names, old_columns: self.inputs.len() };
        match compile(text, &names) {
            Ok(expression) => Some(expression),
            Err(trouble) => {
                self.fail(number, field, trouble);
                None
            }
        }
    }

    fn is_contextual(&self, expression: &Expression) -> bool {
        let mut found = false;
        expression.visit(&mut |node| {
            found |= match node {
                Node::Op | Node::Old(_) | Node::CommitTime => true,
                Node::Column(column) => self.contextual.contains(column),
                _ => false,
            };
        });
        found
    }

    fn fail(&mut self, rule: usize, field: &str, trouble: Trouble) {
        self.troubles.push(RuleTrouble { rule, field: field.to_owned(), trouble });
    }

    fn fail_contextual(&mut self, rule: usize, field: &str, at: Option<&Expression>, what: &str) {
        let position = at.map_or(Position { line: 1, column: 1 }, |at| at.position);
        let message = format!(
            "{what} may depend on the row alone, not on op, old or commit_time, which the row that an update replaces does \
             not have; for whole operations there is `operations`"
        );
        self.fail(rule, field, Trouble::new(position, message));
    }

    fn finish(self, mut rules: Vec<Rule>) -> Result<Program, Vec<RuleTrouble>> {
        if !self.troubles.is_empty() {
            return Err(self.troubles);
        }
        let needs = settle_needs(&mut rules, self.inputs);
        let mut is_contextual = false;
        let mut uses_commit_time = false;
        for expression in rules.iter().flat_map(Rule::expressions) {
            expression.visit(&mut |node| {
                is_contextual |= matches!(node, Node::Op | Node::Old(_) | Node::CommitTime);
                uses_commit_time |= matches!(node, Node::CommitTime);
            });
        }
        Ok(Program {
            rules,
            kinds: self.names.iter().map(|name| name.kind).collect(),
            source_columns: self.inputs.len(),
            added: self.added,
            needs,
            is_contextual,
            uses_commit_time,
        })
    }
}

/// Marks what decides about rows and keys, from the last rule to the first, and says what the old row is needed for.
fn settle_needs(rules: &mut [Rule], inputs: &[Input]) -> Needs {
    let mut needs = Needs::default();
    let mut wanted: BTreeSet<usize> =
        inputs.iter().enumerate().filter(|(_, input)| input.key).map(|(column, _)| column).collect();
    let mut decisive: BTreeSet<usize> = BTreeSet::new();
    for rule in rules.iter_mut().rev() {
        let mut read = BTreeSet::new();
        match &mut rule.action {
            Action::Drop => {
                needs.all_values = true;
                rule.essential = true;
            }
            Action::Set(sets) => {
                for set in sets {
                    set.essential = wanted.contains(&set.column);
                    if set.essential {
                        rule.essential = true;
                        read.extend(columns_of(&set.expression));
                    }
                }
            }
        }
        if rule.essential {
            read.extend(rule.when.iter().flat_map(columns_of));
            wanted.extend(read.iter().copied());
            decisive.extend(read);
        }
    }
    let name = |column: &usize| inputs.get(*column).map(|input| input.name.clone());
    needs.in_key = decisive.iter().filter_map(name).collect();
    for rule in rules.iter() {
        if let Action::Set(sets) = &rule.action {
            needs.values.extend(sets.iter().filter_map(|set| name(&set.column)));
        }
        for expression in rule.expressions() {
            needs.values.extend(columns_of(expression).iter().filter_map(name));
            expression.visit(&mut |node| needs.old |= matches!(node, Node::Old(_)));
        }
    }
    needs
}

impl Rule {
    fn expressions(&self) -> Vec<&Expression> {
        let sets = match &self.action {
            Action::Drop => &[][..],
            Action::Set(sets) => sets,
        };
        self.when.iter().chain(sets.iter().map(|set| &set.expression)).collect()
    }
}

fn columns_of(expression: &Expression) -> BTreeSet<usize> {
    let mut columns = BTreeSet::new();
    expression.visit(&mut |node| {
        if let Node::Column(column) = node {
            columns.insert(*column);
        }
    });
    columns
}

/// An expression as a column takes it. Numbers, times and truth become text by themselves.
fn assigned(expression: Expression, takes: Option<Kind>) -> Result<Expression, Trouble> {
    let (kind, position) = (expression.kind, expression.position);
    let wanted = takes.unwrap_or(Kind::Text);
    let is_plain = !matches!(kind, Kind::Bytes | Kind::Json);
    if takes == Some(Kind::Text)
        && kind != Kind::Text
        && is_plain
        && let Some(function) = functions::named("string").into_iter().last()
        && kind != Kind::Null
    {
        let node = Node::Call { function, arguments: vec![expression] };
        return Ok(Expression { node, kind: Kind::Text, position });
    }
    converted(expression, wanted).map_err(|_| {
        let message = match takes {
            Some(wanted) => format!("the column takes a {wanted}, and this is a {kind}: say {wanted}(…)"),
            None => format!("the column's type takes its text, and this is a {kind}: say string(…)"),
        };
        Trouble::new(position, message)
    })
}

impl fmt::Display for RuleTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}, {}, {}", self.rule, self.field, self.trouble)
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
