//! The exported snapshot of a full copy, for as long as its connection stands.
//!
//! It is kept in the process across attempts and assignments: a cut to the sink or a restart of the coordinator does not
//! lose it. What dies with it are only the plans of unfinished tables, which begin again under another snapshot.

use std::collections::BTreeMap;

use strait_postgres::replication::{ReplicationConnection, SlotLifetime};
use strait_postgres::{Client, SlotName};
use strait_proto::Lsn;

use super::waiting;
use crate::copy::TablePlan;
use crate::error::RunError;
use crate::reporter::Reporter;

/// A snapshot, and what is being copied under it.
pub(crate) struct SnapshotLease {
    /// Idle: any command on it would end the snapshot.
    connection: ReplicationConnection,
    /// For `SET TRANSACTION SNAPSHOT`.
    pub(crate) snapshot_name: String,
    /// Where the snapshot's tables begin: it holds every transaction before, and none from here on.
    pub(crate) consistent_point: Lsn,
    /// Tables that are copied under it, by oid.
    pub(crate) plans: BTreeMap<u32, TablePlan>,
}

impl SnapshotLease {
    /// Creates a slot and keeps the snapshot that it exports. `client` is asked what it waits for.
    pub(crate) async fn create(
        mut connection: ReplicationConnection,
        client: &Client,
        slot: &SlotName,
        lifetime: SlotLifetime,
        reporter: &Reporter,
    ) -> Result<Self, RunError> {
        let creating = connection.create_slot(slot, lifetime);
        let created = waiting::tell_while(client, slot, reporter, creating).await?;
        tracing::info!(%slot, consistent_point = %created.consistent_point, "created the replication slot");
        Ok(Self {
            connection,
            snapshot_name: created.snapshot_name,
            consistent_point: created.consistent_point,
            plans: BTreeMap::new(),
        })
    }

    /// Whether the connection, and so the snapshot, still stands as far as this side can tell without asking the server.
    pub(crate) async fn is_alive(&mut self) -> bool {
        self.connection.is_alive().await
    }
}
