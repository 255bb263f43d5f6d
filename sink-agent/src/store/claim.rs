//! Taking a task over: at any time exactly one session holds it, and the server knows which.

use std::time::Duration;

use strait_postgres::Client;
use strait_postgres::quote::literal;
use strait_proto::{Epoch, TaskId};
use tokio::time::{Instant, sleep};

use super::lanes::lock_out_lanes;
use super::{BEGIN, in_transaction};
use crate::error::{Context as _, Error};

/// Proof of holding a task, as the fence functions of `layout.sql` want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) task_id: TaskId,
    pub(crate) epoch: Epoch,
    /// A UUID in text.
    pub(crate) nonce: String,
}

impl Claim {
    /// Begins a transaction that only goes on, and only as long, as the claim holds.
    pub(crate) fn begin_sql(&self) -> String {
        let Self { task_id, epoch, nonce } = self;
        format!("{BEGIN}; SELECT strait.hold('{task_id}', {epoch}, {})", literal(nonce))
    }
}

/// What every connection of a task calls itself, so that leftovers can be found.
pub(crate) fn application_name(task_id: &TaskId) -> String {
    format!("strait-sink {task_id}")
}

/// How long terminated backends may take to go. Whoever claims the task does not depend on it: what they still write, the
/// fence refuses.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);
const TERMINATE_PAUSE: Duration = Duration::from_millis(50);

const EPOCH_SQL: &str = "SELECT epoch FROM strait.checkpoint WHERE task_id = $1";

/// Only this database: a task of the same id may write to another one of the same server.
///
/// The form that waits exists from PostgreSQL 14 on; asking again does for all.
const TERMINATE_SQL: &str = "SELECT count(pg_terminate_backend(pid))
  FROM pg_stat_activity
 WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()";

const TASK_SQL: &str = "INSERT INTO strait.task (task_id, name) VALUES ($1, $2)
    ON CONFLICT (task_id) DO UPDATE SET name = EXCLUDED.name";

const CLAIM_SQL: &str = "INSERT INTO strait.checkpoint AS c (task_id, epoch, nonce) VALUES ($1, $2, $3::uuid)
    ON CONFLICT (task_id) DO UPDATE SET epoch = EXCLUDED.epoch, nonce = EXCLUDED.nonce, changed_at = now()
        WHERE c.epoch <= EXCLUDED.epoch
    RETURNING nonce::text";

/// Takes the task over for `epoch`, or for a new session of it, and leaves no transaction of an older holder
/// behind.
///
/// # Errors
/// [`Error::StaleEpoch`] when a newer epoch has held the task already.
pub(crate) async fn claim(
    client: &Client,
    task_id: &TaskId,
    name: &str,
    epoch: Epoch,
) -> Result<Claim, Error> {
    // A zombie must not terminate the backends of its replacement.
    refuse_stale(client, task_id, epoch).await?;
    terminate_leftovers(client, task_id).await?;
    let nonce = in_transaction(client, BEGIN, async {
        let task = task_id.as_str();
        client.execute_typed(TASK_SQL, &[(&task, TEXT), (&name, TEXT)]).await.context("claim the task")?;
        let held: i64 = epoch_number(epoch)?;
        lock_out_lanes(client, task_id).await?;
        // Waits for a transaction that holds the row; afterwards that holder's next one raises.
        let drawn = draw_nonce();
        let claimed =
            client.query_typed_opt(CLAIM_SQL, &[(&task, TEXT), (&held, INT8), (&drawn, TEXT)]).await;
        Ok(claimed.context("claim the task")?.map(|row| row.get::<_, String>(0)))
    })
    .await?;
    match nonce {
        Some(nonce) => Ok(Claim { task_id: task_id.clone(), epoch, nonce }),
        None => {
            refuse_stale(client, task_id, epoch).await?;
            Err(Error::Replaced)
        }
    }
}

/// Ends the backends that earlier holders of the task left behind and waits until they are gone; returns how
/// many.
pub(crate) async fn terminate_leftovers(client: &Client, task_id: &TaskId) -> Result<i64, Error> {
    let name = application_name(task_id);
    let deadline = Instant::now() + TERMINATE_TIMEOUT;
    let mut most = 0;
    loop {
        let row = client.query_typed_one(TERMINATE_SQL, &[(&name, TEXT)]).await;
        let left: i64 = row.context("terminate leftover backends of the task")?.get(0);
        most = most.max(left);
        if left == 0 || Instant::now() >= deadline {
            return Ok(most);
        }
        sleep(TERMINATE_PAUSE).await;
    }
}

/// A random UUID, which servers before PostgreSQL 13 do not draw themselves.
pub(super) fn draw_nonce() -> String {
    let random = format!("{:032x}", rand::random::<u128>());
    let (variant, rest) = random[16..].split_at(4);
    // Version 4, variant 10 in binary.
    let (time_high, variant) = (&random[13..16], format!("8{}", &variant[1..]));
    format!("{}-{}-4{time_high}-{variant}-{rest}", &random[..8], &random[8..12])
}

async fn refuse_stale(client: &Client, task_id: &TaskId, epoch: Epoch) -> Result<(), Error> {
    let row =
        client.query_typed_opt(EPOCH_SQL, &[(&task_id.as_str(), TEXT)]).await.context("read the epoch")?;
    match row.map(|row| row.get::<_, i64>(0)) {
        Some(current) if current > epoch_number(epoch)? => {
            Err(Error::StaleEpoch { given: epoch, current: Epoch(current.unsigned_abs()) })
        }
        _ => Ok(()),
    }
}

pub(super) fn epoch_number(epoch: Epoch) -> Result<i64, Error> {
    i64::try_from(epoch.0).map_err(|_| Error::protocol(format!("epoch {epoch} is out of range")))
}

pub(super) const TEXT: tokio_postgres::types::Type = tokio_postgres::types::Type::TEXT;
pub(super) const INT8: tokio_postgres::types::Type = tokio_postgres::types::Type::INT8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_a_uuid_and_never_the_same() {
        let (one, other) = (draw_nonce(), draw_nonce());
        assert_ne!(one, other);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{one}");
        assert!(one[14..].starts_with('4') && one[19..].starts_with('8'), "{one}");
    }
}
