//! The conditions on rows (`where`): whether each is one that means the same for a row in its table and for one of the stream.
//!
//! The server says so itself. A condition is parsed over the table's columns as the stream has them, where neither the table
//! nor system nor generated columns can be named. Whether it depends on nothing but the row, PostgreSQL knows from generated
//! columns: for a moment, in a transaction that is rolled back, an empty temporary table gets one made of the condition.

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, PrecheckItem};
use tokio_postgres::error::SqlState;

use super::item::{list, statements};
use super::{failed, passed};
use crate::rows::{Filter, RESERVED_NAMES, ROW_ALIAS, RowRules};

const NAME: &str = "source.filters";

/// Checks every condition; no item where there is none.
pub(super) async fn check(
    client: &Client,
    rules: &RowRules,
    model: &v1::SchemaModel,
) -> Result<Option<PrecheckItem>, Error> {
    if !rules.has_conditions() {
        return Ok(None);
    }
    let mut faults = Vec::new();
    let mut count = 0;
    for table in &model.tables {
        let Some(filter) = rules.filter(table.table_id) else { continue };
        count += 1;
        if let Some(fault) = fault(client, table, filter).await? {
            faults.push(format!("{}.{}: {fault}", table.schema, table.name));
        }
    }
    let detail = format!("conditions on the rows of {count} tables");
    if faults.is_empty() {
        return Ok(Some(passed(NAME, detail)));
    }
    let mut remedy = vec![
        "Correct `where`: an SQL condition on the table's own columns, each by its bare name, without subqueries, with functions \
         that are IMMUTABLE and not in pg_catalog by their schema's name."
            .to_owned(),
    ];
    if faults.iter().any(|fault| fault.contains(TEMPORARY)) {
        remedy.push(may_make_temporary_tables(client).await?);
    }
    Ok(Some(failed(NAME, detail, list(faults), statements(remedy))))
}

const TEMPORARY: &str = "this role may not make a temporary table to test it";

async fn may_make_temporary_tables(client: &Client) -> Result<String, Error> {
    const SQL: &str =
        "SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I;', current_database(), current_user)";
    Ok(client.query_one(SQL, &[]).await?.try_get(0)?)
}

/// What is wrong with a condition, if anything is.
async fn fault(client: &Client, table: &v1::Table, filter: &Filter) -> Result<Option<String>, Error> {
    let text = filter.condition().to_lowercase();
    if let Some(name) = RESERVED_NAMES.iter().find(|name| text.contains(*name)) {
        return Ok(Some(format!("{name} cannot be used in it")));
    }
    if text.contains("u&\"") {
        return Ok(Some("names with Unicode escapes cannot be used in it".to_owned()));
    }
    let columns: Vec<&v1::Column> =
        table.columns.iter().filter(|column| column.generated.is_none()).collect();
    let row: Vec<String> = columns
        .iter()
        .map(|column| format!("NULL::{} AS {}", typed(column), quote::identifier(&column.name)))
        .collect();
    for condition in [filter.sql(), filter.in_brackets()] {
        let sql = format!("SELECT FROM (SELECT {}) AS {ROW_ALIAS} WHERE {condition}", row.join(", "));
        if let Err(error) = client.prepare(&sql).await {
            return words(error.into()).map(Some);
        }
    }
    let definition: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", quote::identifier(&column.name), typed(column)))
        .collect();
    client.batch_execute("BEGIN").await?;
    let tested = depends_on_the_row_alone(client, &definition.join(", "), filter).await;
    client.batch_execute("ROLLBACK").await?;
    tested
}

async fn depends_on_the_row_alone(
    client: &Client,
    columns: &str,
    filter: &Filter,
) -> Result<Option<String>, Error> {
    let table = format!("CREATE TEMPORARY TABLE {ROW_ALIAS} ({columns})");
    match client.batch_execute(&table).await {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Ok(Some(TEMPORARY.to_owned()));
        }
        result => result?,
    }
    // One statement, whatever the text is.
    let column = format!(
        "ALTER TABLE pg_temp.{ROW_ALIAS} ADD COLUMN strait_matches boolean GENERATED ALWAYS AS {} STORED",
        filter.sql()
    );
    match client.execute(&column, &[]).await {
        Ok(_) => Ok(None),
        Err(error) => words(error.into()).map(Some),
    }
}

/// The server's words about a condition; other errors stay errors.
fn words(error: Error) -> Result<String, Error> {
    match error.server_error() {
        Some(told) if told.message == "generation expression is not immutable" => {
            Ok("it calls a function or operator that is not IMMUTABLE, so it could answer differently later"
                .to_owned())
        }
        Some(told) => Ok(told.message.replace("column generation expression", "a condition on rows")),
        None => Err(error),
    }
}

/// A column's type, with its collation.
fn typed(column: &v1::Column) -> String {
    match &*column.collation {
        "" => column.type_name.clone(),
        collation => format!("{} COLLATE {collation}", column.type_name),
    }
}
