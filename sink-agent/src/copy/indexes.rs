//! The indexes of a table, several at once.
//!
//! The connection that built the keys goes on with the indexes; others help as long as the task may build more at once than it
//! does, so that the last large table of a copy does not build its indexes one after the other. Each index is created from a
//! look at the whole table, which the server's readers share (`synchronize_seqscans`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{try_join, try_join_all};
use strait_postgres::Client;
use strait_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::error::{Context as _, Error};
use crate::schema;
use crate::session::Session;

/// Creates `indexes` of `table` by `client` and whoever helps.
pub(super) async fn create(
    session: &Session,
    client: &Client,
    table: &v1::Table,
    indexes: Vec<&v1::Index>,
    results: &schema::Results,
) -> Result<(), Error> {
    let helpers = indexes.len().saturating_sub(1);
    let build = Build {
        session,
        table,
        results,
        queue: Mutex::new(indexes.into()),
        drained: CancellationToken::new(),
    };
    try_join(build.work(client), try_join_all((0..helpers).map(|_| build.help()))).await?;
    Ok(())
}

struct Build<'a> {
    session: &'a Session,
    table: &'a v1::Table,
    results: &'a schema::Results,
    queue: Mutex<VecDeque<&'a v1::Index>>,
    /// Nothing is left to begin.
    drained: CancellationToken,
}

impl Build<'_> {
    async fn work(&self, client: &Client) -> Result<(), Error> {
        while let Some(index) = self.next() {
            let created = schema::create_index(client, self.table, index, self.results).await;
            created.context(format!("build the indexes of table {}", self.table.table_name()))?;
        }
        Ok(())
    }

    async fn help(&self) -> Result<(), Error> {
        let _permit = tokio::select! {
            biased;
            () = self.drained.cancelled() => return Ok(()),
            permit = self.session.permit_to_build() => permit,
        };
        let client = self.session.building_connection().await?;
        self.work(&client).await?;
        self.session.give_back_building(client);
        Ok(())
    }

    fn next(&self) -> Option<&v1::Index> {
        let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if next.is_none() {
            self.drained.cancel();
        }
        next
    }
}
