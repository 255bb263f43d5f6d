//! What happened to tasks: lines for people, numbered over all tasks.

use rusqlite::{Connection, params};
use strait_proto::TaskId;
use strait_proto::v1::TaskEvent;

use super::{Store, StoreError, from_sql, to_sql};
use crate::clock::now_us;

/// How many events are kept for a task; older ones go first.
const EVENTS_PER_TASK_MAX: u32 = 10_000;
/// The longest line, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

impl Store {
    /// Adds lines to a task's events and returns the id of the last one.
    pub(crate) async fn append_events(
        &self,
        task_id: &TaskId,
        lines: Vec<String>,
    ) -> Result<u64, StoreError> {
        let task_id = task_id.clone();
        self.call("append events", move |connection| {
            let transaction = connection.transaction()?;
            append(&transaction, &task_id, &lines)?;
            let last = last_event_id(&transaction, &task_id)?;
            transaction.commit()?;
            Ok(last)
        })
        .await
    }

    /// At most `limit` events of a task with higher ids than `after`, oldest first.
    pub(crate) async fn events_after(
        &self,
        task_id: &TaskId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        let task_id = task_id.clone();
        self.call("read events", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT event_id, at_us, text FROM event
                 WHERE task_id = ?1 AND event_id > ?2 ORDER BY event_id LIMIT ?3",
            )?;
            let rows = statement.query_map(params![task_id.as_str(), to_sql(after), limit], |row| {
                Ok(TaskEvent {
                    event_id: from_sql(row.get(0)?),
                    task_id: task_id.to_string(),
                    at_us: row.get(1)?,
                    text: row.get(2)?,
                })
            })?;
            rows.collect()
        })
        .await
    }
}

/// Adds lines within a transaction of the caller.
pub(super) fn append(connection: &Connection, task_id: &TaskId, lines: &[String]) -> rusqlite::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let at_us = now_us();
    let mut insert =
        connection.prepare_cached("INSERT INTO event (task_id, at_us, text) VALUES (?1, ?2, ?3)")?;
    for line in lines {
        insert.execute(params![task_id.as_str(), at_us, clipped(line)])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM event WHERE task_id = ?1 AND event_id <=
             (SELECT event_id FROM event WHERE task_id = ?1 ORDER BY event_id DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![task_id.as_str(), EVENTS_PER_TASK_MAX])?;
    Ok(())
}

/// 0 where the task has none.
pub(super) fn last_event_id(connection: &Connection, task_id: &TaskId) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(max(event_id), 0) FROM event WHERE task_id = ?1")?
        .query_row(params![task_id.as_str()], |row| row.get(0))
        .map(from_sql)
}

fn clipped(line: &str) -> &str {
    &line[..line.floor_char_boundary(TEXT_BYTES_MAX)]
}
