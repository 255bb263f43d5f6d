//! Ends a table's copy: keys, checks, indexes, statistics.

use strait_postgres::quote::qualified;
use strait_proto::v1;

use crate::error::{Context as _, Error};
use crate::results::Relay;
use crate::schema;
use crate::session::Session;
use crate::store::{self, finish_copy, set_ready};

/// Marks the table copied, builds what rows did not have to wait for, marks it ready. After a crash at any
/// point the same call goes on where it stopped.
pub(crate) async fn finish_table(
    session: &Session,
    request: &v1::FinishTableRequest,
    relay: &Relay<v1::FinishTableResponse>,
) -> Result<(), Error> {
    let table = session.table(request.table_id)?;
    let client = session.building_connection().await?;
    let claim = session.claim();
    if finish_copy(&client, &claim, request.table_id, request.generation, request.chunks).await? {
        session.give_back_building(client);
        return Ok(());
    }
    let name = v1::TableName::new(&*table.schema, &*table.name);
    let model = session.model();
    let build =
        async |results: schema::Results| schema::finish_table(&client, &model, &table, &results).await;
    let (built, results) = relay.collect(build).await?;
    store::record_objects(&client, &claim, &results).await?;
    built.context(format!("build the keys and indexes of table {name}"))?;
    let analyze = format!("ANALYZE {}", qualified(&table.schema, &table.name));
    client.batch_execute(&analyze).await.context(format!("analyse table {name}"))?;
    // Only now durable, with everything before it: a crash before it begins this call again.
    set_ready(&client, &claim, request.table_id, request.generation).await?;
    session.give_back_building(client);
    Ok(())
}
