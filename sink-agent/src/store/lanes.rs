//! What lanes have committed of a batch that is not whole yet.

use std::fmt::Write as _;

use strait_postgres::Client;
use strait_postgres::quote::literal;
use strait_proto::{Lsn, TaskId};
use tokio_postgres::types::PgLsn;

use super::BEGIN;
use super::claim::{Claim, TEXT};
use crate::error::{Context as _, Error};

/// What one lane does of the changes of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneLine {
    /// `pg_class.oid` at the source.
    pub(crate) table_id: u32,
    /// How many changes of the table the whole batch has.
    pub(crate) changes: u32,
    /// A hash over what those changes are.
    pub(crate) fingerprint: u64,
    /// A bit for each of them, the lowest of each byte first: it is this lane's.
    pub(crate) applied: Vec<u8>,
}

/// Begins the transaction of a lane: fenced in the server, and with the lines that say what it applies.
pub(crate) fn begin_lane(
    claim: &Claim,
    lane: usize,
    applied_lsn: Lsn,
    end_lsn: Lsn,
    lines: &[LaneLine],
) -> String {
    let Claim { task_id, epoch, nonce } = claim;
    let mut sql = format!(
        "{BEGIN}; SELECT strait.hold_lane('{task_id}', {epoch}, {}, '{applied_lsn}');
         INSERT INTO strait.lane (task_id, lane, table_id, end_lsn, changes, fingerprint, applied) VALUES ",
        literal(nonce)
    );
    for (number, line) in lines.iter().enumerate() {
        let LaneLine { table_id, changes, fingerprint, applied } = line;
        let comma = if number == 0 { "" } else { ", " };
        // As the same 64 bits: the server's integers have a sign.
        let fingerprint = fingerprint.cast_signed();
        let values =
            format!("{comma}('{task_id}', {lane}, {table_id}, '{end_lsn}', {changes}, {fingerprint}");
        sql.push_str(&values);
        sql.push_str(", '\\x");
        for byte in applied {
            // Writing to a String cannot fail.
            let _ = write!(sql, "{byte:02x}");
        }
        sql.push_str("')");
    }
    sql
}

const LINES_SQL: &str = "SELECT end_lsn, table_id, changes, fingerprint, applied
  FROM strait.lane WHERE task_id = $1 ORDER BY lane, table_id";

/// The lines of a batch that is applied in part, and its end; none where the destination stands at the end of a batch. To be
/// called while holding the task.
pub(crate) async fn lane_lines(
    client: &Client,
    task_id: &TaskId,
) -> Result<Option<(Lsn, Vec<LaneLine>)>, Error> {
    const DOING: &str = "read what lanes have applied";
    let rows = client.query_typed(LINES_SQL, &[(&task_id.as_str(), TEXT)]).await.context(DOING)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let end_lsn = Lsn(first.get::<_, PgLsn>(0).into());
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        let numbers = (u32::try_from(row.get::<_, i64>(1)), u32::try_from(row.get::<_, i32>(2)));
        let (Ok(table_id), Ok(changes), true) =
            (numbers.0, numbers.1, Lsn(row.get::<_, PgLsn>(0).into()) == end_lsn)
        else {
            return Err(unreadable());
        };
        let fingerprint = row.get::<_, i64>(3).cast_unsigned();
        lines.push(LaneLine { table_id, changes, fingerprint, applied: row.get(4) });
    }
    Ok(Some((end_lsn, lines)))
}

const LOCK_OUT_SQL: &str = "SELECT pg_catalog.pg_advisory_xact_lock(strait.lane_lock($1))";

/// Within the transaction that takes a task over, begins tables or forgets it: waits for transactions of lanes and others that
/// hold the task, and lets none begin before its end.
pub(super) async fn lock_out_lanes(client: &Client, task_id: &TaskId) -> Result<(), Error> {
    let locked = client.query_typed(LOCK_OUT_SQL, &[(&task_id.as_str(), TEXT)]).await;
    locked.context("wait for the transactions that hold the task").map(drop)
}

fn unreadable() -> Error {
    Error::refused(
        "strait.lane holds lines that do not belong together",
        "Release the task and create it anew; the table was changed by something other than Strait.",
    )
}

#[cfg(test)]
mod tests {
    use strait_proto::Epoch;

    use super::*;

    #[test]
    fn the_transaction_of_a_lane_is_fenced_before_it_says_what_it_applies() {
        let claim =
            Claim { task_id: "abcdefghijkl".parse().unwrap(), epoch: Epoch(3), nonce: "n".to_owned() };
        let line =
            |table_id| LaneLine { table_id, changes: 9, fingerprint: u64::MAX, applied: vec![1, 0xf0] };
        let sql = begin_lane(&claim, 2, Lsn(16), Lsn(32), &[line(7), line(8)]);
        assert!(sql.starts_with(BEGIN), "{sql}");
        assert!(sql.contains("SELECT strait.hold_lane('abcdefghijkl', 3, 'n', '0/10');"), "{sql}");
        assert!(sql.ends_with(
            "VALUES ('abcdefghijkl', 2, 7, '0/20', 9, -1, '\\x01f0'), ('abcdefghijkl', 2, 8, '0/20', 9, -1, '\\x01f0')"
        ));
    }
}
