//! Changes row by row in commit order: where sets will not do, because a constraint was violated half-way,
//! rows are missing or there already, or equal rows are not equal to the destination.
//!
//! Slower, and the meaning of everything: an insert overwrites what has any of its unique values, a change of
//! a row that is missing is left out and recorded, a change that the destination does not accept is the task's
//! `on_error` to decide.
//!
//! ```text
//!  SAVEPOINT window · statements of up to 256 · RELEASE       sent together
//!    one is refused because of its row:  back to the savepoint; those before it again, together;
//!      that one by itself: what is in its way is removed, or on_error decides; then the ones after it
//!    one fails for any other reason:     the transaction fails, with the row's table named
//! ```

use strait_postgres::{Client, ServerError};
use strait_proto::TaskId;
use strait_proto::v1::OnError;

use super::array::{Parameter, TextValue};
use super::bounds;
use super::change::Change;
use super::connection::Connection;
use super::evidence::{conflict, conflict_with, not_applied};
use super::obstacle;
use super::pipeline::{Answer, Broken, Pipeline};
use super::refusal::{explained, of_the_row};
use super::statements::{Purpose, Statements, Text, values};
use super::tally::Tally;
use crate::error::{Context as _, Error};
use crate::store::{Conflict, ConflictReason, record_conflicts};

/// Statements that are under way at once.
const UNDER_WAY_MAX: usize = 256;
/// Bytes of parameters that are under way at once; a single row may have more.
const UNDER_WAY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// So many constraints of a table may be in the way of one row, one after the other.
const OBSTACLES_MAX: usize = 32;

const WINDOW: &str = "SAVEPOINT row_window";
const WINDOW_DONE: &str = "RELEASE SAVEPOINT row_window";
const WINDOW_UNDONE: &str = "ROLLBACK TO SAVEPOINT row_window; RELEASE SAVEPOINT row_window";
/// Around a change that was refused, and what is removed for it.
const ALONE: &str = "SAVEPOINT row_alone";
const ALONE_DONE: &str = "RELEASE SAVEPOINT row_alone";
const ALONE_UNDONE: &str = "ROLLBACK TO SAVEPOINT row_alone; RELEASE SAVEPOINT row_alone";

/// What holds for every change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) task_id: &'a TaskId,
    pub(super) on_error: OnError,
}

/// Applies changes of rows within the open transaction, and records the conflicts that they meet.
pub(super) async fn apply<'a>(
    connection: &mut Connection,
    terms: Terms<'_>,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<Tally, Error> {
    let mut writer = Writer {
        terms,
        statements: Statements::default(),
        window: Vec::new(),
        under_way: 0,
        bytes: 0,
        conflicts: Vec::new(),
        tally: Tally::default(),
    };
    for change in changes {
        writer.queue(connection, change).await?;
        if writer.under_way >= UNDER_WAY_MAX || writer.bytes >= UNDER_WAY_BYTES_MAX {
            writer.flush(connection).await?;
        }
    }
    writer.flush(connection).await?;
    Ok(writer.tally)
}

/// A change and its statements.
struct Queued<'a> {
    change: &'a Change,
    statements: Vec<Statement>,
}

struct Statement {
    purpose: Purpose,
    statement: tokio_postgres::Statement,
    parameters: Vec<Parameter>,
}

/// A change of a window was refused.
struct Refused {
    /// Its place among the window's changes; none where it was no change that failed.
    place: Option<usize>,
    error: Error,
}

struct Writer<'a, 't> {
    terms: Terms<'t>,
    statements: Statements,
    window: Vec<Queued<'a>>,
    /// Statements of the window.
    under_way: usize,
    bytes: usize,
    /// Met in this window.
    conflicts: Vec<Conflict>,
    tally: Tally,
}

impl<'a> Writer<'a, '_> {
    async fn queue(&mut self, connection: &mut Connection, change: &'a Change) -> Result<(), Error> {
        let mut statements = Vec::new();
        for Text { purpose, text, columns, temporary } in self.statements.of(change) {
            if let Some(temporary) = temporary {
                // Changes that wait may use it.
                self.flush(connection).await?;
                connection.make(&[temporary]).await.map_err(|error| explained(change, error))?;
            }
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
            statements.push(Statement { purpose, statement, parameters });
        }
        if !statements.is_empty() {
            self.under_way += statements.len();
            self.window.push(Queued { change, statements });
        }
        Ok(())
    }

    /// Applies the window and records the conflicts that it met.
    async fn flush(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let window = std::mem::take(&mut self.window);
        (self.under_way, self.bytes) = (0, 0);
        let mut rest = &window[..];
        while !rest.is_empty() {
            let client = connection.client();
            let refused = match together(client, rest).await {
                Ok(answers) => {
                    self.note(rest, answers);
                    break;
                }
                Err(refused) => refused,
            };
            let Some(place) = refused.place else { return Err(refused.error) };
            let Some(server) = of_the_row(&refused.error) else {
                return Err(explained(rest[place].change, refused.error));
            };
            client.batch_execute(WINDOW_UNDONE).await.context("go back to the last savepoint")?;
            let (before, from) = rest.split_at(place);
            if !before.is_empty() {
                // They went well a moment ago.
                let answers = together(client, before).await.map_err(|refused| refused.error)?;
                self.note(before, answers);
            }
            self.alone(connection, &from[0], server).await?;
            rest = &from[1..];
        }
        if !self.conflicts.is_empty() {
            record_conflicts(connection.client(), self.terms.task_id, &self.conflicts).await?;
            self.conflicts.iter().for_each(|conflict| self.tally.add(conflict));
            self.conflicts.clear();
        }
        Ok(())
    }

    /// A change that was refused because of what its row holds.
    async fn alone(
        &mut self,
        connection: &mut Connection,
        queued: &Queued<'_>,
        mut refusal: ServerError,
    ) -> Result<(), Error> {
        const DOING: &str = "apply a change by itself";
        let change = queued.change;
        connection.client().batch_execute(ALONE).await.context(DOING)?;
        let before = self.conflicts.len();
        for _ in 0..OBSTACLES_MAX {
            let removed = obstacle::remove(connection, change, &refusal).await?;
            if removed.is_empty()
                && !bounds::release(connection, self.terms.task_id, change, &refusal).await?
            {
                break;
            }
            let displaced =
                removed.iter().map(|row| conflict_with(change, ConflictReason::RowDisplaced, row));
            self.conflicts.extend(displaced);
            let client = connection.client();
            match together(client, std::slice::from_ref(queued)).await {
                Ok(answers) => {
                    self.note(std::slice::from_ref(queued), answers);
                    return client.batch_execute(ALONE_DONE).await.context(DOING);
                }
                Err(Refused { error, .. }) => match of_the_row(&error) {
                    Some(server) => refusal = server,
                    None => return Err(explained(change, error)),
                },
            }
            client.batch_execute(WINDOW_UNDONE).await.context("go back to the last savepoint")?;
        }
        if self.terms.on_error != OnError::Skip {
            return Err(explained(change, Error::database("apply a change", refusal)));
        }
        // What was removed for it comes back as well.
        self.conflicts.truncate(before);
        connection.client().batch_execute(ALONE_UNDONE).await.context(DOING)?;
        let constraint =
            refusal.constraint.as_ref().map(|name| format!(" (constraint {name})")).unwrap_or_default();
        let detail = refusal.detail.as_ref().map(|detail| format!(". {detail}")).unwrap_or_default();
        let message = format!("{}{constraint} (SQLSTATE {}){detail}", refusal.message, refusal.code.code());
        self.conflicts.push(not_applied(change, &message));
        Ok(())
    }

    /// Turns what statements affected and returned into conflicts.
    fn note(&mut self, window: &[Queued<'_>], answers: Vec<Answer>) {
        let statements =
            window.iter().flat_map(|queued| queued.statements.iter().map(|one| (queued.change, one.purpose)));
        for ((change, purpose), answer) in statements.zip(answers) {
            let reason = match purpose {
                Purpose::Change if answer.rows == 0 => {
                    self.conflicts.push(conflict(change, ConflictReason::RowMissing));
                    continue;
                }
                Purpose::Change | Purpose::Insert => continue,
                Purpose::Displace => ConflictReason::RowDisplaced,
                Purpose::Overwrite => ConflictReason::RowOverwritten,
            };
            let rows = answer.returned.iter().flatten();
            self.conflicts.extend(rows.map(|row| conflict_with(change, reason, row)));
        }
    }
}

/// Runs changes within a savepoint; refused, it is left to be rolled back. Answers come in the order of the
/// statements.
async fn together(client: &Client, window: &[Queued<'_>]) -> Result<Vec<Answer>, Refused> {
    let mut pipeline = Pipeline::new(client);
    let mut places = Vec::new();
    pipeline.simple(WINDOW);
    for (place, queued) in window.iter().enumerate() {
        for statement in &queued.statements {
            pipeline.query(statement.statement.clone(), &statement.parameters);
            places.push(place);
        }
    }
    pipeline.simple(WINDOW_DONE);
    match pipeline.answers().await {
        Ok(mut answers) => {
            answers.pop();
            answers.remove(0);
            Ok(answers)
        }
        Err(Broken { place, error }) => {
            let place = place.checked_sub(1).and_then(|place| places.get(place).copied());
            Err(Refused { place, error: Error::database("apply a change", error) })
        }
    }
}
