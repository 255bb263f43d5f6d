//! Getting at the slot's changes, once it is certain that it still has what the sink lacks.

use std::sync::Arc;
use std::time::Duration;

use strait_postgres::Client;
use strait_postgres::replication::{SlotCopy, StartOptions};
use strait_proto::Lsn;
use tokio_postgres::error::SqlState;

use super::positions::Positions;
use super::standbys;
use super::walsender::Walsender;
use crate::capture::slot;
use crate::error::{During, RunError};
use crate::source::Source;

/// How often a slot that is held by a walsender that just ends is asked for again.
const START_ATTEMPTS_MAX: u32 = 5;

/// The slot of a task, and what reading it takes.
pub(super) struct SlotAccess {
    pub(super) source: Source,
    /// For single statements that do not wait.
    pub(super) client: Arc<Client>,
    pub(super) positions: Arc<Positions>,
    /// How often a walsender hears from us.
    pub(super) status_interval: Duration,
    /// How the stream is started.
    pub(super) options: StartOptions,
}

/// What became of copying a slot.
pub(super) enum Copied {
    Slot(Box<SlotCopy>),
    /// The source has as many slots as it may.
    NoSlotFree,
    /// Nothing may be read that the source's standbys have not flushed: only a walsender waits for them.
    WaitsForStandbys,
}

impl SlotAccess {
    /// Starts the slot's stream at `position_lsn`.
    pub(super) async fn stream(&self, position_lsn: Lsn) -> Result<Walsender, RunError> {
        const DOING: &str = "start the change stream";
        let source = &self.source;
        for attempt in 1.. {
            slot::release(&self.client, &source.slot, &source.application_name).await?;
            self.verify(position_lsn).await?;
            let connection = source.connect_replication().await.during("connect for the change stream")?;
            match connection.start(&source.slot, position_lsn, &source.publication, self.options).await {
                Err(error)
                    if error.sqlstate() == Some(&SqlState::OBJECT_IN_USE) && attempt < START_ATTEMPTS_MAX =>
                {
                    tracing::info!(attempt, "the slot is in use, trying again");
                }
                started => {
                    let (reader, writer) = started.during(DOING)?;
                    let positions = Arc::clone(&self.positions);
                    return Ok(Walsender::new(reader, writer, positions, self.status_interval));
                }
            }
        }
        unreachable!("the loop ends at its last attempt")
    }

    /// Copies the slot, to be read in slices from `position_lsn` on.
    pub(super) async fn copy(&self, position_lsn: Lsn) -> Result<Copied, RunError> {
        let source = &self.source;
        self.verify(position_lsn).await?;
        if standbys::are_waited_for(&self.client).await? {
            return Ok(Copied::WaitsForStandbys);
        }
        // A walsender that an agent left behind, which froze for instance, would keep the slot from being moved.
        slot::release(&self.client, &source.slot, &source.application_name).await?;
        // Of a session that was cut off.
        slot::drop(&self.client, &source.catch_up_slot, &source.application_name).await?;
        let connection = source.connect_replication().await.during("connect to read the backlog")?;
        let name = source.catch_up_slot.clone();
        let copied =
            SlotCopy::create(connection, &source.slot, name, &source.publication, self.options, position_lsn);
        match copied.await {
            Err(error) if error.sqlstate() == Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED) => {
                Ok(Copied::NoSlotFree)
            }
            copied => Ok(Copied::Slot(Box::new(copied.during("copy the replication slot")?))),
        }
    }

    /// How far the source's log is flushed.
    pub(super) async fn flush_lsn(&self) -> Result<Lsn, RunError> {
        const DOING: &str = "measure the backlog";
        let row =
            self.client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await.during(DOING)?;
        slot::parse_lsn(&row.try_get::<_, String>(0).during(DOING)?).during(DOING)
    }

    async fn verify(&self, position_lsn: Lsn) -> Result<(), RunError> {
        let slot = &self.source.slot;
        let state = slot::read(&self.client, slot).await.during("check the replication slot")?;
        slot::verify(slot, state.as_ref(), position_lsn)
    }
}
