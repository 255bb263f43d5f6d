//! The statements of one change where changes are made row by row.
//!
//! An insert first looks for the row that it overwrites and takes out what has another of its unique values; all
//! of it is sent at once.

use std::sync::Arc;

use hashbrown::HashMap;

use super::change::{Change, ChangeKind};
use super::evidence::DESTINATION_ROW_CHARACTERS_MAX;
use super::relation::{LookupBy, Relation};
use super::sql::{self, Form};
use super::staged::TemporaryTable;
use super::tuple::{Cell, Tuple};

/// What a statement is for, which says what its rows mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Removes what is in the way of a unique value: a row is a conflict, and returned.
    Displace,
    /// Finds or removes what an insert overwrites: the same.
    Overwrite,
    /// Puts a row in.
    Insert,
    /// Changes or removes a row: no row is a conflict.
    Change,
}

/// A statement before it is prepared.
pub(super) struct Text<'a> {
    pub(super) purpose: Purpose,
    pub(super) text: Arc<str>,
    /// The target's columns of its parameters, each with the tuple that has the value.
    pub(super) columns: Vec<(&'a Tuple, Vec<usize>)>,
    /// What it uses and has to stand, empty, before it is prepared.
    pub(super) temporary: Option<TemporaryTable>,
}

impl<'a> Text<'a> {
    fn new(purpose: Purpose, text: Arc<str>, columns: Vec<(&'a Tuple, Vec<usize>)>) -> Self {
        Self { purpose, text, columns, temporary: None }
    }
}

/// Which statement: relation by address (the changes keep it alive), purpose, place among its kind, columns
/// set.
type TextKey = (usize, Purpose, usize, Vec<usize>);

/// The texts of a replay, each built once.
#[derive(Default)]
pub(super) struct Statements {
    texts: HashMap<TextKey, Arc<str>>,
}

impl Statements {
    /// The statements of one change, in order.
    pub(super) fn of<'a>(&mut self, change: &'a Change) -> Vec<Text<'a>> {
        match &change.kind {
            ChangeKind::Insert { new } => self.insert(&change.relation, new),
            ChangeKind::Update { new, .. } => self.update(change, new),
            ChangeKind::Delete { old } => {
                let relation = &change.relation;
                let text = self.text(relation, Purpose::Change, 0, &[], || {
                    sql::delete(&relation.target, &relation.lookup, Form::One)
                });
                vec![Text::new(Purpose::Change, text, vec![(old, relation.lookup.columns.clone())])]
            }
        }
    }

    fn insert<'a>(&mut self, relation: &Arc<Relation>, new: &'a Tuple) -> Vec<Text<'a>> {
        let (target, lookup) = (&relation.target, &relation.lookup);
        let mut texts = Vec::new();
        let by_key = lookup.by == LookupBy::Index;
        for (place, index) in target.unique.iter().enumerate() {
            let known = index.columns.iter().all(|column| relation.written.contains(column));
            if !known || (by_key && index.columns == lookup.columns) {
                continue;
            }
            let own = by_key.then_some(lookup);
            let text = self.text(relation, Purpose::Displace, place, &[], || {
                returning(&sql::displace(target, index, own, false))
            });
            let mut columns = vec![(new, index.columns.clone())];
            columns.extend(own.map(|lookup| (new, lookup.columns.clone())));
            texts.push(Text::new(Purpose::Displace, text, columns));
        }
        if by_key || relation.deletes_first() {
            let text = self.text(relation, Purpose::Overwrite, 0, &[], || {
                if relation.deletes_first() {
                    returning(&sql::delete(target, lookup, Form::One))
                } else {
                    sql::find(target, lookup, &row_json("t"))
                }
            });
            let columns = vec![(new, lookup.columns.clone())];
            texts.push(Text::new(Purpose::Overwrite, text, columns));
        }
        let written = &relation.written;
        let text = self.text(relation, Purpose::Insert, 0, &[], || {
            sql::insert(target, written, relation.overwrites_by(), Form::One)
        });
        texts.push(Text::new(Purpose::Insert, text, vec![(new, written.clone())]));
        texts
    }

    fn update<'a>(&mut self, change: &'a Change, new: &'a Tuple) -> Vec<Text<'a>> {
        let relation = &change.relation;
        let (target, lookup) = (&relation.target, &relation.lookup);
        let moved = matches!(&change.kind, ChangeKind::Update { old: Some(_), .. });
        let known = known_columns(relation, new);
        let mut set = known.clone();
        if !moved {
            set.retain(|column| !lookup.columns.contains(column));
        }
        if set.is_empty() {
            return Vec::new();
        }
        let own = change.found_by();
        let mut texts = Vec::new();
        for (place, index) in target.unique.iter().enumerate() {
            let stays = !moved && lookup.by == LookupBy::Index && index.columns == lookup.columns;
            if stays || !index.columns.iter().all(|column| known.contains(column)) {
                continue;
            }
            let place = target.unique.len() + place;
            let text = self.text(relation, Purpose::Displace, place, &[], || {
                returning(&sql::displace(target, index, Some(lookup), true))
            });
            let columns = vec![(new, index.columns.clone()), (own, lookup.columns.clone())];
            texts.push(Text::new(Purpose::Displace, text, columns));
        }
        if target.rewrites(&set) {
            texts.extend(self.rewrite(relation, own, new, set));
            return texts;
        }
        let text =
            self.text(relation, Purpose::Change, 1, &set, || sql::update(target, lookup, &set, Form::One));
        let columns = vec![(own, lookup.columns.clone()), (new, set)];
        texts.push(Text::new(Purpose::Change, text, columns));
        texts
    }

    /// An update as DELETE and INSERT, of a row that is kept in between.
    fn rewrite<'a>(
        &mut self,
        relation: &Arc<Relation>,
        own: &'a Tuple,
        new: &'a Tuple,
        set: Vec<usize>,
    ) -> Vec<Text<'a>> {
        let (target, lookup) = (&relation.target, &relation.lookup);
        let kept = TemporaryTable::kept(target, &sql::writable(target));
        let texts = sql::rewrite_apart(target, lookup, &set, Form::One, &kept.name);
        let found_by = vec![(own, lookup.columns.clone())];
        let mut becomes = found_by.clone();
        becomes.push((new, set));
        let purposes = [Purpose::Insert, Purpose::Change, Purpose::Insert, Purpose::Insert];
        let columns = [becomes, found_by, Vec::new(), Vec::new()];
        let texts = texts.into_iter().zip(purposes).zip(columns);
        let mut texts: Vec<Text<'a>> =
            texts.map(|((text, purpose), columns)| Text::new(purpose, text.into(), columns)).collect();
        texts[0].temporary = Some(kept);
        texts
    }

    fn text(
        &mut self,
        relation: &Arc<Relation>,
        purpose: Purpose,
        place: usize,
        set: &[usize],
        build: impl FnOnce() -> String,
    ) -> Arc<str> {
        let key = (Arc::as_ptr(relation) as usize, purpose, place, set.to_vec());
        Arc::clone(self.texts.entry(key).or_insert_with(|| build().into()))
    }
}

/// A row of the destination as JSON, as far as it is kept. `alias.*` and not the alias, which could be a column's
/// name.
pub(super) fn row_json(alias: &str) -> String {
    format!("left(to_jsonb({alias}.*)::text, {DESTINATION_ROW_CHARACTERS_MAX})")
}

/// A DELETE of rows called `t` that returns them.
fn returning(delete: &str) -> String {
    format!("{delete} RETURNING {}", row_json("t"))
}

/// The target's columns whose values the tuple has.
pub(super) fn known_columns(relation: &Relation, tuple: &Tuple) -> Vec<usize> {
    let cells: Vec<Cell<'_>> = tuple.cells().collect();
    let known =
        |(_, position): &(&usize, &usize)| cells.get(**position).is_some_and(|cell| *cell != Cell::Unchanged);
    relation.written.iter().zip(&relation.positions).filter(known).map(|(column, _)| *column).collect()
}

/// The values of some of the target's columns.
pub(super) fn values(relation: &Relation, tuple: &Tuple, columns: &[usize]) -> Vec<Option<bytes::Bytes>> {
    let cells: Vec<Cell<'_>> = tuple.cells().collect();
    let position = |column: &usize| {
        relation
            .written
            .iter()
            .position(|candidate| candidate == column)
            .map(|place| relation.positions[place])
    };
    let value = |column: &usize| match position(column).and_then(|position| cells.get(position)) {
        Some(Cell::Text(content)) => Some(tuple.share(content)),
        _ => None,
    };
    columns.iter().map(value).collect()
}
