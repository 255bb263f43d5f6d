//! What a task would do at the destination: the very code that creates objects, on a connection that may not write, with its
//! statements written down instead of run.

use std::collections::HashSet;

use strait_postgres::{Client, ConnectionUri};
use strait_proto::TaskId;
use strait_proto::v1::{self, TableName};

use crate::apply_schema::{existed_table, leave_alone};
use crate::error::{Context as _, Error};
use crate::results::gather;
use crate::schema::{self, Results};
use crate::store;

/// Renders a model for the destination as it is now.
pub(crate) async fn plan(
    uri: &ConnectionUri,
    task_id: &TaskId,
    spec: Option<&v1::TaskSpec>,
    mut model: v1::SchemaModel,
) -> Result<v1::PlanResult, Error> {
    let client = store::connect(uri, task_id).await?;
    client.batch_execute("SET default_transaction_read_only = on").await.context("prepare the plan")?;
    let names: Vec<TableName> = model.tables.iter().map(v1::Table::table_name).collect();
    let existing: HashSet<TableName> = store::existing_tables(&client, &names).await?.into_iter().collect();
    leave_alone(&mut model, &existing);
    let remarks = schema::for_dialect(&client, &mut model).await.context("look at the destination")?;
    let creates = spec.is_none_or(|spec| spec.synchronizes(v1::Synchronization::Schema));
    if !creates {
        return Ok(v1::PlanResult {
            objects: names.iter().map(existed_table).collect(),
            ..Default::default()
        });
    }
    let (rendered, mut objects) =
        gather(Results::rendering, async |results| render(&client, &model, results).await).await;
    objects.extend(remarks);
    Ok(v1::PlanResult { model: None, objects, statements: rendered? })
}

async fn render(client: &Client, model: &v1::SchemaModel, results: Results) -> Result<Vec<String>, Error> {
    const DOING: &str = "render the schema";
    // Nothing is replaced: what stands is left as it is.
    schema::create_objects(client, model, &HashSet::new(), &results).await.context(DOING)?;
    for table in &model.tables {
        schema::finish_table(client, model, table, &results).await.context(DOING)?;
    }
    schema::create_after_data(client, model, &HashSet::new(), &HashSet::new(), true, &results)
        .await
        .context(DOING)?;
    let mut statements = results.rendered();
    for key in schema::foreign_keys(model) {
        statements.push(key.add_sql);
        statements.extend(key.validate_sql);
    }
    Ok(statements)
}
