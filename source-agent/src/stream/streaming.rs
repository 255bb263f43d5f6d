//! When transactions are sent before they have committed.
//!
//! Whenever both sides can. A transaction that the sink could not keep, or about which only its commit can answer a question,
//! puts it off: the next session goes without, so that this transaction comes whole, and once it is over another session
//! takes streaming up again. Nothing is lost in between: every session begins with what is durable at the destination.

use std::time::Duration;

use strait_postgres::pgoutput::Streaming;
use strait_postgres::replication::StartOptions;
use strait_postgres::{Client, ServerVersion};
use tokio::time::{MissedTickBehavior, interval};

use super::positions::Positions;
use crate::capture::slot::parse_lsn;
use crate::error::{During, RunError};

/// The xid of the transaction for whose time streaming is put off. Kept across attempts.
pub(crate) type PutOff = Option<u32>;

/// How often to look whether that transaction is over.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How to start the stream of a slot.
pub(super) fn options(version: ServerVersion, sink_accepts: bool, put_off: PutOff) -> StartOptions {
    let mut options = StartOptions::best(version);
    if !sink_accepts || put_off.is_some() {
        options.streaming = Streaming::Off;
    }
    options
}

/// Waits until the transaction is over and all up to its end is durable, then ends the session with
/// [`RunError::StreamingAgain`]. For ever where streaming is not put off.
pub(super) async fn again(put_off: PutOff, client: &Client, positions: &Positions) -> Result<(), RunError> {
    let Some(xid) = put_off else {
        return std::future::pending().await;
    };
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let over_lsn = loop {
        ticks.tick().await;
        if let Some(over_lsn) = over(client, xid).await? {
            break over_lsn;
        }
    };
    let mut acks = positions.acks();
    while positions.durable() < over_lsn {
        if acks.changed().await.is_err() {
            return Err(RunError::transient("the acknowledgements ended"));
        }
    }
    Err(RunError::StreamingAgain)
}

/// A position past the transaction's end, once it has one. Prepared transactions have none.
async fn over(client: &Client, xid: u32) -> Result<Option<strait_proto::Lsn>, RunError> {
    const DOING: &str = "look whether a transaction is over";
    // The position is read after the snapshot, so that it cannot lie before the end.
    const SQL: &str = "
        WITH running AS MATERIALIZED (
            SELECT count(*) AS count FROM pg_snapshot_xip(pg_current_snapshot()) AS xid
            WHERE (xid::text::numeric % 4294967296)::int8 = $1
        )
        SELECT pg_current_wal_insert_lsn()::text FROM running WHERE count = 0";
    let row = client.query_opt(SQL, &[&i64::from(xid)]).await.during(DOING)?;
    let text = row.map(|row| row.try_get::<_, String>(0)).transpose().during(DOING)?;
    text.map(|text| parse_lsn(&text)).transpose().during(DOING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_is_used_when_both_sides_can_and_nothing_puts_it_off() {
        for (version, sink_accepts, put_off, streaming) in [
            (140_000, true, None, Streaming::On),
            (160_000, true, None, Streaming::Parallel),
            (160_000, false, None, Streaming::Off),
            (160_000, true, Some(7), Streaming::Off),
            (130_000, true, None, Streaming::Off),
        ] {
            let options = options(ServerVersion(version), sink_accepts, put_off);
            assert_eq!(options.streaming, streaming, "{version} {sink_accepts} {put_off:?}");
        }
    }
}
