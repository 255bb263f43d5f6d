//! How far each foreign key has come.

use std::collections::HashMap;

use strait_postgres::Client;
use strait_proto::TaskId;

use super::claim::TEXT;
use crate::error::{Context as _, Error};

/// A foreign key without a state is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForeignKeyState {
    /// It stands, NOT VALID; what was there before has to be validated.
    Added,
    /// It stands as it does at the source.
    Done,
    /// It could not be added, or the rows violate it.
    Failed,
    /// It is left out on purpose.
    Skipped,
}

impl ForeignKeyState {
    const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Schema, table and name of a foreign key.
pub(crate) type ForeignKeyName = (String, String, String);

const STATES_SQL: &str =
    "SELECT schema_name, table_name, constraint_name, state FROM strait.foreign_key WHERE task_id = $1";

/// The states of a task's foreign keys.
pub(crate) async fn foreign_key_states(
    client: &Client,
    task_id: &TaskId,
) -> Result<HashMap<ForeignKeyName, ForeignKeyState>, Error> {
    let rows = client.query_typed(STATES_SQL, &[(&task_id.as_str(), TEXT)]).await;
    let rows = rows.context("read the states of the foreign keys")?;
    let state = |name: &str| match name {
        "added" => ForeignKeyState::Added,
        "done" => ForeignKeyState::Done,
        "skipped" => ForeignKeyState::Skipped,
        _ => ForeignKeyState::Failed,
    };
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1), row.get(2)), state(row.get(3)))).collect())
}

const SET_SQL: &str =
    "INSERT INTO strait.foreign_key (task_id, schema_name, table_name, constraint_name, state, detail)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (task_id, schema_name, table_name, constraint_name) DO UPDATE
        SET state = EXCLUDED.state, detail = EXCLUDED.detail, changed_at = now()";

/// Records how far a foreign key has come.
pub(crate) async fn set_foreign_key_state(
    client: &Client,
    task_id: &TaskId,
    name: &ForeignKeyName,
    state: ForeignKeyState,
    detail: &str,
) -> Result<(), Error> {
    client
        .execute_typed(
            SET_SQL,
            &[
                (&task_id.as_str(), TEXT),
                (&name.0, TEXT),
                (&name.1, TEXT),
                (&name.2, TEXT),
                (&state.name(), TEXT),
                (&detail, TEXT),
            ],
        )
        .await
        .context("record the state of a foreign key")?;
    Ok(())
}
