//! Tells the walsender where we stand: often enough to keep the connection, at once when the durable position moved.
//!
//! It depends on nothing that the reader does. What counts as flushed is what is durable at the destination: the server
//! forgets everything before.

use std::time::Duration;

use strait_postgres::Client;
use strait_postgres::replication::{ReplicationWriter, StandbyStatus};
use tokio::time::{MissedTickBehavior, interval};

use super::positions::Positions;
use crate::error::{During, RunError};

const INTERVAL: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How often to report, so that the server does not give the connection up.
pub(super) async fn status_interval(client: &Client) -> Result<Duration, RunError> {
    const DOING: &str = "read wal_sender_timeout";
    const SQL: &str = "SELECT setting::int8 FROM pg_settings WHERE name = 'wal_sender_timeout'";
    let row = client.query_opt(SQL, &[]).await.during(DOING)?;
    let millis = row.map_or(Ok(0), |row| row.try_get::<_, i64>(0)).during(DOING)?;
    Ok(match u64::try_from(millis) {
        Ok(0) | Err(_) => INTERVAL,
        Ok(millis) => (Duration::from_millis(millis) / 3).clamp(INTERVAL_MIN, INTERVAL),
    })
}

/// Sends status updates for ever.
pub(super) async fn run(
    writer: &mut ReplicationWriter,
    positions: &Positions,
    every: Duration,
) -> Result<(), RunError> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = positions.status_due.notified() => {}
        }
        send(writer, positions).await?;
    }
}

async fn send(writer: &mut ReplicationWriter, positions: &Positions) -> Result<(), RunError> {
    let durable_lsn = positions.durable();
    let status = StandbyStatus {
        written_lsn: positions.received(),
        flushed_lsn: durable_lsn,
        applied_lsn: positions.applied(),
        reply_requested: false,
    };
    writer.send_status(status).await.during("confirm positions to the source")?;
    positions.set_confirmed(durable_lsn);
    Ok(())
}
