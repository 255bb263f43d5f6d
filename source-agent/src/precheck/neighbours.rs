//! What else replicates from the server: slots that hold log back beside the task's, and standbys.

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::PrecheckItem;

use super::item::{list, statements, warning};
use super::passed;

/// An idle slot that keeps less is not worth a word, megabytes.
const KEPT_MEGABYTES: i64 = 64;

/// Logical slots that are not the task's ($1): what they keep, in log and in old rows of the catalogs.
const SLOTS: &str = "
    SELECT slot_name::text AS name, coalesce(database::text, '?') AS database, coalesce(plugin::text, '?') AS plugin,
           coalesce(pg_wal_lsn_diff(l.now, restart_lsn), 0)::int8 AS kept,
           pg_size_pretty(coalesce(pg_wal_lsn_diff(l.now, restart_lsn), 0)) AS kept_pretty,
           coalesce(age(catalog_xmin)::int8, 0) AS xmin_age,
           coalesce(to_jsonb(s) ->> 'wal_status', '') AS wal_status
    FROM pg_replication_slots AS s,
         (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS now) AS l
    WHERE slot_type = 'logical' AND NOT temporary AND NOT active AND slot_name <> ALL ($1::text[])
    ORDER BY kept DESC, name";

/// Logical walsenders are those that have a logical slot; a backup is no standby.
const STANDBYS: &str = "
    SELECT DISTINCT name FROM (
        SELECT format('%s (connected)', coalesce(nullif(r.application_name, ''), '?')) AS name
        FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
        WHERE s.slot_type IS DISTINCT FROM 'logical' AND r.state IN ('catchup', 'streaming')
      UNION ALL
        SELECT format('%s (slot)', slot_name) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary
    ) AS standby ORDER BY name";

/// Slots that nobody reads fill the disk of the server, and the task would be blamed or stopped with it.
pub(super) async fn idle_slots(client: &Client, own: &[&str]) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.idle_slots";
    let rows = client.query(SLOTS, &[&own]).await?;
    let mut lines = Vec::new();
    let mut drops = Vec::new();
    for row in &rows {
        let (kept, xmin_age): (i64, i64) = (row.try_get("kept")?, row.try_get("xmin_age")?);
        let wal_status: String = row.try_get("wal_status")?;
        let is_lost = wal_status == "lost";
        if kept < KEPT_MEGABYTES << 20 && !is_lost {
            continue;
        }
        let name: String = row.try_get("name")?;
        let (database, plugin): (String, String) = (row.try_get("database")?, row.try_get("plugin")?);
        let keeps = if is_lost {
            "lost: nobody can read it any more".to_owned()
        } else {
            format!(
                "keeps {} of log, catalog rows of {xmin_age} transactions",
                row.try_get::<_, String>("kept_pretty")?
            )
        };
        lines.push(format!("{name} (database {database}, plugin {plugin}): {keeps}"));
        drops.push(format!("SELECT pg_drop_replication_slot({});", quote::literal(&name)));
    }
    if lines.is_empty() {
        return Ok(passed(
            NAME,
            format!("none of {} idle logical slots keeps {KEPT_MEGABYTES} MB or more", rows.len()),
        ));
    }
    drops.insert(0, "Let their readers go on, or, where nobody needs them any more:".to_owned());
    let cause = "they keep log at the source until its disk is full, or make the server drop the log that the task needs";
    Ok(warning(NAME, list(lines), cause, statements(drops)))
}

/// Whether the task can follow a failover to them: from 17 standbys may keep a copy of its slot, of which the primary knows only
/// that it waits for them.
pub(super) async fn standbys(client: &Client) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.standbys";
    const AWAITED: &str = "SELECT current_setting('synchronized_standby_slots', true)";
    let rows = client.query(STANDBYS, &[]).await?;
    let found: Vec<String> = rows.iter().map(|row| row.try_get("name")).collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Ok(passed(NAME, "none, as far as this role can see"));
    }
    let awaited: Option<String> = client.query_one(AWAITED, &[]).await?.try_get(0)?;
    let Some(awaited) = awaited else {
        let cause = "before PostgreSQL 17 the task's slot is on the primary alone: after a failover the task cannot go on";
        let remedy = "Nothing, if that is acceptable: release the task and start it again after a failover.";
        return Ok(warning(NAME, list(found), cause, remedy));
    };
    if !awaited.is_empty() {
        return Ok(passed(NAME, format!("{}; synchronized_standby_slots = {awaited}", list(found))));
    }
    let cause = "after a failover the task goes on only where the standby has a copy of its slot and everything that was sent";
    let remedy = "On each standby: ALTER SYSTEM SET sync_replication_slots = on; ALTER SYSTEM SET hot_standby_feedback = on; with a \
                  dbname in primary_conninfo and a primary_slot_name.\nAt the primary: ALTER SYSTEM SET \
                  synchronized_standby_slots = '…'; with those slots.";
    Ok(warning(NAME, list(found), cause, remedy))
}
