//! Standbys that the source waits for, from PostgreSQL 17 on: a walsender of a failover slot sends nothing that the slots
//! named in `synchronized_standby_slots` have not confirmed, so that a standby which is promoted lacks nothing.

use strait_postgres::Client;

use crate::error::{During, RunError};

const SETTING: &str = "coalesce(current_setting('synchronized_standby_slots', true), '')";

/// Whether there are any.
pub(super) async fn are_waited_for(client: &Client) -> Result<bool, RunError> {
    const DOING: &str = "ask which standbys are waited for";
    let sql = format!("SELECT {SETTING} <> ''");
    client.query_one(&sql, &[]).await.during(DOING)?.try_get(0).during(DOING)
}

/// What to tell people where one of them is away: until it is back nothing is sent.
pub(super) async fn absence(client: &Client) -> Result<Option<String>, RunError> {
    const DOING: &str = "ask which standbys are away";
    let sql = format!(
        "SELECT string_agg(name, ', ')
           FROM unnest(string_to_array({SETTING}, ',')) AS setting(item), trim(both ' \"' from item) AS name
           LEFT JOIN pg_replication_slots AS s ON s.slot_name = name
          WHERE s.active IS NOT TRUE"
    );
    let away: Option<String> = client.query_one(&sql, &[]).await.during(DOING)?.try_get(0).during(DOING)?;
    Ok(away.map(|names| {
        format!(
            "the source sends nothing until its standbys have it, and nobody reads from slot {names}: start the standby again, \
             or take the slot out of synchronized_standby_slots"
        )
    }))
}
