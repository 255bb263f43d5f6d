//! Tries statements that have failed once more: their cause may have been mended.

use strait_postgres::{Client, Error};

use super::Results;
use super::execute::{Created, Executor, Object, Refusal};
use super::objects;
use crate::store::ObjectKey;

/// An object that has failed, and the statement that would make it.
pub(crate) struct Again {
    pub(crate) key: ObjectKey,
    pub(crate) statement: String,
}

/// Tries each, and those that miss something again as long as others came into being. Only what stands now, and what is still
/// refused, is reported.
pub(crate) async fn retry(client: &Client, failed: Vec<Again>, results: &Results) -> Result<(), Error> {
    objects::prepare(client).await?;
    let executor = Executor { client, results };
    let mut waiting = failed;
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut refused: Vec<(Again, Refusal)> = Vec::new();
        for again in waiting {
            let object = Object::new(&again.key.kind, &again.key.schema, &*again.key.name);
            if let Created::Refused(refusal) =
                executor.create_unless_there(&object, &again.statement, "").await?
            {
                refused.push((again, refusal));
            }
        }
        if refused.len() == before {
            for (again, refusal) in refused {
                let object = Object::new(&again.key.kind, &again.key.schema, &*again.key.name);
                executor.fail(object, refusal.message, &again.statement).await;
            }
            return Ok(());
        }
        waiting = refused.into_iter().map(|(again, _)| again).collect();
    }
    Ok(())
}
