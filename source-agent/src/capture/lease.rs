//! The exported snapshot of a full copy, for as long as its connection stands.
//!
//! It is kept in the process across attempts and assignments: a cut to the sink or a restart of the coordinator does not
//! lose it. What dies with it are only the plans of unfinished tables, which begin again under another snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_postgres::replication::{ReplicationConnection, SlotLifetime};
use strait_postgres::{Client, Error, SlotName};
use strait_proto::Lsn;
use tokio::sync::Mutex;

use super::slot::parse_lsn;
use super::waiting;
use crate::copy::TablePlan;
use crate::error::{During, RunError};
use crate::reporter::Reporter;

/// A snapshot, and what is being copied under it.
pub(crate) struct SnapshotLease {
    holder: Holder,
    pub(crate) snapshot: Snapshot,
    /// Where the snapshot's tables begin: it holds every transaction before, and none from here on.
    pub(crate) consistent_point: Lsn,
    /// Tables that are copied under it, by oid.
    pub(crate) plans: BTreeMap<u32, TablePlan>,
}

/// How rows are read under a snapshot.
#[derive(Clone)]
pub(crate) enum Snapshot {
    /// By any number of connections, with `SET TRANSACTION SNAPSHOT` and this name.
    Exported(String),
    /// By the one connection whose transaction it is. None once a chunk broke off: the transaction is lost then.
    Held(Arc<Mutex<Option<Client>>>),
}

/// What keeps the snapshot. Idle: any command on it could end the snapshot.
enum Holder {
    /// The connection that created a slot.
    Slot(Box<ReplicationConnection>),
    /// A transaction, where no change follows the copy and so no slot is needed.
    Transaction(Box<Client>),
    /// The snapshot itself.
    Reader,
}

impl SnapshotLease {
    /// Exports the snapshot of a transaction, without a slot: what is committed afterwards is not captured.
    pub(crate) async fn export(client: Client) -> Result<Self, RunError> {
        const DOING: &str = "export a snapshot";
        let consistent_point = begin(&client).await.during(DOING)?;
        let row = client.query_one("SELECT pg_export_snapshot()", &[]).await.during(DOING)?;
        Ok(Self {
            snapshot: Snapshot::Exported(row.try_get(0).during(DOING)?),
            consistent_point,
            holder: Holder::Transaction(Box::new(client)),
            plans: BTreeMap::new(),
        })
    }

    /// Keeps the snapshot of a transaction for that connection alone: one that the coordinator of a cluster of the Greenplum
    /// family exports says nothing about its segments.
    pub(crate) async fn hold(client: Client) -> Result<Self, RunError> {
        const DOING: &str = "take a snapshot";
        let consistent_point = begin(&client).await.during(DOING)?;
        // The first statement takes it.
        client.batch_execute("SELECT").await.during(DOING)?;
        Ok(Self {
            snapshot: Snapshot::Held(Arc::new(Mutex::new(Some(client)))),
            consistent_point,
            holder: Holder::Reader,
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
            snapshot: Snapshot::Exported(created.snapshot_name),
            consistent_point: created.consistent_point,
            plans: BTreeMap::new(),
        })
    }

    /// Whether the connection, and so the snapshot, still stands as far as this side can tell without asking the server.
    pub(crate) async fn is_alive(&mut self) -> bool {
        match (&mut self.holder, &self.snapshot) {
            (Holder::Slot(connection), _) => connection.is_alive().await,
            (Holder::Transaction(client), _) => !client.is_closed(),
            (Holder::Reader, Snapshot::Held(reader)) => {
                reader.lock().await.as_ref().is_some_and(|client| !client.is_closed())
            }
            (Holder::Reader, Snapshot::Exported(_)) => false,
        }
    }
}

/// Begins the transaction of a snapshot. What lies before the position is in it; the position itself decides nothing.
async fn begin(client: &Client) -> Result<Lsn, Error> {
    const POSITION: &str = "SELECT pg_current_wal_insert_lsn()::text";
    const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let position: String = client.query_one(POSITION, &[]).await?.try_get(0)?;
    client.batch_execute(BEGIN).await?;
    parse_lsn(&position)
}
