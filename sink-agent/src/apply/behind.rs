//! What is finished behind the change stream, between its transactions: foreign keys, and the objects that waited for the rows.

use strait_postgres::{Client, ConnectionUri};
use strait_proto::{Lsn, v1};

use crate::after_data::AfterData;
use crate::error::Error;
use crate::foreign_keys::ForeignKeys;

pub(super) struct Behind {
    pub(super) foreign_keys: ForeignKeys,
    pub(super) after_data: AfterData,
}

impl Behind {
    /// Nothing waits any more.
    pub(super) fn is_done(&self) -> bool {
        self.foreign_keys.are_done() && self.after_data.is_done()
    }

    /// Waits until a step may have something to do. Cancel-safe.
    pub(super) async fn due(&mut self) {
        tokio::select! {
            () = self.foreign_keys.due() => {}
            () = self.after_data.due() => {}
        }
    }

    /// Does what can be done now, between two transactions of `client`; returns the results that it led to.
    pub(super) async fn step(
        &mut self,
        client: &Client,
        uri: &ConnectionUri,
        durable_lsn: Lsn,
    ) -> Result<Vec<v1::ObjectResult>, Error> {
        let mut results = Vec::new();
        if !self.foreign_keys.are_done() {
            results = self.foreign_keys.step(client, uri, durable_lsn).await?;
        }
        results.extend(self.after_data.step(uri, durable_lsn).await?);
        Ok(results)
    }
}
