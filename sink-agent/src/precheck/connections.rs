//! Whether the destination lets in as many connections as applying changes takes.

use strait_postgres::Client;

use super::item::{Checked, failed, fine, warning};
use crate::error::Context as _;

/// Beside the lanes: the transactions that end batches, the catalogs, and the validation of a foreign key.
const OTHERS: usize = 3;

/// How many there may be at all, and how many of those are free; both without what is reserved.
const CONNECTIONS_SQL: &str = "SELECT m.most, m.most - (SELECT sum(numbackends)::bigint FROM pg_stat_database)
  FROM (SELECT sum(CASE name WHEN 'max_connections' THEN setting::bigint ELSE -setting::bigint END)::bigint
          FROM pg_settings
         WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')) AS m (most)";

pub(super) async fn check(client: &Client, lanes: usize) -> Checked {
    // One lane is the transaction that ends batches.
    let needed = if lanes > 1 { lanes + OTHERS } else { OTHERS };
    let row = client.query_one(CONNECTIONS_SQL, &[]).await.context("count the connections")?;
    let counted = |number: i64| usize::try_from(number).unwrap_or_default();
    // The precheck's own is free by then.
    let (most, free) = (counted(row.get(0)), counted(row.get::<_, i64>(1) + 1));
    let detail = format!("{free} of {most} are free, {needed} are needed (lanes: {lanes})");
    let cause = "applying changes takes a connection for each lane and a few more: without them the task does not run";
    let remedy = format!(
        "ALTER SYSTEM SET max_connections = {}; and restart the destination, or let the task have fewer lanes: \
         `apply: {{lanes: …}}`.",
        most + needed
    );
    if needed > most {
        return failed(detail, cause, remedy);
    }
    if needed > free {
        return warning(detail, cause, remedy);
    }
    fine(detail)
}
