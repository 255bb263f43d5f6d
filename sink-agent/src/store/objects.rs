//! What became of each object, and which tables are the task's own: only those may be emptied or taken over.

use std::collections::HashSet;

use strait_postgres::Client;
use strait_proto::{TaskId, v1};
use tokio_postgres::types::Type;

use super::claim::{Claim, TEXT};
use super::{BEGIN, in_transaction};
use crate::error::{Context as _, Error};

const EXISTING_SQL: &str = "SELECT n.schema_name, n.table_name
  FROM unnest($1::text[], $2::text[]) AS n (schema_name, table_name)
       JOIN pg_namespace AS s ON s.nspname = n.schema_name
       JOIN pg_class AS c ON c.relnamespace = s.oid AND c.relname = n.table_name";

/// Which of these names are taken by a relation of any kind.
pub(crate) async fn existing_tables(
    client: &Client,
    tables: &[v1::TableName],
) -> Result<Vec<v1::TableName>, Error> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = client
        .query_typed(EXISTING_SQL, &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)])
        .await
        .context("look for existing tables")?;
    Ok(rows.iter().map(|row| v1::TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect())
}

const CREATED_SQL: &str = "SELECT schema_name, object_name FROM strait.object
 WHERE task_id IN ($1, $2) AND kind = 'table' AND outcome NOT IN ('skipped', 'adopted')";

const ADOPTED_SQL: &str = "SELECT schema_name, object_name FROM strait.object
 WHERE task_id = $1 AND kind = 'table' AND outcome = 'adopted'";

/// The tables that stood before the task and that it uses.
pub(crate) async fn adopted_tables(
    client: &Client,
    task_id: &TaskId,
) -> Result<HashSet<v1::TableName>, Error> {
    let rows = client.query_typed(ADOPTED_SQL, &[(&task_id.as_str(), TEXT)]).await;
    let rows = rows.context("read which tables the task found")?;
    Ok(rows.iter().map(|row| v1::TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect())
}

/// The tables that the task made, or was about to make, where no table stood before. Those of the task count for the tables
/// that join it as well.
pub(crate) async fn created_tables(
    client: &Client,
    task_id: &TaskId,
) -> Result<HashSet<v1::TableName>, Error> {
    let task = task_id.task();
    let ids = [(&task_id.as_str() as _, TEXT), (&task.as_str() as _, TEXT)];
    let rows = client.query_typed(CREATED_SQL, &ids).await;
    let rows = rows.context("read which tables the task made")?;
    Ok(rows.iter().map(|row| v1::TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect())
}

/// $4: the kind; $5: the outcome until something else is known of them.
const ENTER_SQL: &str = "INSERT INTO strait.object (task_id, kind, schema_name, object_name, outcome)
    SELECT $1, $4, n.schema_name, n.table_name, $5
      FROM unnest($2::text[], $3::text[]) AS n (schema_name, table_name)
    ON CONFLICT (task_id, kind, schema_name, object_name) DO NOTHING";

/// Records that the task is about to create these tables or views, none of which exists.
pub(crate) async fn intend(
    client: &Client,
    claim: &Claim,
    kind: &str,
    tables: &[&v1::TableName],
) -> Result<(), Error> {
    enter(client, claim, kind, tables, "intended").await
}

/// Records that the task uses these tables, which stood before it.
pub(crate) async fn adopt_tables(
    client: &Client,
    claim: &Claim,
    tables: &[&v1::TableName],
) -> Result<(), Error> {
    enter(client, claim, "table", tables, "adopted").await
}

async fn enter(
    client: &Client,
    claim: &Claim,
    kind: &str,
    tables: &[&v1::TableName],
    outcome: &str,
) -> Result<(), Error> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    in_transaction(client, &claim.begin_sql(), async {
        client
            .execute_typed(
                ENTER_SQL,
                &[
                    (&claim.task_id.as_str(), TEXT),
                    (&schemas, Type::TEXT_ARRAY),
                    (&names, Type::TEXT_ARRAY),
                    (&kind, TEXT),
                    (&outcome, TEXT),
                ],
            )
            .await
            .context("record which objects are about to be created or used")?;
        Ok(())
    })
    .await
}

const RECORD_SQL: &str = "INSERT INTO strait.object AS o
           (task_id, kind, schema_name, object_name, outcome, detail, statement)
    SELECT DISTINCT ON (kind, schema_name, object_name)
           $1, kind, schema_name, object_name, outcome, detail, statement
      FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
           WITH ORDINALITY AS r (kind, schema_name, object_name, outcome, detail, statement, place)
     ORDER BY kind, schema_name, object_name, place DESC
    ON CONFLICT (task_id, kind, schema_name, object_name) DO UPDATE
        SET outcome = EXCLUDED.outcome, detail = EXCLUDED.detail, statement = EXCLUDED.statement,
            changed_at = now()
        -- A later look finds what we made ourselves; what was there before us never becomes ours.
        WHERE NOT (o.outcome = 'created' AND EXCLUDED.outcome = 'existed') AND o.outcome <> 'adopted'";

/// Records results; the last one of an object counts.
pub(crate) async fn record_objects(
    client: &Client,
    claim: &Claim,
    results: &[v1::ObjectResult],
) -> Result<(), Error> {
    record(client, &claim.begin_sql(), &claim.task_id, results).await
}

/// The same beside whoever holds the task, for what was tried again: no rows of tables depend on it.
pub(crate) async fn record_retried(
    client: &Client,
    task_id: &TaskId,
    results: &[v1::ObjectResult],
) -> Result<(), Error> {
    record(client, BEGIN, task_id, results).await
}

async fn record(
    client: &Client,
    begin: &str,
    task_id: &TaskId,
    results: &[v1::ObjectResult],
) -> Result<(), Error> {
    let outcome = |result: &v1::ObjectResult| match result.outcome() {
        v1::ObjectOutcome::Created => "created",
        v1::ObjectOutcome::Existed => "existed",
        v1::ObjectOutcome::Skipped | v1::ObjectOutcome::Unspecified => "skipped",
        v1::ObjectOutcome::Failed => "failed",
    };
    let column = |value: fn(&v1::ObjectResult) -> &str| results.iter().map(value).collect::<Vec<_>>();
    let kinds = column(|result| &result.object_kind);
    let schemas = column(|result| &result.schema);
    let names = column(|result| &result.name);
    let outcomes: Vec<&str> = results.iter().map(outcome).collect();
    let details = column(|result| &result.detail);
    let statements = column(|result| &result.statement);
    in_transaction(client, begin, async {
        client
            .execute_typed(
                RECORD_SQL,
                &[
                    (&task_id.as_str(), TEXT),
                    (&kinds, Type::TEXT_ARRAY),
                    (&schemas, Type::TEXT_ARRAY),
                    (&names, Type::TEXT_ARRAY),
                    (&outcomes, Type::TEXT_ARRAY),
                    (&details, Type::TEXT_ARRAY),
                    (&statements, Type::TEXT_ARRAY),
                ],
            )
            .await
            .context("record what became of the objects")?;
        Ok(())
    })
    .await
}

/// What identifies an object's result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ObjectKey {
    pub(crate) kind: String,
    pub(crate) schema: String,
    pub(crate) name: String,
}

impl ObjectKey {
    pub(crate) fn new(kind: &str, schema: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), schema: schema.to_owned(), name: name.to_owned() }
    }
}

/// What became of an object.
#[derive(Debug)]
pub(crate) struct ObjectRow {
    pub(crate) key: ObjectKey,
    /// As in `layout.sql`.
    pub(crate) outcome: String,
    pub(crate) detail: String,
    pub(crate) statement: String,
}

impl ObjectRow {
    /// There is a result.
    pub(crate) fn is_settled(&self) -> bool {
        self.outcome != "intended"
    }

    /// As it was reported.
    pub(crate) fn result(&self) -> v1::ObjectResult {
        let outcome = match &*self.outcome {
            "created" => v1::ObjectOutcome::Created,
            "existed" => v1::ObjectOutcome::Existed,
            "failed" => v1::ObjectOutcome::Failed,
            _ => v1::ObjectOutcome::Skipped,
        };
        let ObjectKey { kind, schema, name } = &self.key;
        let result = v1::ObjectResult::new(&**kind, &**schema, &**name, outcome).because(&*self.detail);
        v1::ObjectResult { statement: self.statement.clone(), ..result }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.outcome == "failed"
    }
}

const ROWS_SQL: &str = "SELECT kind, schema_name, object_name, outcome, detail, statement FROM strait.object
 WHERE task_id = $1 ORDER BY changed_at, kind, schema_name, object_name";

/// What is known of the task's objects, oldest first.
pub(crate) async fn object_rows(client: &Client, task_id: &TaskId) -> Result<Vec<ObjectRow>, Error> {
    let rows = client.query_typed(ROWS_SQL, &[(&task_id.as_str(), TEXT)]).await;
    let rows = rows.context("read what became of the objects")?;
    let row = |row: &tokio_postgres::Row| ObjectRow {
        key: ObjectKey::new(row.get(0), row.get(1), row.get(2)),
        outcome: row.get(3),
        detail: row.get(4),
        statement: row.get(5),
    };
    Ok(rows.iter().map(row).collect())
}
