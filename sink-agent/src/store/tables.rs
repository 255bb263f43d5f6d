//! The states of a task's tables: begun, copied, ready, or suspended.

use strait_postgres::Client;
use strait_proto::{Lsn, TaskId, v1};
use tokio_postgres::Row;
use tokio_postgres::types::{PgLsn, Type};

use super::claim::{Claim, INT8, TEXT};
use super::connect::settle;
use super::in_transaction;
use super::lanes::lock_out_lanes;
use super::progress::pg_lsn;
use crate::error::{Context as _, Error};

const STATES_SQL: &str = "SELECT s.table_id, s.begin_lsn, s.generation, s.phase, s.rows,
       coalesce(sum(c.rows), 0)::bigint,
       coalesce(array_agg(c.chunk ORDER BY c.chunk) FILTER (WHERE c.chunk IS NOT NULL), '{}'),
       s.schema_name, s.table_name, s.reason, s.remedy,
       s.shared OR EXISTS (SELECT FROM strait.object AS o
                WHERE (o.task_id, o.kind, o.schema_name, o.object_name)
                    = (s.task_id, 'table', s.schema_name, s.table_name) AND o.outcome = 'adopted'),
       (SELECT ARRAY[pn.nspname::text, p.relname::text]
          FROM pg_catalog.pg_class AS c
               JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
               JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid
               JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
               JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
         WHERE n.nspname = s.schema_name AND c.relname = s.table_name AND c.relispartition)
  FROM strait.table_state AS s
       LEFT JOIN strait.chunk AS c
           ON s.phase = 'copying'
          AND (c.task_id, c.table_id, c.generation) = (s.task_id, s.table_id, s.generation)
 WHERE s.task_id = $1
 GROUP BY s.task_id, s.table_id
 ORDER BY s.table_id";

/// Every table that the task has begun.
pub(crate) async fn table_states(client: &Client, task_id: &TaskId) -> Result<Vec<v1::TableState>, Error> {
    let rows = client.query_typed(STATES_SQL, &[(&task_id.as_str(), TEXT)]).await;
    let rows = rows.context("read the table states")?;
    Ok(rows.iter().map(table_state).collect())
}

fn table_state(row: &Row) -> v1::TableState {
    let phase = match row.get(3) {
        "ready" => v1::CopyPhase::Ready,
        "copied" => v1::CopyPhase::Copied,
        "suspended" => v1::CopyPhase::Suspended,
        _ => v1::CopyPhase::Copying,
    };
    let counted: i64 = row.get(if phase == v1::CopyPhase::Copying { 5 } else { 4 });
    v1::TableState {
        table_id: table_id(row.get(0)),
        begin_lsn: row.get::<_, PgLsn>(1).into(),
        generation: row.get::<_, i32>(2).unsigned_abs(),
        phase: phase.into(),
        chunks_done: row.get::<_, Vec<i32>>(6).into_iter().map(i32::unsigned_abs).collect(),
        rows: counted.unsigned_abs(),
        table: Some(v1::TableName::new(row.get::<_, &str>(7), row.get::<_, &str>(8))),
        reason: row.get(9),
        remedy: row.get(10),
        destination_columns: Vec::new(),
        adopted: row.get(11),
        partition_of: row.get::<_, Option<Vec<String>>>(12).and_then(parent),
    }
}

fn parent(name: Vec<String>) -> Option<v1::TableName> {
    let [schema, name] = name.try_into().ok()?;
    Some(v1::TableName { schema, name })
}

/// Columns hold OIDs as bigint, because tokio-postgres and people both read those easily.
fn table_id(stored: i64) -> u32 {
    // Only `begin_table` writes it, from a u32.
    u32::try_from(stored).unwrap_or(0)
}

/// The cluster that a row names in columns `first` and the one after it.
pub(super) fn source_identity(row: &Row, first: usize) -> v1::SourceIdentity {
    v1::SourceIdentity {
        system_identifier: row.get::<_, Option<String>>(first).unwrap_or_default(),
        timeline: row.get::<_, Option<i64>>(first + 1).and_then(|line| u32::try_from(line).ok()).unwrap_or(0),
    }
}

const BEGIN_CHECKPOINT_SQL: &str = "UPDATE strait.checkpoint
   SET applied_lsn = coalesce(applied_lsn, $4),
       source_system_identifier = coalesce(source_system_identifier, $5),
       source_timeline = coalesce(source_timeline, $6),
       changed_at = clock_timestamp()
 WHERE task_id = $1 AND epoch = $2 AND nonce = $3::text::uuid
RETURNING source_system_identifier, source_timeline";

/// Within a transaction: waits for every other transaction that holds the task, locks the checkpoint, creates the position if
/// there is none, and returns the cluster that the position belongs to.
pub(crate) async fn begin_checkpoint(
    client: &Client,
    claim: &Claim,
    begin_lsn: Lsn,
    source: &v1::SourceIdentity,
) -> Result<v1::SourceIdentity, Error> {
    lock_out_lanes(client, &claim.task_id).await?;
    let epoch = super::claim::epoch_number(claim.epoch)?;
    let timeline = i64::from(source.timeline);
    let row = client
        .query_typed_opt(
            BEGIN_CHECKPOINT_SQL,
            &[
                (&claim.task_id.as_str(), TEXT),
                (&epoch, INT8),
                (&claim.nonce, TEXT),
                (&pg_lsn(begin_lsn), Type::PG_LSN),
                (&source.system_identifier, TEXT),
                (&timeline, INT8),
            ],
        )
        .await
        .context("create the checkpoint")?;
    row.map(|row| source_identity(&row, 0)).ok_or(Error::Replaced)
}

const BEGIN_TABLE_SQL: &str = "INSERT INTO strait.table_state AS s
           (task_id, table_id, schema_name, table_name, begin_lsn, generation, phase, shared)
    VALUES ($1, $2, $3, $4, $5, 1, 'copying', $6)
    ON CONFLICT (task_id, table_id) DO UPDATE
        SET schema_name = EXCLUDED.schema_name, table_name = EXCLUDED.table_name,
            begin_lsn = EXCLUDED.begin_lsn,
            generation = s.generation + 1, phase = 'copying', rows = 0, changed_at = now(),
            reason = '', remedy = ''";

const FORGET_TABLE: [&str; 3] = [
    "DELETE FROM strait.table_state WHERE task_id = $1 AND table_id = $2",
    "DELETE FROM strait.chunk WHERE task_id = $1 AND table_id = $2",
    "DELETE FROM strait.lane WHERE task_id = $1 AND table_id = $2",
];

const FORGET_OBJECTS_SQL: &str = "DELETE FROM strait.object
 WHERE task_id = $1 AND schema_name = $2 AND (object_name = $3 OR starts_with(object_name, $3 || '.'))";

/// Within a transaction: a table that is gone at both ends is the task's no more.
pub(crate) async fn forget_table(
    client: &Client,
    task_id: &TaskId,
    table_id: u32,
    name: &v1::TableName,
) -> Result<(), Error> {
    const DOING: &str = "forget a table that was dropped";
    let (task, table_id) = (task_id.as_str(), i64::from(table_id));
    for sql in FORGET_TABLE {
        client.execute_typed(sql, &[(&task, TEXT), (&table_id, INT8)]).await.context(DOING)?;
    }
    let object = [(&task as _, TEXT), (&name.schema as _, TEXT), (&name.name as _, TEXT)];
    client.execute_typed(FORGET_OBJECTS_SQL, &object).await.context(DOING)?;
    Ok(())
}

const SUSPEND_SQL: &str = "UPDATE strait.table_state
   SET phase = 'suspended', reason = $3, remedy = $4, changed_at = now()
 WHERE task_id = $1 AND table_id = $2";

/// Within a transaction: begins a table, or begins it over under the next generation.
pub(crate) async fn begin_table(
    client: &Client,
    task_id: &TaskId,
    table: &v1::Table,
    begin_lsn: Lsn,
) -> Result<(), Error> {
    let (number, name) = (i64::from(table.table_id), table.table_name());
    client
        .execute_typed(
            BEGIN_TABLE_SQL,
            &[
                (&task_id.as_str(), TEXT),
                (&number, INT8),
                (&name.schema, TEXT),
                (&name.name, TEXT),
                (&pg_lsn(begin_lsn), Type::PG_LSN),
                (&table.merged, Type::BOOL),
            ],
        )
        .await
        .context(format!("begin table {name}"))?;
    client
        .execute_typed(
            "DELETE FROM strait.chunk WHERE task_id = $1 AND table_id = $2",
            &[(&task_id.as_str(), TEXT), (&number, INT8)],
        )
        .await
        .context(format!("forget the chunks of table {name}"))?;
    Ok(())
}

/// Within the transaction that begins to leave the table's changes out: marks it.
pub(crate) async fn suspend_table(
    client: &Client,
    task_id: &TaskId,
    table_id: u32,
    reason: &str,
    remedy: &str,
) -> Result<(), Error> {
    let number = i64::from(table_id);
    client
        .execute_typed(
            SUSPEND_SQL,
            &[(&task_id.as_str(), TEXT), (&number, INT8), (&reason, TEXT), (&remedy, TEXT)],
        )
        .await
        .context("suspend a table")?;
    Ok(())
}

const LEDGER_SQL: &str = "SELECT s.phase, s.generation,
       count(c.chunk) FILTER (WHERE c.chunk < $3), coalesce(sum(c.rows), 0)::bigint
  FROM strait.table_state AS s
       LEFT JOIN strait.chunk AS c
           ON (c.task_id, c.table_id, c.generation) = (s.task_id, s.table_id, s.generation)
 WHERE s.task_id = $1 AND s.table_id = $2
 GROUP BY s.task_id, s.table_id";

const COPIED_SQL: &str = "UPDATE strait.table_state SET phase = 'copied', rows = $3, changed_at = now()
 WHERE task_id = $1 AND table_id = $2 AND phase = 'copying'";

/// Marks a table as copied once every chunk of its generation stands in the ledger, and merges its rows in the same
/// transaction, which `begin` begins. Says whether it was ready before.
///
/// # Errors
/// [`Error::Protocol`] when chunks are missing or the generation is over.
pub(crate) async fn finish_copy(
    client: &Client,
    claim: &Claim,
    begin: &str,
    (table_id, generation, chunks): (u32, u32, u32),
    merge: impl AsyncFnOnce() -> Result<(), Error>,
) -> Result<bool, Error> {
    const DOING: &str = "read the ledger of a table";
    let (task, number, chunks) = (claim.task_id.as_str(), i64::from(table_id), i64::from(chunks));
    in_transaction(client, begin, async {
        let key = [(&task as _, TEXT), (&number as _, INT8), (&chunks as _, INT8)];
        let row = client.query_typed_opt(LEDGER_SQL, &key).await.context(DOING)?;
        let Some(row) = row else {
            return Err(Error::protocol(format!("table {table_id} has not begun")));
        };
        let (phase, stands): (&str, i32) = (row.get(0), row.get(1));
        if i64::from(stands) != i64::from(generation) {
            return Err(Error::protocol(format!(
                "table {table_id} is at generation {stands}, not {generation}"
            )));
        }
        let (done, rows): (i64, i64) = (row.get(2), row.get(3));
        if done != chunks {
            return Err(Error::protocol(format!("table {table_id} has {done} chunks of {chunks}")));
        }
        let key = [(&task as _, TEXT), (&number as _, INT8), (&rows as _, INT8)];
        if client.execute_typed(COPIED_SQL, &key).await.context("mark a table as copied")? == 1 {
            merge().await?;
        }
        Ok(phase == "ready")
    })
    .await
}

const READY_SQL: &str = "UPDATE strait.table_state SET phase = 'ready', changed_at = now()
 WHERE task_id = $1 AND table_id = $2 AND generation = $3 AND phase = 'copied'";

/// Marks a copied table as ready: its keys and indexes are built.
pub(crate) async fn set_ready(
    client: &Client,
    claim: &Claim,
    table_id: u32,
    generation: u32,
) -> Result<(), Error> {
    let (task, number, generation) = (claim.task_id.as_str(), i64::from(table_id), i64::from(generation));
    in_transaction(client, &claim.begin_sql(), async {
        settle(client).await?;
        let key = [(&task as _, TEXT), (&number as _, INT8), (&generation as _, INT8)];
        client.execute_typed(READY_SQL, &key).await.context("mark a table as ready")?;
        Ok(())
    })
    .await
}
