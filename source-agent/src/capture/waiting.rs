//! Says what the creation of a slot waits for.
//!
//! A slot's snapshot is consistent only once every transaction that ran when it began has ended. On a server with a
//! forgotten transaction that takes for ever, and nothing but this would tell.

use std::pin::pin;
use std::time::Duration;

use strait_postgres::{Client, Error, SlotName};

use crate::error::{During, RunError};
use crate::reporter::Reporter;

/// How long it may take before it is worth a word.
const FIRST: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(60);

/// What the walsender that creates the slot waits for: sessions by their process, prepared transactions by their name.
const BLOCKERS: &str = "
    SELECT format('process %s (user %s, application %s, %s, transaction open for %s s)', a.pid, a.usename,
                  coalesce(nullif(a.application_name, ''), '?'), coalesce(a.state, '?'),
                  coalesce(extract(epoch FROM clock_timestamp() - a.xact_start)::int8::text, '?')) AS blocker
    FROM pg_replication_slots AS s
    CROSS JOIN LATERAL unnest(pg_blocking_pids(s.active_pid)) AS blocking(pid)
    JOIN pg_stat_activity AS a ON a.pid = blocking.pid
    WHERE s.slot_name = $1
    UNION ALL
    SELECT format('prepared transaction %s (user %s, since %s s)', p.gid, p.owner,
                  extract(epoch FROM clock_timestamp() - p.prepared)::int8)
    FROM pg_prepared_xacts AS p";

/// Runs `create` to its end, and says by notices what it waits for.
pub(super) async fn tell_while<T>(
    client: &Client,
    slot: &SlotName,
    reporter: &Reporter,
    create: impl Future<Output = Result<T, Error>>,
) -> Result<T, RunError> {
    let doing = format!("create the replication slot {slot}");
    let mut create = pin!(create);
    let mut pause = FIRST;
    loop {
        tokio::select! {
            created = &mut create => return created.during(doing),
            () = tokio::time::sleep(pause) => {}
        }
        pause = AGAIN;
        let rows = client.query(BLOCKERS, &[&slot.as_str()]).await.during(&*doing)?;
        let blockers: Vec<String> =
            rows.iter().map(|row| row.try_get("blocker")).collect::<Result<_, _>>().during(&*doing)?;
        let blockers =
            if blockers.is_empty() { "nothing that shows".to_owned() } else { blockers.join("; ") };
        reporter
            .notice(format!(
                "replication slot {slot} waits for transactions at the source that are older than it: {blockers}"
            ))
            .await;
    }
}
