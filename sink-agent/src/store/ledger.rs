//! The chunk ledger: a chunk's rows and its line commit together, so a restart repeats no chunk and skips
//! none.

use strait_postgres::Client;

use super::claim::{Claim, INT8, TEXT};
use crate::error::{Context as _, Error};

/// Which chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkLine {
    pub(crate) table_id: u32,
    pub(crate) generation: u32,
    pub(crate) chunk: u32,
}

/// The transaction holds the task, so that the table cannot be begun over while its chunk is written: see
/// [`begin_checkpoint`](super::begin_checkpoint).
const TABLE_SQL: &str =
    "SELECT generation, phase FROM strait.table_state WHERE task_id = $1 AND table_id = $2";

const ENTER_SQL: &str = "INSERT INTO strait.chunk (task_id, table_id, generation, chunk, rows)
    VALUES ($1, $2, $3::bigint, $4::bigint, 0)
    ON CONFLICT DO NOTHING";

const ROWS_SQL: &str = "SELECT rows FROM strait.chunk
 WHERE task_id = $1 AND table_id = $2 AND generation = $3 AND chunk = $4";

const SET_ROWS_SQL: &str = "UPDATE strait.chunk SET rows = $5
 WHERE task_id = $1 AND table_id = $2 AND generation = $3 AND chunk = $4";

/// Within a transaction of the claim: enters the line, before any row. If it stands already, nothing is to be
/// written; returns the rows that it counts then.
///
/// # Errors
/// [`Error::Protocol`] when the generation is not the table's.
pub(crate) async fn enter_chunk(
    client: &Client,
    claim: &Claim,
    line: ChunkLine,
) -> Result<Option<u64>, Error> {
    const DOING: &str = "enter the chunk in the ledger";
    let task = claim.task_id.as_str();
    let [table_id, generation, chunk] = [line.table_id, line.generation, line.chunk].map(i64::from);
    let table =
        client.query_typed_opt(TABLE_SQL, &[(&task, TEXT), (&table_id, INT8)]).await.context(DOING)?;
    let Some(table) = table else {
        return Err(Error::protocol(format!("table {table_id} has not begun")));
    };
    let stands: i32 = table.get(0);
    if i64::from(stands) != generation {
        return Err(Error::protocol(format!("table {table_id} is at generation {stands}, not {generation}")));
    }
    let key = [(&task as _, TEXT), (&table_id as _, INT8), (&generation as _, INT8), (&chunk as _, INT8)];
    if table.get::<_, &str>(1) == "copying"
        && client.execute_typed(ENTER_SQL, &key).await.context(DOING)? == 1
    {
        return Ok(None);
    }
    let rows = client.query_typed_opt(ROWS_SQL, &key).await.context(DOING)?;
    match rows {
        Some(row) => Ok(Some(row.get::<_, i64>(0).unsigned_abs())),
        None => Err(Error::protocol(format!("table {table_id} is copied and never had chunk {chunk}"))),
    }
}

/// Within the same transaction, after the rows: completes the line.
pub(crate) async fn enter_chunk_rows(
    client: &Client,
    claim: &Claim,
    line: ChunkLine,
    rows: u64,
) -> Result<(), Error> {
    let task = claim.task_id.as_str();
    let [table_id, generation, chunk] = [line.table_id, line.generation, line.chunk].map(i64::from);
    // A table has fewer rows than i64 counts.
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    client
        .execute_typed(
            SET_ROWS_SQL,
            &[(&task, TEXT), (&table_id, INT8), (&generation, INT8), (&chunk, INT8), (&rows, INT8)],
        )
        .await
        .context("complete the chunk's line in the ledger")?;
    Ok(())
}
