//! Where the rows of a table that stood before the task wait until all of them are there.
//!
//! They are merged in one transaction with the table's line, so that a copy that begins over under another snapshot leaves nothing
//! of the first one behind. The stage's existence says that a copy is to be merged: it is created when the table begins and
//! dropped by the merge. It is logged, because the ledger is: a crash must not take the rows and leave the lines.

use strait_postgres::quote::{identifier, qualified};
use strait_postgres::{Client, Dialect, is_append_optimised};
use strait_proto::{TaskId, v1};

use super::claim::TEXT;
use super::layout::SCHEMA;
use crate::error::{Context as _, Error};

/// The table that the rows of one table of a task wait in.
pub(crate) fn stage_name(task_id: &TaskId, table_id: u32) -> v1::TableName {
    v1::TableName::new(SCHEMA, format!("{}{table_id}", prefix(task_id)))
}

/// Within the transaction that begins the table: makes its stage, anew where one stands. It has the types of the destination
/// and nothing that could refuse a row.
pub(crate) async fn make_stage(
    client: &Client,
    stage: &v1::TableName,
    table: &v1::TableName,
    columns: &[&str],
) -> Result<(), Error> {
    drop_stage(client, stage).await?;
    let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let doing = || format!("make the stage of table {table}");
    let (storage, distribution) = match client.server().await.context(doing())?.dialect {
        Dialect::PostgreSql => ("", ""),
        // The merge moves each row once, to where the table has it.
        Dialect::Greenplum => (" USING heap", " DISTRIBUTED RANDOMLY"),
    };
    let create = format!(
        "CREATE TABLE {}{storage} AS SELECT {} FROM {} WITH NO DATA{distribution}",
        qualified(&stage.schema, &stage.name),
        columns.join(", "),
        qualified(&table.schema, &table.name)
    );
    client.batch_execute(&create).await.context(doing())
}

/// Whether the rows of a table go into its stage.
pub(crate) async fn has_stage(client: &Client, stage: &v1::TableName) -> Result<bool, Error> {
    let name = qualified(&stage.schema, &stage.name);
    let row = client.query_typed_one("SELECT to_regclass($1) IS NOT NULL", &[(&name, TEXT)]).await;
    Ok(row.context("look for the stage of a table")?.get(0))
}

const ACCESS_METHOD_SQL: &str = "SELECT coalesce(m.amname::text, '')
  FROM pg_class AS c LEFT JOIN pg_am AS m ON m.oid = c.relam WHERE c.oid = $1::text::regclass";

/// Within the transaction that marks the table as copied: merges what the stage holds, and drops it. A row whose key the
/// destination has already stays as it is there.
pub(crate) async fn merge_stage(
    client: &Client,
    stage: &v1::TableName,
    table: &v1::TableName,
    columns: &[&str],
) -> Result<Merged, Error> {
    let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let columns = columns.join(", ");
    let list =
        if columns.is_empty() { String::new() } else { format!(" ({columns}) OVERRIDING SYSTEM VALUE") };
    let name = qualified(&table.schema, &table.name);
    let method = client.query_typed_one(ACCESS_METHOD_SQL, &[(&name, TEXT)]).await;
    let method = method.context(format!("look at how table {table} is stored"))?;
    // Such a table has no keys, and refuses the clause.
    let on_conflict = if is_append_optimised(method.get(0)) { "" } else { " ON CONFLICT DO NOTHING" };
    let merge = format!(
        "INSERT INTO {name}{list} SELECT {columns} FROM {}{on_conflict}",
        qualified(&stage.schema, &stage.name)
    );
    let doing = || format!("merge the rows of table {table}");
    let added = client.execute(&merge, &[]).await.context(doing())?;
    let count = format!("SELECT count(*) FROM {}", qualified(&stage.schema, &stage.name));
    let staged: i64 = client.query_one(&count, &[]).await.context(doing())?.get(0);
    drop_stage(client, stage).await?;
    Ok(Merged { added, left_out: staged.unsigned_abs().saturating_sub(added) })
}

/// What became of the rows of a stage.
pub(crate) struct Merged {
    pub(crate) added: u64,
    /// Their keys were there.
    pub(crate) left_out: u64,
}

/// Drops whatever stages a task has. Within the transaction that forgets it.
pub(super) async fn drop_stages(client: &Client, task_id: &TaskId) -> Result<(), Error> {
    const SQL: &str =
        "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'strait' AND c.relkind = 'r' AND starts_with(c.relname::text, $1)";
    let rows = client.query_typed(SQL, &[(&prefix(task_id), TEXT)]).await;
    for row in rows.context("look for the stages of the task")? {
        drop_stage(client, &v1::TableName::new(SCHEMA, row.get::<_, &str>(0))).await?;
    }
    Ok(())
}

async fn drop_stage(client: &Client, stage: &v1::TableName) -> Result<(), Error> {
    let drop = format!("DROP TABLE IF EXISTS {}", qualified(&stage.schema, &stage.name));
    client.batch_execute(&drop).await.context("drop the stage of a table")
}

fn prefix(task_id: &TaskId) -> String {
    format!("stage_{task_id}_")
}
