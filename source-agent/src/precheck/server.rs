//! The server: its settings, the role's rights on it, what runs there.

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, FailureKind, PrecheckItem};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::item::{list, warning};
use super::{failed, failed_by, neighbours, passed, settings};
use crate::source::Source;

/// Settings and counts in one row. `pg_stat_replication` shows its rows to everybody, `pg_stat_activity` does not.
const FACTS: &str = "
    SELECT current_setting('wal_level') AS wal_level,
           pg_is_in_recovery() AS in_recovery,
           current_setting('max_replication_slots')::int8 AS slots_max,
           (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> ALL ($1::text[])) AS slots_used,
           current_setting('max_wal_senders')::int8 AS senders_max,
           (SELECT count(*) FROM pg_stat_replication) AS senders_used,
           current_user::text AS role,
           (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate,
           (SELECT coalesce(bool_or(pg_has_role(oid, 'MEMBER')), false)
            FROM pg_roles WHERE rolname = 'rds_replication') AS managed_replication,
           (SELECT setting::int8 FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_megabytes,
           coalesce(current_setting('max_slot_wal_keep_size', true), '-1') AS keep_size,
           coalesce(current_setting('idle_replication_slot_timeout', true), '0') AS idle_timeout";

/// Slots and walsenders that a task uses at most at once.
const NEEDED: i64 = 2;
/// A transaction that is open for longer is worth a word.
const LONG_SECONDS: i32 = 60;

pub(super) async fn check(
    client: &Client,
    source: &Source,
    identity: &Result<v1::SourceIdentity, Error>,
) -> Result<Vec<PrecheckItem>, Error> {
    let own = [source.slot.as_str(), source.copy_slot.as_str()];
    let facts = client.query_one(FACTS, &[&own.as_slice()]).await?;
    if !source.parts.incremental {
        // Nothing is decoded: neither the log nor the right to replicate matters.
        return Ok(vec![recovery(&facts)?]);
    }
    Ok(vec![
        wal_level(&facts)?,
        recovery(&facts)?,
        replication(&facts, identity)?,
        slots(&facts)?,
        wal_senders(&facts)?,
        keep_size(&facts)?,
        settings::decoding_memory(client).await?,
        settings::sender_timeout(client).await?,
        neighbours::idle_slots(client, &own).await?,
        neighbours::standbys(client).await?,
        prepared_transactions(client).await?,
        long_transactions(client).await?,
    ])
}

fn wal_level(facts: &Row) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.wal_level";
    let level: String = facts.try_get("wal_level")?;
    let detail = format!("wal_level = {level}");
    if level == "logical" {
        return Ok(passed(NAME, detail));
    }
    let cause = "without it the log does not hold what changes are decoded from";
    Ok(failed(NAME, detail, cause, "ALTER SYSTEM SET wal_level = logical; then restart the server"))
}

fn recovery(facts: &Row) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.not_in_recovery";
    if !facts.try_get("in_recovery")? {
        return Ok(passed(NAME, "the server is a primary"));
    }
    let cause = "publications and slots are made on a primary; this version does not follow a standby";
    Ok(failed(NAME, "the server is in recovery", cause, "Point the endpoint at the primary."))
}

/// What counts is whether the server lets the role replicate; its attributes explain why not.
fn replication(facts: &Row, identity: &Result<v1::SourceIdentity, Error>) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.replication_privilege";
    let role: String = facts.try_get("role")?;
    let may: Option<bool> = facts.try_get("may_replicate")?;
    let may = may.unwrap_or(false) || facts.try_get("managed_replication")?;
    let error = match identity {
        Ok(_) => return Ok(passed(NAME, format!("role {role} may replicate"))),
        // No walsender is free: an item of its own.
        Err(error) if may && error.sqlstate() == Some(&SqlState::TOO_MANY_CONNECTIONS) => {
            return Ok(passed(NAME, format!("role {role} has the attribute")));
        }
        Err(error) => error,
    };
    let failure = error.failure();
    if may || failure.kind() == FailureKind::Connection {
        return Ok(failed_by(NAME, &failure));
    }
    let remedy = format!(
        "ALTER ROLE {role} REPLICATION; (on Amazon RDS: GRANT rds_replication TO {role};)",
        role = quote::identifier(&role)
    );
    Ok(failed(NAME, format!("role {role} may not replicate"), failure.cause, remedy))
}

fn slots(facts: &Row) -> Result<PrecheckItem, Error> {
    free(
        "source.slots_free",
        "max_replication_slots",
        facts.try_get("slots_max")?,
        facts.try_get("slots_used")?,
    )
}

fn wal_senders(facts: &Row) -> Result<PrecheckItem, Error> {
    free(
        "source.wal_senders_free",
        "max_wal_senders",
        facts.try_get("senders_max")?,
        facts.try_get("senders_used")?,
    )
}

fn free(name: &str, setting: &str, max: i64, used: i64) -> Result<PrecheckItem, Error> {
    let detail = format!("{setting} = {max}, {used} in use");
    let remedy = format!("ALTER SYSTEM SET {setting} = {}; then restart the server", used + NEEDED + 2);
    let cause = "a task uses one, and a second one while it copies tables again";
    Ok(match max - used {
        ..=0 => failed(name, detail, cause, remedy),
        free if free < NEEDED => warning(name, detail, cause, remedy),
        _ => passed(name, detail),
    })
}

fn keep_size(facts: &Row) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.max_slot_wal_keep_size";
    let megabytes: Option<i64> = facts.try_get("keep_megabytes")?;
    let (keep_size, idle): (String, String) = (facts.try_get("keep_size")?, facts.try_get("idle_timeout")?);
    let detail = format!("max_slot_wal_keep_size = {keep_size}, idle_replication_slot_timeout = {idle}");
    let limited = megabytes.is_some_and(|megabytes| megabytes >= 0);
    let expires = !matches!(&*idle, "0" | "0s" | "0min");
    if !limited && !expires {
        return Ok(passed(NAME, detail));
    }
    let cause = "a slot that falls behind further, or is idle for longer, is invalidated; the task then has to start again";
    let mut remedy = Vec::new();
    if limited {
        remedy.push(
            "ALTER SYSTEM SET max_slot_wal_keep_size = -1; or more than is written during the full copy",
        );
    }
    if expires {
        remedy.push("ALTER SYSTEM SET idle_replication_slot_timeout = 0;");
    }
    remedy.push("SELECT pg_reload_conf();");
    Ok(warning(NAME, detail, cause, remedy.join("\n")))
}

/// A prepared transaction never ends by itself, and the slot waits for it.
async fn prepared_transactions(client: &Client) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.prepared_transactions";
    const SQL: &str = "
        SELECT format('%s in database %s by %s since %s', gid, database, owner, date_trunc('second', prepared)) AS prepared
        FROM pg_prepared_xacts ORDER BY pg_prepared_xacts.prepared";
    let found = texts(client, SQL, "prepared").await?;
    if found.is_empty() {
        return Ok(passed(NAME, "none"));
    }
    let cause = "the task begins only once every transaction that is older than its slot has ended";
    Ok(warning(NAME, list(found), cause, "COMMIT PREPARED or ROLLBACK PREPARED each of them."))
}

async fn long_transactions(client: &Client) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.long_transactions";
    let sql = format!(
        "SELECT format('process %s (user %s, application %s) for %s s', pid, usename,
                       coalesce(nullif(application_name, ''), '?'),
                       extract(epoch FROM clock_timestamp() - xact_start)::int8) AS open
         FROM pg_stat_activity
         WHERE backend_xid IS NOT NULL AND xact_start < clock_timestamp() - interval '{LONG_SECONDS} s'
         ORDER BY xact_start"
    );
    let found = texts(client, &sql, "open").await?;
    if found.is_empty() {
        return Ok(passed(
            NAME,
            format!("none that writes for longer than {LONG_SECONDS} s, as far as this role can see"),
        ));
    }
    let cause = "the task begins only once every transaction that is older than its slot has ended";
    Ok(warning(NAME, list(found), cause, "Let them end, or SELECT pg_terminate_backend(…) for each."))
}

async fn texts(client: &Client, sql: &str, column: &str) -> Result<Vec<String>, Error> {
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.try_get(column)).collect::<Result<_, _>>()?)
}
