//! Begins tables at a snapshot, or begins them over.

use std::collections::HashSet;

use strait_postgres::Client;
use strait_postgres::quote::qualified;
use strait_proto::{Lsn, v1};

use crate::apply::{Truncation, truncate};
use crate::continuity::require_same;
use crate::error::{Context as _, Error};
use crate::session::Session;
use crate::store::{self, BEGIN, in_transaction};

/// Empties the tables, or makes a stage for those that stood before the task, raises their generations, forgets their chunks; the first time it creates the
/// checkpoint.
pub(crate) async fn begin_tables(
    session: &Session,
    request: v1::BeginTablesRequest,
) -> Result<v1::BeginTablesResponse, Error> {
    let source = request.source.unwrap_or_default();
    let begin_lsn = Lsn(request.begin_lsn);
    if begin_lsn == Lsn::ZERO {
        return Err(Error::protocol("tables begin at no position"));
    }
    let mut tables = Vec::with_capacity(request.table_ids.len());
    for table_id in &request.table_ids {
        tables.push(session.table(*table_id)?);
    }
    // Foreign keys may stand already where a table begins over: emptied for its new beginning, rows that refer to it stay.
    let connection = session.writing_connection().await?;
    let client = connection.client();
    let claim = session.claim();
    let created = store::created_tables(client, &claim.task_id).await?;
    let adopted = store::adopted_tables(client, &claim.task_id).await?;
    in_transaction(client, &connection.begin(BEGIN), async {
        // Locks the checkpoint first: nobody else holds the task from here on.
        let stands = store::begin_checkpoint(client, &claim, begin_lsn, &source).await?;
        require_same(&stands, &source)?;
        for table in &tables {
            let name = table.table_name();
            if adopted.contains(&name) || table.merged {
                if !request.keep_rows {
                    let stage = store::stage_name(&claim.task_id, table.table_id);
                    store::make_stage(client, &stage, &name, &written_columns(table)).await?;
                }
            } else if !request.keep_rows {
                empty(client, &name, &created).await?;
            }
            store::begin_table(client, &claim.task_id, table, begin_lsn).await?;
        }
        Ok(())
    })
    .await?;
    let states = store::table_states(client, &claim.task_id).await?;
    session.give_back(connection);
    let begun = states.into_iter().filter(|state| request.table_ids.contains(&state.table_id)).collect();
    Ok(v1::BeginTablesResponse { tables: begun })
}

/// What rows bring: all columns but the generated ones.
pub(super) fn written_columns(table: &v1::Table) -> Vec<&str> {
    table.columns.iter().filter(|column| column.generated.is_none()).map(|column| &*column.name).collect()
}

/// Only what this task made may be emptied; anything else has to be empty.
async fn empty(client: &Client, name: &v1::TableName, created: &HashSet<v1::TableName>) -> Result<(), Error> {
    let sql_name = qualified(&name.schema, &name.name);
    let occupied = format!("SELECT EXISTS (SELECT FROM ONLY {sql_name})");
    let row =
        client.query_one(&occupied, &[]).await.context(format!("look whether table {name} is empty"))?;
    if !row.get::<_, bool>(0) {
        return Ok(());
    }
    if !created.contains(name) {
        return Err(Error::refused(
            format!("table {name} at the destination has rows, and this task did not create it"),
            format!("Drop or rename {sql_name} at the destination, or exclude the table from the task."),
        ));
    }
    let all = Truncation { tables: vec![name.clone()], conditions: Vec::new(), restart_identity: false };
    truncate(client, &all).await
}
