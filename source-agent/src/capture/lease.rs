//! The exported snapshot of a full copy, for as long as its connection stands.
//!
//! It is kept in the process across attempts and assignments: a cut to the sink or a restart of the coordinator does not
//! lose it. What dies with it are only the plans of unfinished tables, which begin again under another snapshot.

use std::collections::BTreeMap;

use strait_postgres::replication::{ReplicationConnection, SlotLifetime};
use strait_postgres::{Client, SlotName};
use strait_proto::Lsn;

use super::slot::parse_lsn;
use super::waiting;
use crate::copy::TablePlan;
use crate::error::{During, RunError};
use crate::reporter::Reporter;

/// A snapshot, and what is being copied under it.
pub(crate) struct SnapshotLease {
    holder: Holder,
    /// For `SET TRANSACTION SNAPSHOT`.
    pub(crate) snapshot_name: String,
    /// Where the snapshot's tables begin: it holds every transaction before, and none from here on.
    pub(crate) consistent_point: Lsn,
    /// Tables that are copied under it, by oid.
    pub(crate) plans: BTreeMap<u32, TablePlan>,
}

/// What keeps the snapshot. Idle: any command on it could end the snapshot.
enum Holder {
    /// The connection that created a slot.
    Slot(Box<ReplicationConnection>),
    /// A transaction, where no change follows the copy and so no slot is needed.
    Transaction(Box<Client>),
}

impl SnapshotLease {
    /// Exports the snapshot of a transaction, without a slot: what is committed afterwards is not captured.
    pub(crate) async fn export(client: Client) -> Result<Self, RunError> {
        const DOING: &str = "export a snapshot";
        // What lies before the position is in the snapshot; the position itself decides nothing.
        const POSITION: &str = "SELECT pg_current_wal_insert_lsn()::text";
        let position: String =
            client.query_one(POSITION, &[]).await.during(DOING)?.try_get(0).during(DOING)?;
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        client.batch_execute(BEGIN).await.during(DOING)?;
        let row = client.query_one("SELECT pg_export_snapshot()", &[]).await.during(DOING)?;
        Ok(Self {
            snapshot_name: row.try_get(0).during(DOING)?,
            consistent_point: parse_lsn(&position).during(DOING)?,
            holder: Holder::Transaction(Box::new(client)),
            plans: BTreeMap::new(),
        })
    }

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
            holder: Holder::Slot(Box::new(connection)),
            snapshot_name: created.snapshot_name,
            consistent_point: created.consistent_point,
            plans: BTreeMap::new(),
        })
    }

    /// Whether the connection, and so the snapshot, still stands as far as this side can tell without asking the server.
    pub(crate) async fn is_alive(&mut self) -> bool {
        match &mut self.holder {
            Holder::Slot(connection) => connection.is_alive().await,
            Holder::Transaction(client) => !client.is_closed(),
        }
    }
}
