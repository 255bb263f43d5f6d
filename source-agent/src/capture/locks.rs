//! DDL at the source, without ever standing in the application's way for long.
//!
//! A statement that waits for a lock makes every later one on that table wait behind it. So each transaction gives up
//! after a moment and tries again after a pause in which the others go ahead.

use std::time::Duration;

use strait_postgres::{Client, Error};
use tokio_postgres::error::SqlState;

use crate::error::{During, RunError};

/// How long one attempt may wait for its locks. Stands in [`BEGIN`].
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// Between attempts, so that what queued up behind us goes ahead.
const PAUSE: Duration = Duration::from_secs(2);
const ATTEMPTS_MAX: u32 = 12;

/// All changes of publications and identities of all tasks in one database happen one after the other: a task that
/// restores an identity must see whether another one has just published the table. The number is "strait" in ASCII.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '3s'; SELECT pg_advisory_xact_lock(126943972387188)";

/// One short transaction of DDL. Dropped without [`commit`](Self::commit), it has to be rolled back by [`with_retry`].
pub(crate) struct Ddl<'a> {
    client: &'a Client,
}

impl<'a> Ddl<'a> {
    /// Begins it.
    pub(crate) async fn begin(client: &'a Client) -> Result<Self, Error> {
        client.batch_execute(BEGIN).await?;
        Ok(Self { client })
    }

    /// Runs statements in it.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), Error> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// For reading within it.
    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        Ok(self.client.batch_execute("COMMIT").await?)
    }

    pub(crate) async fn roll_back(self) -> Result<(), Error> {
        Ok(self.client.batch_execute("ROLLBACK").await?)
    }
}

/// Repeats a transaction that could not get its locks in time. `doing` is a verb phrase for the error; `step` runs one
/// whole transaction on `client`, which is for this purpose alone.
pub(crate) async fn with_retry<T, F>(
    client: &Client,
    doing: &str,
    mut step: impl FnMut() -> F,
) -> Result<T, RunError>
where
    F: Future<Output = Result<T, Error>>,
{
    for attempt in 1.. {
        let error = match step().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !error.is_connection() {
            client.batch_execute("ROLLBACK").await.during(doing)?;
        }
        let lock_missed = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
        if attempt == ATTEMPTS_MAX || !error.sqlstate().is_some_and(|code| lock_missed.contains(code)) {
            return Err(error).during(doing);
        }
        tracing::info!(attempt, doing, timeout = ?LOCK_TIMEOUT, "a lock was not available in time, trying again");
        tokio::time::sleep(PAUSE).await;
    }
    unreachable!("the loop ends at its last attempt")
}
