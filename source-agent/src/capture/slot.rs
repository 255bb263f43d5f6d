//! The replication slot: what it still offers, and getting hold of it.
//!
//! A slot that a checkpoint depends on is never made anew: whether it can still serve is checked, and a person decides.

use std::time::Duration;

use strait_postgres::{Client, Error, SlotName};
use strait_proto::Lsn;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;

use crate::error::{During, RunError};

/// How long a slot may stay active after its walsender was told to end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(20);
const RELEASE_PAUSE: Duration = Duration::from_millis(200);

/// A slot as `pg_replication_slots` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotState {
    pub(crate) plugin: String,
    /// The database that it decodes.
    pub(crate) database: String,
    pub(crate) in_this_database: bool,
    /// Empty before PostgreSQL 13, which keeps the log of a slot whatever it costs.
    pub(crate) wal_status: String,
    /// Where decoding starts again; changes before it are gone. None where the slot was invalidated.
    pub(crate) confirmed_flush_lsn: Option<Lsn>,
    /// The walsender that holds it, and its application_name where this role may see it.
    pub(crate) active: Option<(i32, String)>,
}

/// Reads a slot; None where there is none of this name.
pub(crate) async fn read(client: &Client, slot: &SlotName) -> Result<Option<SlotState>, Error> {
    const SQL: &str = "
        SELECT coalesce(s.plugin, '') AS plugin, coalesce(s.database, '') AS database,
               coalesce(s.database = current_database(), false) AS here,
               coalesce(to_jsonb(s) ->> 'wal_status', '') AS wal_status,
               s.confirmed_flush_lsn::text AS confirmed, s.active_pid, coalesce(a.application_name, '') AS holder
        FROM pg_replication_slots AS s LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid
        WHERE s.slot_name = $1";
    let Some(row) = client.query_opt(SQL, &[&slot.as_str()]).await? else {
        return Ok(None);
    };
    let confirmed: Option<String> = row.try_get("confirmed")?;
    let pid: Option<i32> = row.try_get("active_pid")?;
    let holder: String = row.try_get("holder")?;
    Ok(Some(SlotState {
        plugin: row.try_get("plugin")?,
        database: row.try_get("database")?,
        in_this_database: row.try_get("here")?,
        wal_status: row.try_get("wal_status")?,
        confirmed_flush_lsn: confirmed.map(|text| parse_lsn(&text)).transpose()?,
        active: pid.map(|pid| (pid, holder)),
    }))
}

/// A position as the server prints it.
pub(crate) fn parse_lsn(text: &str) -> Result<Lsn, Error> {
    text.parse().map_err(|error| Error::Protocol(format!("{error}")))
}

/// Whether the slot still offers every change from `resume_lsn` on.
pub(crate) fn verify(slot: &SlotName, state: Option<&SlotState>, resume_lsn: Lsn) -> Result<(), RunError> {
    const REMEDY: &str = "Changes that the destination lacks are gone from the log, so it cannot be continued. Release the \
                          task and start it again: it copies the data anew.";
    let Some(state) = state else {
        let cause = format!(
            "replication slot {slot} does not exist any more: it was dropped, or a standby was promoted that had no copy of it \
             (from PostgreSQL 17: sync_replication_slots = on at the standby)"
        );
        return Err(RunError::definite(cause, REMEDY));
    };
    if state.plugin != "pgoutput" || !state.in_this_database {
        let cause = format!(
            "replication slot {slot} is not the task's: it decodes database {:?} with plugin {:?}",
            state.database, state.plugin
        );
        return Err(RunError::definite(cause, REMEDY));
    }
    match state.confirmed_flush_lsn {
        Some(_) if state.wal_status == "lost" => {
            let cause = format!(
                "replication slot {slot} was invalidated by the server: it held more log than max_slot_wal_keep_size \
                 (or, from PostgreSQL 18, was idle longer than idle_replication_slot_timeout)"
            );
            Err(RunError::definite(cause, REMEDY))
        }
        Some(confirmed) if confirmed <= resume_lsn => Ok(()),
        Some(confirmed) => {
            let cause = format!(
                "replication slot {slot} was advanced to {confirmed}, past the destination's position {resume_lsn}: \
                 the changes between are gone"
            );
            Err(RunError::definite(cause, REMEDY))
        }
        None => {
            Err(RunError::definite(format!("replication slot {slot} was invalidated by the server"), REMEDY))
        }
    }
}

/// Makes the slot free: ends a walsender of ours that still holds it, and waits. A slot that is not there is free.
pub(crate) async fn release(
    client: &Client,
    slot: &SlotName,
    application_name: &str,
) -> Result<(), RunError> {
    let doing = format!("free the replication slot {slot}");
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    let mut terminated = None;
    loop {
        let state = read(client, slot).await.during(&*doing)?;
        let Some((pid, holder)) = state.and_then(|state| state.active) else {
            return Ok(());
        };
        if holder == application_name && terminated != Some(pid) {
            tracing::info!(%slot, pid, "ending an older walsender of this task");
            client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.during(&*doing)?;
            terminated = Some(pid);
        }
        if Instant::now() >= deadline {
            return Err(RunError::transient(format!(
                "replication slot {slot} is in use by process {pid} ({holder:?}) at the source"
            )));
        }
        sleep(RELEASE_PAUSE).await;
    }
}

/// Drops the slot, whatever holds it. True if there was one.
pub(crate) async fn drop(client: &Client, slot: &SlotName, application_name: &str) -> Result<bool, RunError> {
    let doing = format!("drop the replication slot {slot}");
    loop {
        release(client, slot, application_name).await?;
        if read(client, slot).await.during(&*doing)?.is_none() {
            return Ok(false);
        }
        let dropped = client.execute("SELECT pg_drop_replication_slot($1)", &[&slot.as_str()]).await;
        match dropped.map_err(Error::from) {
            Ok(_) => return Ok(true),
            // Gone, or taken, between the two statements.
            Err(error) if error.sqlstate() == Some(&SqlState::UNDEFINED_OBJECT) => return Ok(false),
            Err(error) if error.sqlstate() == Some(&SqlState::OBJECT_IN_USE) => {}
            Err(error) => return Err(error).during(doing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_serves_only_if_it_offers_everything_since_the_checkpoint() {
        let slot = SlotName::for_task(&"abcdefghijkl".parse().unwrap());
        let good = SlotState {
            plugin: "pgoutput".into(),
            database: "d".into(),
            in_this_database: true,
            wal_status: "reserved".into(),
            confirmed_flush_lsn: Some(Lsn(100)),
            active: None,
        };
        let with = |change: fn(&mut SlotState)| {
            let mut state = good.clone();
            change(&mut state);
            Some(state)
        };
        for (state, resume, words) in [
            (Some(good.clone()), 100, None),
            (Some(good.clone()), 200, None),
            (Some(good.clone()), 99, Some("past the destination's position")),
            (None, 100, Some("does not exist")),
            (with(|s| s.plugin = "test_decoding".into()), 100, Some("not the task's")),
            (with(|s| s.in_this_database = false), 100, Some("not the task's")),
            (with(|s| s.wal_status = "lost".into()), 100, Some("invalidated")),
            (with(|s| s.wal_status = "unreserved".into()), 100, None),
            (with(|s| s.confirmed_flush_lsn = None), 100, Some("invalidated")),
        ] {
            let result = verify(&slot, state.as_ref(), Lsn(resume));
            match (result, words) {
                (Ok(()), None) => {}
                (Err(error), Some(words)) => {
                    let failure = error.failure();
                    assert!(failure.definite && failure.cause.contains(words), "{failure:?}");
                }
                (result, words) => panic!("{result:?} {words:?}"),
            }
        }
    }
}
