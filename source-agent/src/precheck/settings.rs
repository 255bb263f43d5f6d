//! Settings of the server that make decoding slow or break the stream, though a task runs under any of them.

use strait_postgres::{Client, Error};
use strait_proto::v1::PrecheckItem;

use super::item::warning;
use super::passed;

/// PostgreSQL's default is four times as much.
const DECODING_KILOBYTES_LEAST: i64 = 16 * 1024;
/// The source-agent answers far more often; a paused virtual machine does not.
const TIMEOUT_MS_LEAST: i64 = 10_000;

/// Above it, a transaction is written to the source's disk before it is sent, or streamed where that is possible.
pub(super) async fn decoding_memory(client: &Client) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.logical_decoding_work_mem";
    let Some((kilobytes, shown)) = setting(client, "logical_decoding_work_mem").await? else {
        return Ok(passed(
            NAME,
            "this version has no such setting: 4096 changes of a transaction are kept in memory",
        ));
    };
    let detail = format!("logical_decoding_work_mem = {shown}");
    if kilobytes >= DECODING_KILOBYTES_LEAST {
        return Ok(passed(NAME, detail));
    }
    let cause = "every transaction with more changes than that is written to the source's disk while it is decoded, or sent \
                 before its commit";
    let remedy = "ALTER SYSTEM SET logical_decoding_work_mem = '64MB';\nSELECT pg_reload_conf();";
    Ok(warning(NAME, detail, cause, remedy))
}

pub(super) async fn sender_timeout(client: &Client) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.wal_sender_timeout";
    let (milliseconds, shown) = setting(client, "wal_sender_timeout").await?.unwrap_or_default();
    let detail = format!("wal_sender_timeout = {shown}");
    let cause = match milliseconds {
        TIMEOUT_MS_LEAST.. => return Ok(passed(NAME, detail)),
        0 => {
            "the server never gives up a connection that has silently died: the slot stays taken, and the task waits, until \
             TCP notices"
        }
        _ => {
            "a pause of the network or the agent's host that is longer breaks the stream, which begins anew each time"
        }
    };
    let remedy = "ALTER SYSTEM SET wal_sender_timeout = '60s';\nSELECT pg_reload_conf();";
    Ok(warning(NAME, detail, cause, remedy))
}

/// A setting in its unit, and as SHOW prints it; None where the version does not have it.
async fn setting(client: &Client, name: &str) -> Result<Option<(i64, String)>, Error> {
    const SQL: &str = "SELECT setting::int8, current_setting(name) FROM pg_settings WHERE name = $1";
    let row = client.query_opt(SQL, &[&name]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}
