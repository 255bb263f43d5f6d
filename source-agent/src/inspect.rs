//! What of Strait stands at a source: slots and publications by their names, whichever task made them.

use strait_postgres::{ConnectionUri, NAME_PREFIX};
use strait_proto::TaskId;
use strait_proto::v1::{self, Leftover, SlotInfo};

use crate::error::{During, RunError};

/// All of the server's, $1: the prefix. Columns that came with 13 are read through JSON.
const SLOTS: &str = "
    SELECT slot_name::text AS name, coalesce(database::text, '') AS database, active,
           coalesce(pg_wal_lsn_diff(l.now, restart_lsn), 0)::int8 AS retained,
           coalesce(to_jsonb(s) ->> 'wal_status', '') AS wal_status,
           (to_jsonb(s) ->> 'safe_wal_size')::int8 AS safe_wal_size,
           coalesce(greatest(age(xmin), age(catalog_xmin)), 0)::int8 AS xmin_age
    FROM pg_replication_slots AS s,
         (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS now) AS l
    WHERE starts_with(slot_name::text, $1)
    ORDER BY name";

const PUBLICATIONS: &str =
    "SELECT pubname::text AS name FROM pg_publication WHERE starts_with(pubname::text, $1) ORDER BY name";

/// Connects and looks. Changes nothing.
pub(crate) async fn inspect(uri: &ConnectionUri) -> Result<v1::InspectResult, RunError> {
    const DOING: &str = "look at the source";
    let client =
        strait_postgres::connect(uri, "strait-source inspect").await.during("connect to the source")?;
    let server = client.server().await.during(DOING)?;
    let database: String =
        client.query_one("SELECT current_database()::text", &[]).await.during(DOING)?.get(0);
    let mut slots = Vec::new();
    let mut leftovers = Vec::new();
    for row in client.query(SLOTS, &[&NAME_PREFIX]).await.during(DOING)? {
        let name: String = row.get("name");
        let Some(task_id) = task_of(&name) else { continue };
        let slot = SlotInfo {
            name: name.clone(),
            task_id: task_id.clone(),
            database: row.get("database"),
            active: row.get("active"),
            retained_bytes: unsigned(row.get("retained")),
            wal_status: row.get("wal_status"),
            safe_wal_bytes: row.get::<_, Option<i64>>("safe_wal_size"),
            xmin_age: unsigned(row.get("xmin_age")),
        };
        if slot.database == database {
            leftovers.push(Leftover { kind: "replication slot".to_owned(), name, task_id });
        }
        slots.push(slot);
    }
    for row in client.query(PUBLICATIONS, &[&NAME_PREFIX]).await.during(DOING)? {
        let name: String = row.get("name");
        let task_id = task_of(&name);
        leftovers.extend(task_id.map(|task_id| Leftover { kind: "publication".to_owned(), name, task_id }));
    }
    Ok(v1::InspectResult {
        server: format!("{} {}", server.dialect, server.version),
        database,
        slots,
        leftovers,
    })
}

/// The task that a name of ours belongs to.
fn task_of(name: &str) -> Option<String> {
    let task_id = name.strip_prefix(NAME_PREFIX)?.get(..TaskId::LENGTH)?;
    task_id.parse::<TaskId>().is_ok().then(|| task_id.to_owned())
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_task() {
        for (name, expected) in [
            ("dts_sync_abcdefghijkl", Some("abcdefghijkl")),
            ("dts_sync_abcdefghijkl_join", Some("abcdefghijkl")),
            ("dts_sync_abc", None),
            ("dts_sync_ABCDEFGHIJKL", None),
            ("other_abcdefghijkl", None),
        ] {
            assert_eq!(task_of(name).as_deref(), expected, "{name}");
        }
    }
}
