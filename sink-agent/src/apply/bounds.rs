//! Rows that a partition at the destination does not take, because its bounds are not those of that moment: at the source it was
//! detached, or got other neighbours, a moment earlier or later in the order of changes than here.
//!
//! Rows count, so the partition leaves its table until the partitions are arranged anew.

use strait_postgres::ServerError;
use strait_postgres::quote::qualified;
use strait_proto::TaskId;
use tokio_postgres::types::Type;

use super::change::Change;
use super::connection::Connection;
use crate::error::{Context as _, Error};

const CHECK_VIOLATION: &str = "23514";

/// $1: the task, $2, $3: a partition that the task has made. Its table.
const PARENT_SQL: &str = "SELECT pn.nspname::text, p.relname::text
  FROM pg_class AS c
       JOIN pg_namespace AS n ON n.oid = c.relnamespace
       JOIN pg_inherits AS i ON i.inhrelid = c.oid
       JOIN pg_class AS p ON p.oid = i.inhparent
       JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
 WHERE c.relispartition AND n.nspname = $2 AND c.relname = $3
   AND EXISTS (SELECT FROM strait.object AS o
                WHERE o.task_id = $1 AND o.kind = 'table' AND o.schema_name = $2 AND o.object_name = $3
                  AND o.outcome NOT IN ('skipped', 'adopted'))";

/// Within a transaction: detaches the partition that refuses a change because of its bounds. False where it is something else
/// that refuses it.
pub(super) async fn release(
    connection: &Connection,
    task_id: &TaskId,
    change: &Change,
    refusal: &ServerError,
) -> Result<bool, Error> {
    const DOING: &str = "detach a partition whose bounds refuse a row";
    // A violated check names its constraint, and bounds have none.
    if refusal.code.code() != CHECK_VIOLATION || refusal.constraint.is_some() {
        return Ok(false);
    }
    let (client, table) = (connection.client(), &change.relation.target.name);
    let given = [
        (&task_id.as_str() as _, Type::TEXT),
        (&table.schema as _, Type::TEXT),
        (&table.name as _, Type::TEXT),
    ];
    let Some(row) = client.query_typed_opt(PARENT_SQL, &given).await.context(DOING)? else {
        return Ok(false);
    };
    let (schema, name): (String, String) = (row.get(0), row.get(1));
    let sql = format!(
        "ALTER TABLE {} DETACH PARTITION {}",
        qualified(&schema, &name),
        qualified(&table.schema, &table.name)
    );
    client.batch_execute(&sql).await.context(DOING)?;
    tracing::info!(%table, parent = %format!("{schema}.{name}"), "detached a partition whose bounds refuse a row");
    Ok(true)
}
