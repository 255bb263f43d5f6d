//! From the operations of a batch to the steps that the executor runs: statements with their parameters, in
//! order.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use strait_proto::v1::TableName;

use super::array::Parameter;
use super::change::{Change, Operation, Truncation};
use super::columns::{by_columns, copy, fill, stage};
use super::fold::{Fold, Image, NetEffects, Stage, TooManyStages};
use super::multiset::Multiset;
use super::relation::{Lookup, LookupBy, Relation};
use super::sql::{self, Form};
use super::staged::{Staged, TemporaryTable};
use super::suspension::Suspension;
use super::target::Target;
use crate::error::Error;

/// What is executed one after the other.
#[derive(Debug)]
pub(crate) enum Step {
    Set(Statement),
    Staged(Staged),
    Copy(CopyIn),
    /// Changes of tables whose rows have to be changed one by one.
    Rows(Vec<Change>),
    Truncate(Truncation),
    Suspend(Suspension),
}

/// One statement for many rows.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) table: TableName,
    pub(crate) text: String,
    pub(crate) parameters: Vec<Parameter>,
    /// How many rows it has to affect; fewer mean that some are missing. None: however many.
    pub(crate) expected: Option<u64>,
    /// Joins by comparing texts, for which only a hash join will do.
    pub(crate) hash_join: bool,
}

/// New rows that are expected to meet nobody: the quickest way to put many of them in.
#[derive(Debug)]
pub(crate) struct CopyIn {
    pub(crate) table: TableName,
    pub(crate) text: String,
    /// In COPY's text format.
    pub(crate) data: Vec<Bytes>,
}

/// Inserts of so many rows or more are copied in; for fewer the additional round trips are not worth it.
const COPY_ROWS_MIN: usize = 500;

/// What is known of tables for which the quickest way will not do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exceptions {
    /// Rows that are inserted may be there already.
    pub(crate) overwritten: HashSet<TableName>,
    /// Rows have to be changed one by one.
    pub(crate) in_order: HashSet<TableName>,
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum Unplanned {
    /// Only a replay in order will do.
    InOrder,
    /// The changes contradict the protocol.
    Failed(Error),
}

impl From<TooManyStages> for Unplanned {
    fn from(_: TooManyStages) -> Self {
        Self::InOrder
    }
}

impl From<Error> for Unplanned {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Plans a batch.
pub(crate) fn plan(operations: &[Operation], exceptions: &Exceptions) -> Result<Vec<Step>, Unplanned> {
    let mut planner = Planner { steps: Vec::new(), tables: Vec::new(), places: HashMap::new(), exceptions };
    for operation in operations {
        match operation {
            Operation::Row(change) => planner.row(change)?,
            Operation::Truncate(truncation) => {
                planner.close()?;
                planner.steps.push(Step::Truncate(truncation.clone()));
            }
            Operation::Suspend(suspension) => planner.steps.push(Step::Suspend(suspension.clone())),
        }
    }
    planner.close()?;
    Ok(planner.steps)
}

/// The columns of rows in a stage.
struct Rows<'a> {
    /// By which they are found, or all of them where none is to be found.
    keys: &'a [usize],
    set: &'a [usize],
    /// How many copies of each are meant.
    counts: Option<&'a [i64]>,
}

/// Collects changes per table until something has to be seen by all of them.
struct Planner<'a> {
    steps: Vec<Step>,
    /// In the order of their first change.
    tables: Vec<TableChanges>,
    /// By the destination's table: several of the source may go into one.
    places: HashMap<u32, usize>,
    exceptions: &'a Exceptions,
}

struct TableChanges {
    /// Of the first change. Others may differ, but not in how rows are found.
    relation: Arc<Relation>,
    changes: Changes,
}

enum Changes {
    Keyed(Fold),
    Counted(Multiset),
    InOrder(Vec<Change>),
}

impl Planner<'_> {
    fn row(&mut self, change: &Change) -> Result<(), Unplanned> {
        let relation = &change.relation;
        if let Some(place) = self.places.get(&relation.target.oid)
            && !self.tables[*place].takes(relation)
        {
            self.close()?;
        }
        let tables = &mut self.tables;
        let place = *self.places.entry(relation.target.oid).or_insert_with(|| {
            let in_order = self.exceptions.in_order.contains(&relation.target.name);
            tables.push(TableChanges::new(relation, in_order));
            tables.len() - 1
        });
        match &mut tables[place].changes {
            Changes::Keyed(fold) => fold.push(change)?,
            Changes::Counted(multiset) => multiset.push(change),
            Changes::InOrder(changes) => changes.push(change.clone()),
        }
        Ok(())
    }

    /// Turns what was collected into steps.
    fn close(&mut self) -> Result<(), Unplanned> {
        self.places.clear();
        for table in std::mem::take(&mut self.tables) {
            match table.changes {
                Changes::Keyed(fold) => {
                    for stage in fold.finish()? {
                        self.stage(&table.relation, stage);
                    }
                }
                Changes::Counted(multiset) => {
                    let differences = multiset.finish();
                    self.copies(&differences.deletes, true);
                    self.copies(&differences.inserts, false);
                }
                Changes::InOrder(changes) => self.steps.push(Step::Rows(changes)),
            }
        }
        Ok(())
    }

    fn stage(&mut self, relation: &Relation, stage: Stage) {
        match stage {
            Stage::Net(NetEffects { deletes, absent, updates, inserts }) => {
                self.delete(relation, &deletes, true);
                self.delete(relation, &absent, false);
                for (set, places) in by_columns(updates.iter().map(Image::settable)) {
                    let pairs: Vec<_> =
                        places.iter().map(|place| (&updates[*place], &updates[*place])).collect();
                    self.update(relation, &set, &pairs);
                }
                self.insert(relation, &inserts);
            }
            Stage::Moves(moves) => {
                for (set, places) in by_columns(moves.iter().map(|(_, new)| new.present())) {
                    let pairs: Vec<_> =
                        places.iter().map(|place| (&moves[*place].0, &moves[*place].1)).collect();
                    self.update(relation, &set, &pairs);
                }
            }
        }
    }

    fn delete(&mut self, relation: &Relation, images: &[Image], counted: bool) {
        if images.is_empty() {
            return;
        }
        let lookup = &relation.lookup;
        let expected = counted.then_some(images.len() as u64);
        if relation.target.distribution.is_some() {
            let rows = Rows { keys: &lookup.columns, set: &[], counts: None };
            return self.staged(&relation.target, rows, images.iter().map(|image| (image, image)), |form| {
                vec![(sql::delete(&relation.target, lookup, form), expected)]
            });
        }
        self.steps.push(Step::Set(Statement {
            table: relation.target.name.clone(),
            text: sql::delete(&relation.target, lookup, Form::Rows),
            parameters: fill(images, &lookup.columns),
            expected,
            hash_join: by_text(lookup),
        }));
    }

    /// Of each pair the first image finds the row and the second one says what it becomes.
    fn update(&mut self, relation: &Relation, set: &[usize], pairs: &[(&Image, &Image)]) {
        if set.is_empty() {
            // Nothing but values that the source did not send: the row is as it was.
            return;
        }
        let (target, lookup, expected) = (&relation.target, &relation.lookup, Some(pairs.len() as u64));
        if target.distribution.is_some() {
            let rows = Rows { keys: &lookup.columns, set, counts: None };
            if !target.rewrites(set) {
                return self.staged(target, rows, pairs.iter().copied(), |form| {
                    vec![(sql::update(target, lookup, set, form), expected)]
                });
            }
            let kept = TemporaryTable::kept(target, &sql::writable(target));
            self.staged(target, rows, pairs.iter().copied(), |form| {
                let [keep, delete, put, forget] = sql::rewrite_apart(target, lookup, set, form, &kept.name);
                vec![(keep, expected), (delete, expected), (put, expected), (forget, None)]
            });
            if let Some(Step::Staged(staged)) = self.steps.last_mut() {
                staged.temporary.push(kept);
            }
            return;
        }
        let mut parameters = fill(pairs.iter().map(|(old, _)| *old), &lookup.columns);
        parameters.extend(fill(pairs.iter().map(|(_, new)| *new), set));
        self.steps.push(Step::Set(Statement {
            table: relation.target.name.clone(),
            text: sql::update(target, lookup, set, Form::Rows),
            parameters,
            expected,
            hash_join: by_text(lookup),
        }));
    }

    fn insert(&mut self, relation: &Relation, images: &[Image]) {
        if relation.deletes_first() {
            self.delete(relation, images, false);
        }
        for (columns, places) in by_columns(images.iter().map(Image::present)) {
            let target = &relation.target;
            if self.may_copy(relation, &columns, places.len()) {
                let rows = places.iter().map(|place| (&images[*place], 1));
                self.copy(target, &columns, rows);
                continue;
            }
            let expected = Some(places.len() as u64);
            if target.distribution.is_some() && !columns.is_empty() {
                let rows = Rows { keys: &columns, set: &[], counts: None };
                let pairs = places.iter().map(|place| (&images[*place], &images[*place]));
                self.staged(target, rows, pairs, |form| {
                    vec![(sql::insert(target, &columns, relation.overwrites_by(), form), expected)]
                });
                continue;
            }
            self.steps.push(Step::Set(Statement {
                table: relation.target.name.clone(),
                text: sql::insert(target, &columns, relation.overwrites_by(), Form::Rows),
                parameters: fill(places.iter().map(|place| &images[*place]), &columns),
                expected,
                hash_join: false,
            }));
        }
    }

    fn may_copy(&self, relation: &Relation, columns: &[usize], rows: usize) -> bool {
        // Without a key to be found by, nothing is in the way; and the family takes few rows that way as well.
        let target = &relation.target;
        let always = target.distribution.is_some() && relation.lookup.by != LookupBy::Index;
        let is_worth_it = always || rows >= COPY_ROWS_MIN;
        is_worth_it && !columns.is_empty() && !self.exceptions.overwritten.contains(&target.name)
    }

    /// Rows of pairs of images, by way of a temporary table.
    fn staged<'i>(
        &mut self,
        target: &Target,
        rows: Rows<'_>,
        pairs: impl Iterator<Item = (&'i Image, &'i Image)>,
        statements: impl FnOnce(Form<'_>) -> Vec<(String, Option<u64>)>,
    ) {
        let columns = [rows.keys, rows.set].concat();
        let stage_table = TemporaryTable::stage(target, &columns, rows.keys.len(), rows.counts.is_some());
        self.steps.push(Step::Staged(Staged {
            table: target.name.clone(),
            copy: format!("COPY {} FROM STDIN", stage_table.name),
            rows: stage(pairs, rows.keys, rows.set, rows.counts),
            statements: statements(Form::Stage(&stage_table.name)),
            temporary: vec![stage_table],
        }));
    }

    fn copy<'a>(&mut self, target: &Target, columns: &[usize], rows: impl Iterator<Item = (&'a Image, i64)>) {
        self.steps.push(Step::Copy(CopyIn {
            table: target.name.clone(),
            text: sql::copy(target, columns),
            data: copy(rows, columns),
        }));
    }

    /// Rows without a key, each so many times.
    fn copies(&mut self, rows: &[(Image, i64)], delete: bool) {
        for (columns, places) in by_columns(rows.iter().map(|(image, _)| image.present())) {
            let relation = &rows[places[0]].0.relation;
            let target = &relation.target;
            let counts: Vec<i64> = places.iter().map(|place| rows[*place].1).collect();
            if !delete && self.may_copy(relation, &columns, places.len()) {
                self.copy(target, &columns, places.iter().map(|place| (&rows[*place].0, rows[*place].1)));
                continue;
            }
            let total: i64 = counts.iter().sum();
            let expected = delete.then_some(total.unsigned_abs());
            if target.distribution.is_some() {
                let stage_rows = Rows { keys: &columns, set: &[], counts: Some(&counts) };
                let pairs = places.iter().map(|place| (&rows[*place].0, &rows[*place].0));
                self.staged(target, stage_rows, pairs, |form| {
                    let text = match delete {
                        true => sql::delete_copies(target, &columns, form),
                        false => sql::insert_copies(target, &columns, form),
                    };
                    vec![(text, expected)]
                });
                continue;
            }
            let mut parameters = fill(places.iter().map(|place| &rows[*place].0), &columns);
            parameters.push(Parameter::Counts(counts));
            self.steps.push(Step::Set(Statement {
                table: target.name.clone(),
                text: match delete {
                    true => sql::delete_copies(target, &columns, Form::Rows),
                    false => sql::insert_copies(target, &columns, Form::Rows),
                },
                parameters,
                expected,
                hash_join: delete,
            }));
        }
    }
}

impl TableChanges {
    fn new(relation: &Arc<Relation>, in_order: bool) -> Self {
        let changes = match relation.lookup.by {
            _ if in_order => Changes::InOrder(Vec::new()),
            LookupBy::WholeRow if relation.in_order => Changes::InOrder(Vec::new()),
            LookupBy::WholeRow => Changes::Counted(Multiset::default()),
            LookupBy::Index | LookupBy::Columns | LookupBy::Text => Changes::Keyed(Fold::default()),
        };
        Self { relation: Arc::clone(relation), changes }
    }

    /// Whether a relation's changes can be folded together with those before: its rows are found in the same
    /// way, in a table of the same shape.
    fn takes(&self, relation: &Arc<Relation>) -> bool {
        let own = &self.relation;
        Arc::ptr_eq(own, relation)
            || (own.lookup == relation.lookup
                && own.written == relation.written
                && own.in_order == relation.in_order
                && own.target == relation.target)
    }
}

fn by_text(lookup: &Lookup) -> bool {
    lookup.by != LookupBy::Index
}

#[cfg(test)]
mod tests;
