//! Emptying tables.

use strait_postgres::Client;
use strait_postgres::quote::qualified;
use strait_proto::v1::TableName;
use tokio_postgres::types::Type;

use super::change::Truncation;
use crate::error::{Context as _, Error};

/// Of each table: its place in the list, whether its rows are its own, and whether a table outside of the
/// list refers to it. TRUNCATE refuses such a table whatever the replication role, and whether or not a row
/// refers to another.
const TABLES_SQL: &str = "WITH t AS (
    SELECT w.place, c.oid, c.relkind
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (schema_name, table_name, place)
           JOIN pg_namespace AS n ON n.nspname = w.schema_name
           JOIN pg_class AS c
               ON c.relnamespace = n.oid AND c.relname = w.table_name AND c.relkind IN ('r', 'p'))
SELECT t.place, t.relkind = 'r',
       EXISTS (SELECT FROM pg_constraint AS k
                WHERE k.contype = 'f' AND k.confrelid = t.oid AND k.conrelid NOT IN (SELECT oid FROM t))
  FROM t";

/// The sequences that columns of a table own.
const SEQUENCES_SQL: &str = "SELECT format('%I.%I', n.nspname, s.relname)
  FROM pg_depend AS d
       JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
       JOIN pg_namespace AS n ON n.oid = s.relnamespace
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
   AND d.refobjid = $1::text::regclass AND d.refobjsubid > 0";

/// Within a transaction: removes the rows. What TRUNCATE would refuse because of a foreign key is deleted.
pub(crate) async fn truncate(client: &Client, truncation: &Truncation) -> Result<(), Error> {
    let mut together = Vec::new();
    for table in shapes(client, &truncation.tables).await? {
        if table.referenced {
            delete(client, &table, truncation.restart_identity).await?;
        } else {
            together.push(table.sql);
        }
    }
    if !together.is_empty() {
        let restart = if truncation.restart_identity { " RESTART IDENTITY" } else { "" };
        let statement = format!("TRUNCATE {}{restart}", together.join(", "));
        client.batch_execute(&statement).await.context(format!("truncate {}", together.join(", ")))?;
    }
    for (name, condition) in &truncation.conditions {
        for table in shapes(client, std::slice::from_ref(name)).await? {
            let statement = format!("DELETE FROM {} WHERE ({condition})", table.sql);
            client.batch_execute(&statement).await.context(format!("empty a partition's part of {name}"))?;
        }
    }
    Ok(())
}

struct Shape {
    /// With ONLY where the table's rows are its own: children of plain inheritance are named by themselves.
    sql: String,
    sql_name: String,
    referenced: bool,
}

async fn shapes(client: &Client, names: &[TableName]) -> Result<Vec<Shape>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let rows = client
        .query_typed(TABLES_SQL, &[(&schemas, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)])
        .await
        .context("look up the tables to truncate")?;
    let found: Vec<(i64, bool, bool)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let mut shapes = Vec::with_capacity(names.len());
    for (name, place) in names.iter().zip(1..) {
        let Some((_, ordinary, referenced)) = found.iter().find(|row| row.0 == place) else {
            return Err(Error::refused(
                format!("table {name} does not exist at the destination and cannot be truncated"),
                format!(
                    "Create {name} again as it was, or release the task and create it anew without the table."
                ),
            ));
        };
        let sql_name = qualified(&name.schema, &name.name);
        let sql = if *ordinary { format!("ONLY {sql_name}") } else { sql_name.clone() };
        shapes.push(Shape { sql, sql_name, referenced: *referenced });
    }
    Ok(shapes)
}

async fn delete(client: &Client, table: &Shape, restart_identity: bool) -> Result<(), Error> {
    let doing = || format!("delete all rows of {}", table.sql_name);
    client.batch_execute(&format!("DELETE FROM {}", table.sql)).await.context(doing())?;
    if !restart_identity {
        return Ok(());
    }
    let sequences =
        client.query_typed(SEQUENCES_SQL, &[(&table.sql_name, Type::TEXT)]).await.context(doing())?;
    for row in &sequences {
        let restart = format!("ALTER SEQUENCE {} RESTART", row.get::<_, &str>(0));
        client.batch_execute(&restart).await.context("restart a sequence")?;
    }
    Ok(())
}
