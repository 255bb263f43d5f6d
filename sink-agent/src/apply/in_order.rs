//! Changes row by row in commit order: where sets will not do, because a constraint was violated half-way,
//! rows are missing, or equal rows are not equal to the destination.
//!
//! Slower, and the meaning of everything: an insert overwrites what has any of its unique values, a change of
//! a row that is missing is left out and recorded. Whatever fails here fails for good, with the row's table
//! named.

use std::sync::Arc;

use hashbrown::HashMap;

use super::array::{Parameter, TextValue};
use super::change::{Change, ChangeKind};
use super::connection::Connection;
use super::pipeline::{Broken, Pipeline};
use super::relation::{LookupBy, Relation};
use super::sql::{self, Form};
use super::tuple::{Cell, Tuple};
use crate::error::Error;
use crate::store::{Conflict, ConflictReason};

/// Statements that are under way at once.
const UNDER_WAY_MAX: usize = 256;
/// Bytes of parameters that are under way at once; a single row may have more.
const UNDER_WAY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a conflict keeps of a row, in bytes.
const ROW_KEY_BYTES_MAX: usize = 1_000;

/// Applies changes of rows within the open transaction; returns the conflicts that it met.
pub(crate) async fn apply<'a>(
    connection: &mut Connection,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<Vec<Conflict>, Error> {
    let mut writer = Writer { texts: HashMap::new(), window: Vec::new(), bytes: 0, conflicts: Vec::new() };
    for change in changes {
        writer.queue(connection, change).await?;
        if writer.window.len() >= UNDER_WAY_MAX || writer.bytes >= UNDER_WAY_BYTES_MAX {
            writer.flush(connection).await?;
        }
    }
    writer.flush(connection).await?;
    Ok(writer.conflicts)
}

/// What a statement is for, which says what its count of rows means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Purpose {
    /// Removes what is in the way of a unique value: a row is a conflict.
    Displace,
    /// Removes what an insert overwrites.
    Overwrite,
    /// Puts a row in.
    Insert,
    /// Changes or removes a row: no row is a conflict.
    Change,
}

struct Queued<'a> {
    change: &'a Change,
    purpose: Purpose,
    statement: tokio_postgres::Statement,
    parameters: Vec<Parameter>,
}

/// A statement before it is prepared.
struct Text<'a> {
    purpose: Purpose,
    text: Arc<str>,
    /// The target's columns of its parameters, each with the tuple that has the value.
    columns: Vec<(&'a Tuple, Vec<usize>)>,
}

/// Which statement: relation by address (the changes keep it alive), purpose, place among its kind, columns
/// set.
type TextKey = (usize, Purpose, usize, Vec<usize>);

struct Writer<'a> {
    texts: HashMap<TextKey, Arc<str>>,
    window: Vec<Queued<'a>>,
    bytes: usize,
    conflicts: Vec<Conflict>,
}

impl<'a> Writer<'a> {
    async fn queue(&mut self, connection: &mut Connection, change: &'a Change) -> Result<(), Error> {
        for Text { purpose, text, columns } in self.statements(change) {
            let statement = connection.prepare(&text).await;
            let statement =
                statement.map_err(|error| explained(change, Error::database("prepare a change", error)))?;
            let mut parameters = Vec::new();
            for (tuple, columns) in columns {
                for value in values(&change.relation, tuple, &columns) {
                    self.bytes += value.as_ref().map_or(0, bytes::Bytes::len);
                    parameters.push(Parameter::Text(TextValue(value)));
                }
            }
            self.window.push(Queued { change, purpose, statement, parameters });
        }
        Ok(())
    }

    /// The statements of one change, in order.
    fn statements(&mut self, change: &'a Change) -> Vec<Text<'a>> {
        match &change.kind {
            ChangeKind::Insert { new } => self.insert(&change.relation, new),
            ChangeKind::Update { new, .. } => self.update(change, new),
            ChangeKind::Delete { old } => {
                let relation = &change.relation;
                let text = self.text(relation, Purpose::Change, 0, &[], || {
                    sql::delete(&relation.target, &relation.lookup, Form::One)
                });
                vec![Text {
                    purpose: Purpose::Change,
                    text,
                    columns: vec![(old, relation.lookup.columns.clone())],
                }]
            }
        }
    }

    fn insert(&mut self, relation: &Arc<Relation>, new: &'a Tuple) -> Vec<Text<'a>> {
        let (target, lookup) = (&relation.target, &relation.lookup);
        let mut texts = Vec::new();
        let by_key = lookup.by == LookupBy::Index;
        for (place, index) in target.unique.iter().enumerate() {
            let known = index.columns.iter().all(|column| relation.written.contains(column));
            if !known || (by_key && index.columns == lookup.columns) {
                continue;
            }
            let own = by_key.then_some(lookup);
            let text = self
                .text(relation, Purpose::Displace, place, &[], || sql::displace(target, index, own, false));
            let mut columns = vec![(new, index.columns.clone())];
            columns.extend(own.map(|lookup| (new, lookup.columns.clone())));
            texts.push(Text { purpose: Purpose::Displace, text, columns });
        }
        if relation.deletes_first() {
            let text =
                self.text(relation, Purpose::Overwrite, 0, &[], || sql::delete(target, lookup, Form::One));
            texts.push(Text {
                purpose: Purpose::Overwrite,
                text,
                columns: vec![(new, lookup.columns.clone())],
            });
        }
        let written = &relation.written;
        let text = self.text(relation, Purpose::Insert, 0, &[], || {
            sql::insert(target, written, relation.overwrites_by(), Form::One)
        });
        texts.push(Text { purpose: Purpose::Insert, text, columns: vec![(new, written.clone())] });
        texts
    }

    fn update(&mut self, change: &'a Change, new: &'a Tuple) -> Vec<Text<'a>> {
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
                sql::displace(target, index, Some(lookup), true)
            });
            let columns = vec![(new, index.columns.clone()), (own, lookup.columns.clone())];
            texts.push(Text { purpose: Purpose::Displace, text, columns });
        }
        let text =
            self.text(relation, Purpose::Change, 1, &set, || sql::update(target, lookup, &set, Form::One));
        let columns = vec![(own, lookup.columns.clone()), (new, set)];
        texts.push(Text { purpose: Purpose::Change, text, columns });
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

    async fn flush(&mut self, connection: &Connection) -> Result<(), Error> {
        let window = std::mem::take(&mut self.window);
        self.bytes = 0;
        let mut pipeline = Pipeline::new(connection.client());
        for queued in &window {
            pipeline.execute(queued.statement.clone(), &queued.parameters);
        }
        let affected = pipeline.flush().await.map_err(|Broken { place, error }| {
            explained(window[place].change, Error::database("apply a change", error))
        })?;
        for (queued, rows) in window.iter().zip(affected) {
            let reason = match (queued.purpose, rows) {
                (Purpose::Displace, 1..) => ConflictReason::RowDisplaced,
                (Purpose::Change, 0) => ConflictReason::RowMissing,
                _ => continue,
            };
            self.conflicts.push(conflict(queued.change, reason));
        }
        Ok(())
    }
}

/// The target's columns whose values the tuple has.
fn known_columns(relation: &Relation, tuple: &Tuple) -> Vec<usize> {
    let cells: Vec<Cell<'_>> = tuple.cells().collect();
    let known =
        |(_, position): &(&usize, &usize)| cells.get(**position).is_some_and(|cell| *cell != Cell::Unchanged);
    relation.written.iter().zip(&relation.positions).filter(known).map(|(column, _)| *column).collect()
}

/// The values of some of the target's columns.
fn values(relation: &Relation, tuple: &Tuple, columns: &[usize]) -> Vec<Option<bytes::Bytes>> {
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

fn conflict(change: &Change, reason: ConflictReason) -> Conflict {
    let relation = &change.relation;
    let columns = &relation.lookup.columns;
    let texts = columns.iter().zip(values(relation, change.found_by(), columns)).map(|(column, value)| {
        let value = value.as_ref().map_or("NULL".into(), |value| String::from_utf8_lossy(value));
        format!("{}={value}", relation.target.columns[*column].name)
    });
    let mut row_key = texts.collect::<Vec<_>>().join(", ");
    if row_key.len() > ROW_KEY_BYTES_MAX {
        let end = (0..=ROW_KEY_BYTES_MAX).rev().find(|end| row_key.is_char_boundary(*end)).unwrap_or(0);
        row_key.truncate(end);
        row_key.push('…');
    }
    Conflict {
        table: relation.target.name.clone(),
        operation: change.operation(),
        reason,
        row_key,
        commit_lsn: change.commit_lsn,
    }
}

/// SQLSTATEs that say that the table is not what it was when the session read its shape: undefined table,
/// column, function or conflict target, wrong type, no such cast. The next session reads it anew and knows
/// better.
const SHAPE_CHANGED: [&str; 6] = ["42P01", "42703", "42883", "42P10", "42804", "42846"];

/// A change that cannot be applied row by row either: definite, unless the server itself has a passing
/// problem.
fn explained(change: &Change, error: Error) -> Error {
    let failure = error.failure();
    let Some(server) = error.database_error().and_then(strait_postgres::Error::server_error) else {
        return error;
    };
    if !failure.definite {
        return error;
    }
    let table = &change.relation.target.name;
    if SHAPE_CHANGED.contains(&server.code.code()) {
        return Error::NotNow(format!(
            "table {table} at the destination has changed its shape: {}",
            server.message
        ));
    }
    let constraint =
        server.constraint.as_ref().map(|name| format!(" (constraint {name})")).unwrap_or_default();
    let cause = format!(
        "the {} of a row of table {table} at {} cannot be applied: {}{constraint} (SQLSTATE {})",
        change.operation(),
        change.commit_lsn,
        server.message,
        server.code.code()
    );
    let remedy = if failure.remedy.is_empty() {
        format!(
            "Make table {table} at the destination accept what the source has (its columns, types and \
             constraints), then resume the task."
        )
    } else {
        failure.remedy
    };
    Error::refused(cause, remedy)
}
