//! Connections to the destination.

use strait_postgres::{Client, ConnectionUri};
use strait_proto::TaskId;

use super::application_name;
use crate::error::{Context as _, Error};

/// What is acknowledged is forgotten by the source, so no commit may return before its log is on disk, whatever the
/// defaults of the server, the database and the role are. A stricter choice stays.
const DURABLE_SQL: &str = "SELECT set_config('synchronous_commit', 'on', false)
 WHERE current_setting('synchronous_commit') = 'off'";

/// Connects for a task: the server knows the connection as the task's, and what it commits is durable.
pub(crate) async fn connect(uri: &ConnectionUri, task_id: &TaskId) -> Result<Client, Error> {
    const DOING: &str = "reach the destination";
    let client = strait_postgres::connect(uri, &application_name(task_id)).await.context(DOING)?;
    client.batch_execute(DURABLE_SQL).await.context(DOING)?;
    Ok(client)
}

/// What the session's commits wait for is kept aside.
///
/// Sorting in memory is worth more than anything else to a build. A 16th of what the server believes to have as a cache
/// (`effective_cache_size`, 4 GiB unless somebody said otherwise), 512 MiB at most, and never less than it would take itself;
/// likewise four workers a build, of those that the server has (from PostgreSQL 11).
const BUILD_SQL: &str = "
    SELECT set_config('strait.synchronous_commit', current_setting('synchronous_commit'), false),
           set_config('synchronous_commit', 'off', false);
    SELECT set_config('maintenance_work_mem', greatest(own.setting::int8, least(cache.kilobytes / 16, 524288)) || 'kB', false)
      FROM pg_settings AS own,
           (SELECT setting::int8 * current_setting('block_size')::int8 / 1024 FROM pg_settings
             WHERE name = 'effective_cache_size') AS cache (kilobytes)
     WHERE own.name = 'maintenance_work_mem';
    SELECT set_config(name, greatest(setting::int, 4)::text, false)
      FROM pg_settings WHERE name = 'max_parallel_maintenance_workers'";
const SETTLE_SQL: &str =
    "SELECT set_config('synchronous_commit', current_setting('strait.synchronous_commit'), true)
 WHERE coalesce(current_setting('strait.synchronous_commit', true), '') <> ''";

/// From here on no commit of the connection waits for the disk. A log is written in order, so the one commit that does, by
/// [`settle`], makes all before it durable too: it is the one that says that the objects stand.
pub(crate) async fn build(client: &Client) -> Result<(), Error> {
    client.batch_execute(BUILD_SQL).await.context("prepare a connection that makes objects")
}

/// Within a transaction: its commit is durable again.
pub(super) async fn settle(client: &Client) -> Result<(), Error> {
    client.batch_execute(SETTLE_SQL).await.context("make what was built durable")
}
