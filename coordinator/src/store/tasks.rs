//! Tasks and what became of their objects.

use prost::Message as _;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use strait_proto::v1::{ObjectResult, PrecheckResult, TaskProgress, TaskSpec};
use strait_proto::{Epoch, TaskId};

use super::{Store, StoreError, events, from_sql, to_sql};
use crate::task::{State, TaskRecord};

/// How many released tasks stay listed; the oldest go first.
const RELEASED_TASKS_MAX: u32 = 1000;

const COLUMNS: &str =
    "task_id, name_generated, client_token, spec, state, epoch, assigned, once, created_at_us,
                       state_changed_at_us, precheck, progress";
const IS_RELEASED: &str = "state ->> '$.state' = 'released'";

/// A task with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadedTask {
    pub(crate) record: TaskRecord,
    pub(crate) objects: Vec<ObjectResult>,
    /// The id of its last event; 0 where it has none.
    pub(crate) last_event_id: u64,
}

impl Store {
    /// Stores a new task and its first event, in place of a released one with the same id. Returns the
    /// event's id.
    pub(crate) async fn insert_task(&self, record: &TaskRecord, line: String) -> Result<u64, StoreError> {
        let record = record.clone();
        self.call("create a task", move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM task WHERE task_id = ?1", params![record.task_id.as_str()])?;
            write(&transaction, &record)?;
            events::append(&transaction, &record.task_id, &[line])?;
            let last = events::last_event_id(&transaction, &record.task_id)?;
            transaction.commit()?;
            Ok(last)
        })
        .await
    }

    /// Stores a task that is there already together with the events that tell what changed. Returns the last
    /// event's id.
    pub(crate) async fn save_task(&self, record: &TaskRecord, lines: Vec<String>) -> Result<u64, StoreError> {
        let record = record.clone();
        self.call("save a task", move |connection| {
            let transaction = connection.transaction()?;
            write(&transaction, &record)?;
            events::append(&transaction, &record.task_id, &lines)?;
            if record.state == State::Released {
                prune_released(&transaction)?;
            }
            let last = events::last_event_id(&transaction, &record.task_id)?;
            transaction.commit()?;
            Ok(last)
        })
        .await
    }

    /// Adds results, or replaces those of the same objects.
    pub(crate) async fn save_objects(
        &self,
        task_id: &TaskId,
        results: Vec<ObjectResult>,
    ) -> Result<(), StoreError> {
        let task_id = task_id.clone();
        self.call("save object results", move |connection| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO object_result (task_id, object_kind, schema, name, result)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                for result in &results {
                    let encoded = result.encode_to_vec();
                    let ObjectResult { object_kind, schema, name, .. } = result;
                    insert.execute(params![task_id.as_str(), object_kind, schema, name, encoded])?;
                }
            }
            transaction.commit()
        })
        .await
    }

    /// Every task that is not released.
    pub(crate) async fn load_live(&self) -> Result<Vec<LoadedTask>, StoreError> {
        self.call("load the tasks", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM task WHERE NOT {IS_RELEASED} ORDER BY created_at_us");
            let records: Vec<_> =
                connection.prepare(&sql)?.query_map([], record)?.collect::<rusqlite::Result<_>>()?;
            records.into_iter().map(|record| complete(connection, record)).collect()
        })
        .await
    }

    /// The newest released tasks, oldest first.
    pub(crate) async fn list_released(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.call("list released tasks", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM task WHERE {IS_RELEASED} ORDER BY created_at_us");
            connection.prepare(&sql)?.query_map([], record)?.collect()
        })
        .await
    }

    /// A task by its id, in any state.
    pub(crate) async fn find_task(&self, task_id: &TaskId) -> Result<Option<LoadedTask>, StoreError> {
        let task_id = task_id.clone();
        self.call("read a task", move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM task WHERE task_id = ?1");
            let found = connection.query_row(&sql, params![task_id.as_str()], record).optional()?;
            found.map(|record| complete(connection, record)).transpose()
        })
        .await
    }

    /// The task that was created with this token, in any state.
    pub(crate) async fn find_by_token(&self, client_token: &str) -> Result<Option<TaskRecord>, StoreError> {
        let client_token = client_token.to_owned();
        self.call("look a client token up", move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM task WHERE client_token = ?1 AND client_token <> ''");
            connection.query_row(&sql, params![client_token], record).optional()
        })
        .await
    }

    /// The ids of released tasks of this name.
    pub(crate) async fn released_by_name(&self, name: &str) -> Result<Vec<TaskId>, StoreError> {
        let name = name.to_owned();
        self.call("look a name up", move |connection| {
            let sql = format!("SELECT task_id FROM task WHERE name = ?1 AND {IS_RELEASED} ORDER BY task_id");
            connection.prepare(&sql)?.query_map(params![name], |row| task_id(row, 0))?.collect()
        })
        .await
    }
}

pub(super) fn write(connection: &Connection, record: &TaskRecord) -> rusqlite::Result<()> {
    let state = serde_json::to_string(&record.state)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let precheck = PrecheckResult { items: record.precheck.clone(), source: None };
    connection
        .prepare_cached(
            "INSERT INTO task (task_id, name, name_generated, client_token, spec, state, epoch, assigned,
                               once, created_at_us, state_changed_at_us, precheck, progress)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (task_id) DO UPDATE SET
                 name = excluded.name, name_generated = excluded.name_generated, spec = excluded.spec, state = excluded.state, epoch = excluded.epoch, assigned = excluded.assigned,
                 once = excluded.once, state_changed_at_us = excluded.state_changed_at_us,
                 precheck = excluded.precheck, progress = excluded.progress",
        )?
        .execute(params![
            record.task_id.as_str(),
            record.spec.name,
            record.name_generated,
            record.client_token,
            record.spec.encode_to_vec(),
            state,
            to_sql(record.epoch.0),
            record.assigned,
            record.once,
            record.created_at_us,
            record.state_changed_at_us,
            precheck.encode_to_vec(),
            record.progress.as_ref().map(TaskProgress::encode_to_vec),
        ])?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<TaskRecord> {
    let state: String = row.get(4)?;
    let precheck: PrecheckResult = message(10, row.get(10)?)?;
    let progress: Option<Vec<u8>> = row.get(11)?;
    Ok(TaskRecord {
        task_id: task_id(row, 0)?,
        name_generated: row.get(1)?,
        client_token: row.get(2)?,
        spec: message::<TaskSpec>(3, row.get(3)?)?,
        state: serde_json::from_str(&state).map_err(|error| malformed(4, Type::Text, error))?,
        epoch: Epoch(from_sql(row.get(5)?)),
        assigned: row.get(6)?,
        once: row.get(7)?,
        created_at_us: row.get(8)?,
        state_changed_at_us: row.get(9)?,
        precheck: precheck.items,
        progress: progress.map(|encoded| message(11, encoded)).transpose()?,
    })
}

fn complete(connection: &Connection, record: TaskRecord) -> rusqlite::Result<LoadedTask> {
    let mut statement = connection.prepare_cached(
        "SELECT result FROM object_result WHERE task_id = ?1 ORDER BY object_kind, schema, name",
    )?;
    let objects = statement
        .query_map(params![record.task_id.as_str()], |row| message(0, row.get(0)?))?
        .collect::<rusqlite::Result<_>>()?;
    let last_event_id = events::last_event_id(connection, &record.task_id)?;
    Ok(LoadedTask { record, objects, last_event_id })
}

fn prune_released(connection: &Connection) -> rusqlite::Result<()> {
    let too_old = format!(
        "SELECT task_id FROM task WHERE {IS_RELEASED} ORDER BY state_changed_at_us DESC LIMIT -1 OFFSET ?1"
    );
    let pruned: Vec<TaskId> = connection
        .prepare_cached(&too_old)?
        .query_map(params![RELEASED_TASKS_MAX], |row| task_id(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    for task_id in pruned {
        connection.execute("DELETE FROM task WHERE task_id = ?1", params![task_id.as_str()])?;
        connection.execute("DELETE FROM event WHERE task_id = ?1", params![task_id.as_str()])?;
    }
    Ok(())
}

fn task_id(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskId> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| malformed(column, Type::Text, error))
}

pub(super) fn message<M: prost::Message + Default>(column: usize, encoded: Vec<u8>) -> rusqlite::Result<M> {
    M::decode(encoded.as_slice()).map_err(|error| malformed(column, Type::Blob, error))
}

fn malformed(
    column: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
