//! Changes that met something else than at the source: kept where the rows are, never sent anywhere.

use strait_postgres::Client;
use strait_proto::{Lsn, TaskId, v1};
use tokio_postgres::types::{PgLsn, Type};

use super::claim::{INT8, TEXT};
use super::progress::pg_lsn;
use crate::error::{Context as _, Error};

/// So many of the newest conflicts of a task are kept.
const CONFLICTS_MAX: i64 = 10_000;

/// A change met a row, or the lack of one, that the source did not have, or was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) table: v1::TableName,
    /// insert, update or delete: what the source did.
    pub(crate) operation: &'static str,
    pub(crate) reason: ConflictReason,
    /// What identifies the row, as text.
    pub(crate) row_key: String,
    pub(crate) commit_lsn: Lsn,
    /// What the source sent of the row before the change, as a JSON object.
    pub(crate) old_row: Option<String>,
    /// The same after it.
    pub(crate) new_row: Option<String>,
    /// The destination's row that was in the way, as JSON.
    pub(crate) destination_row: Option<String>,
    /// What the server said about a change that was not applied; otherwise empty.
    pub(crate) message: String,
    /// One of the rows is not kept whole.
    pub(crate) is_cut: bool,
}

/// What was in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ConflictReason {
    /// There was nothing to change: the change was left out.
    RowMissing,
    /// Another row was in the way of a unique value: it was removed.
    RowDisplaced,
    /// The row to insert existed: it was overwritten.
    RowOverwritten,
    /// The destination did not accept the change: it was left out.
    NotApplied,
}

impl ConflictReason {
    /// As `strait.conflict` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RowMissing => "row_missing",
            Self::RowDisplaced => "row_displaced",
            Self::RowOverwritten => "row_overwritten",
            Self::NotApplied => "not_applied",
        }
    }
}

const RECORD_SQL: &str = "INSERT INTO strait.conflict
           (task_id, schema_name, table_name, operation, reason, row_key, commit_lsn,
            old_row, new_row, destination_row, message, is_cut)
    SELECT $1, c.schema_name, c.table_name, c.operation, c.reason, c.row_key, c.commit_lsn,
           c.old_row::jsonb, c.new_row::jsonb, c.destination_row::jsonb, c.message, c.is_cut
      FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::pg_lsn[],
                  $8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[])
           AS c (schema_name, table_name, operation, reason, row_key, commit_lsn,
                 old_row, new_row, destination_row, message, is_cut)";

const TRIM_SQL: &str = "DELETE FROM strait.conflict
 WHERE task_id = $1
   AND conflict_id < (SELECT conflict_id FROM strait.conflict WHERE task_id = $1
                       ORDER BY conflict_id DESC OFFSET $2 LIMIT 1)";

/// Data exceptions: a character that the destination's encoding does not have.
const DATA_EXCEPTION_CLASS: &str = "22";

/// Within the transaction that meets them: records conflicts, and forgets the oldest beyond [`CONFLICTS_MAX`].
pub(crate) async fn record_conflicts(
    client: &Client,
    task_id: &TaskId,
    conflicts: &[Conflict],
) -> Result<(), Error> {
    const DOING: &str = "record conflicts";
    client.batch_execute("SAVEPOINT conflict").await.context(DOING)?;
    match insert(client, task_id, conflicts).await {
        Err(error) if error.sqlstate().is_some_and(|state| state.starts_with(DATA_EXCEPTION_CLASS)) => {
            client.batch_execute("ROLLBACK TO SAVEPOINT conflict").await.context(DOING)?;
            let plain: Vec<Conflict> = conflicts.iter().map(Conflict::in_ascii).collect();
            insert(client, task_id, &plain).await?;
        }
        inserted => inserted?,
    }
    client.batch_execute("RELEASE SAVEPOINT conflict").await.context(DOING)?;
    let keep = CONFLICTS_MAX - 1;
    let trim = [(&task_id.as_str() as _, TEXT), (&keep as _, INT8)];
    client.execute_typed(TRIM_SQL, &trim).await.context(DOING)?;
    Ok(())
}

async fn insert(client: &Client, task_id: &TaskId, conflicts: &[Conflict]) -> Result<(), Error> {
    let column = |value: fn(&Conflict) -> &str| conflicts.iter().map(value).collect::<Vec<_>>();
    let optional =
        |value: fn(&Conflict) -> &Option<String>| conflicts.iter().map(value).cloned().collect::<Vec<_>>();
    let schemas = column(|conflict| &conflict.table.schema);
    let tables = column(|conflict| &conflict.table.name);
    let operations = column(|conflict| conflict.operation);
    let reasons = column(|conflict| conflict.reason.name());
    let keys = column(|conflict| &conflict.row_key);
    let commits: Vec<PgLsn> = conflicts.iter().map(|conflict| pg_lsn(conflict.commit_lsn)).collect();
    let old_rows = optional(|conflict| &conflict.old_row);
    let new_rows = optional(|conflict| &conflict.new_row);
    let destination_rows = optional(|conflict| &conflict.destination_row);
    let messages = column(|conflict| &conflict.message);
    let cut: Vec<bool> = conflicts.iter().map(|conflict| conflict.is_cut).collect();
    client
        .execute_typed(
            RECORD_SQL,
            &[
                (&task_id.as_str(), TEXT),
                (&schemas, Type::TEXT_ARRAY),
                (&tables, Type::TEXT_ARRAY),
                (&operations, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&keys, Type::TEXT_ARRAY),
                (&commits, Type::PG_LSN_ARRAY),
                (&old_rows, Type::TEXT_ARRAY),
                (&new_rows, Type::TEXT_ARRAY),
                (&destination_rows, Type::TEXT_ARRAY),
                (&messages, Type::TEXT_ARRAY),
                (&cut, Type::BOOL_ARRAY),
            ],
        )
        .await
        .context("record conflicts")?;
    Ok(())
}

impl Conflict {
    /// The same for a destination whose encoding lacks a character of it: such characters are written as
    /// `U+…`. The rows were JSON before and are so afterwards.
    fn in_ascii(&self) -> Self {
        let row = |row: &Option<String>| row.as_deref().map(ascii);
        Self {
            row_key: ascii(&self.row_key),
            message: ascii(&self.message),
            old_row: row(&self.old_row),
            new_row: row(&self.new_row),
            destination_row: row(&self.destination_row),
            ..self.clone()
        }
    }
}

fn ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' | '\n' => ascii.push(character),
            other => ascii.push_str(&format!("U+{:04X}", u32::from(other))),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn what_an_encoding_may_lack_is_spelled_out() {
        assert_eq!(ascii("{\"a\": \"x€\\n\"}"), "{\"a\": \"xU+20AC\\n\"}");
    }
}
