//! Changes that did not find the row they should: kept where the row is, never sent anywhere.

use strait_postgres::Client;
use strait_proto::{Lsn, TaskId, v1};
use tokio_postgres::types::{PgLsn, Type};

use super::claim::{INT8, TEXT};
use super::progress::pg_lsn;
use crate::error::{Context as _, Error};

/// So many of the newest conflicts of a task are kept.
pub(crate) const CONFLICTS_MAX: i64 = 10_000;

/// A change met a row, or the lack of one, that the source did not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) table: v1::TableName,
    /// insert, update or delete: what the source did.
    pub(crate) operation: &'static str,
    pub(crate) reason: ConflictReason,
    /// What identifies the row, as text.
    pub(crate) row_key: String,
    pub(crate) commit_lsn: Lsn,
}

/// What was in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ConflictReason {
    /// There was nothing to change: the change was left out.
    RowMissing,
    /// Another row was in the way of a key: it was removed.
    RowDisplaced,
}

impl ConflictReason {
    /// As `strait.conflict` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RowMissing => "row_missing",
            Self::RowDisplaced => "row_displaced",
        }
    }
}

const RECORD_SQL: &str = "INSERT INTO strait.conflict
           (task_id, schema_name, table_name, operation, reason, row_key, commit_lsn)
    SELECT $1, c.*
      FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::pg_lsn[]) AS c";

const TRIM_SQL: &str = "DELETE FROM strait.conflict
 WHERE task_id = $1
   AND conflict_id < (SELECT conflict_id FROM strait.conflict WHERE task_id = $1
                       ORDER BY conflict_id DESC OFFSET $2 LIMIT 1)";

/// Within the transaction that leaves the changes out: records them, and forgets the oldest beyond
/// [`CONFLICTS_MAX`].
pub(crate) async fn record_conflicts(
    client: &Client,
    task_id: &TaskId,
    conflicts: &[Conflict],
) -> Result<(), Error> {
    const DOING: &str = "record conflicts";
    let column = |value: fn(&Conflict) -> &str| conflicts.iter().map(value).collect::<Vec<_>>();
    let schemas = column(|conflict| &conflict.table.schema);
    let tables = column(|conflict| &conflict.table.name);
    let operations = column(|conflict| conflict.operation);
    let reasons = column(|conflict| conflict.reason.name());
    let keys = column(|conflict| &conflict.row_key);
    let commits: Vec<PgLsn> = conflicts.iter().map(|conflict| pg_lsn(conflict.commit_lsn)).collect();
    let task = task_id.as_str();
    client
        .execute_typed(
            RECORD_SQL,
            &[
                (&task, TEXT),
                (&schemas, Type::TEXT_ARRAY),
                (&tables, Type::TEXT_ARRAY),
                (&operations, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&keys, Type::TEXT_ARRAY),
                (&commits, Type::PG_LSN_ARRAY),
            ],
        )
        .await
        .context(DOING)?;
    let keep = CONFLICTS_MAX - 1;
    client.execute_typed(TRIM_SQL, &[(&task, TEXT), (&keep, INT8)]).await.context(DOING)?;
    Ok(())
}
