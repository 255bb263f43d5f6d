//! The read-only transaction in which the catalogs are read.
//!
//! Whatever ends it early, an error or a caller that stops waiting, the connection leaves the transaction:
//! otherwise its next user would read an old snapshot and hold back vacuum at the source.

use futures_util::FutureExt;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::{Client, Dialect, Error};

// The session is pinned already. The path is set again because every deparsed text depends on it. Compiling
// such wide queries would take longer than running them.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SET LOCAL search_path = pg_catalog; \
                     SET LOCAL quote_all_identifiers = off; \
                     SET LOCAL jit = off";
const END: &str = "ROLLBACK";

/// An open read-only transaction.
pub(super) struct Snapshot<'client> {
    client: &'client Client,
    open: bool,
}

impl<'client> Snapshot<'client> {
    pub(super) async fn begin(client: &'client Client) -> Result<Self, Error> {
        let snapshot = Self { client, open: true };
        client.batch_execute(BEGIN).await?;
        Ok(snapshot)
    }

    pub(super) async fn end(mut self) -> Result<(), Error> {
        self.client.batch_execute(END).await?;
        self.open = false;
        Ok(())
    }

    /// The family that the server belongs to.
    pub(super) async fn dialect(&self) -> Result<Dialect, Error> {
        Ok(self.client.server().await?.dialect)
    }

    pub(super) async fn query(&self, sql: &str) -> Result<Vec<Row>, Error> {
        Ok(self.client.query(sql, &[]).await?)
    }

    /// Runs a query whose `$1` is an array of oids.
    pub(super) async fn query_of(&self, sql: &str, oids: &[u32]) -> Result<Vec<Row>, Error> {
        let parameter: &(dyn ToSql + Sync) = &oids;
        Ok(self.client.query(sql, &[parameter]).await?)
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if self.open && !self.client.is_closed() {
            // The first poll hands the statement to the connection; nobody is here to wait for the answer.
            let _sent = self.client.batch_execute(END).now_or_never();
        }
    }
}
