//! Fills materialised views, once.

use std::collections::HashSet;

use strait_postgres::{Client, Error, quote};
use strait_proto::v1;

use super::Results;
use super::execute::{Attempt, Executor, Object};
use crate::store::ObjectKey;

const KIND: &str = "materialized view";

/// $1, $2: a materialised view. Whether it has not been filled yet.
const EMPTY_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_class AS c
                    JOIN pg_namespace AS n
                      ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'm' AND NOT c.relispopulated)";

/// Fills the materialised views of the model that are empty, each after those that it reads, but for those that have `failed`.
pub(crate) async fn refresh(
    client: &Client,
    model: &v1::SchemaModel,
    failed: &HashSet<ObjectKey>,
    results: &Results,
) -> Result<(), Error> {
    let executor = Executor { client, results };
    for view in model.objects.iter().filter(|object| object.object_kind == KIND) {
        if failed.contains(&ObjectKey::new(KIND, &view.schema, &view.name)) {
            continue;
        }
        if client.query_one(EMPTY_SQL, &[&view.schema, &view.name]).await?.try_get(0)? {
            let sql = format!("REFRESH MATERIALIZED VIEW {}", quote::qualified(&view.schema, &view.name));
            if let Attempt::Refused(refusal) = executor.attempt(&sql).await? {
                let object = Object::new(KIND, &view.schema, &*view.name);
                executor
                    .fail(object, format!("it stands, but without data: {}", refusal.message), &sql)
                    .await;
            }
        }
    }
    Ok(())
}
