//! What has to hold at the destination before a task starts, item by item, each with its cause and remedy.
//!
//! Nothing is changed here, and one item that cannot be answered takes no other with it.

mod checks;
mod connections;
mod existing;
mod family;
mod item;
mod requirements;

use strait_postgres::{Client, ConnectionUri};
use strait_proto::{TaskId, v1};

use crate::error::Error;
use crate::registry::lanes;
use crate::store;

/// Whether the destination can be reached.
const REACHABLE: &str = "destination.reachable";

/// Runs every check. A destination that cannot be reached answers with that alone.
pub(crate) async fn precheck(
    uri: &ConnectionUri,
    task_id: &TaskId,
    source: &v1::SourceSummary,
    spec: Option<&v1::TaskSpec>,
) -> Vec<v1::PrecheckItem> {
    let client = match store::connect(uri, task_id).await {
        Ok(client) => client,
        Err(error) => return vec![unreachable(&error)],
    };
    let mut items = vec![item::passed(REACHABLE, format!("{} as {}", uri.address(), uri.user()))];
    let checks = Checks { client: &client, task_id, source };
    items.push(item::answered("destination.version", checks.version().await));
    items.push(item::answered("destination.family", family::check(&client, spec).await));
    items.push(item::answered("destination.not_in_recovery", checks.not_in_recovery().await));
    items.push(item::answered("destination.same_database", checks.same_database().await));
    items.push(item::answered("destination.privileges", checks.privileges().await));
    if spec.is_some_and(|spec| spec.existing_tables() == v1::ExistingTables::Proceed) {
        let has = |part| spec.is_none_or(|spec| spec.synchronizes(part));
        let (creates, copies) = (has(v1::Synchronization::Schema), has(v1::Synchronization::Full));
        let existing = checks.existing_tables(creates, copies).await;
        items.push(item::answered("destination.existing_tables", existing));
    } else {
        items.push(item::answered("destination.same_name_tables", checks.same_name_tables().await));
    }
    items.push(item::answered("destination.encoding", checks.encoding().await));
    items.push(item::answered("destination.collation", checks.collation().await));
    items.push(item::answered("destination.free_space", checks.free_space().await));
    items.push(item::answered("destination.extensions", checks.extensions().await));
    let required = requirements::check(&client, &source.requirements).await;
    items.push(item::answered("destination.requirements", required));
    items.push(item::answered("destination.replica_role", checks.replica_role().await));
    items.push(item::answered("destination.connections", connections::check(&client, lanes(spec)).await));
    items
}

/// The one item of a destination that cannot be reached.
pub(crate) fn unreachable(error: &Error) -> v1::PrecheckItem {
    item::answered(REACHABLE, Err(error.failure().into()))
}

struct Checks<'a> {
    client: &'a Client,
    task_id: &'a TaskId,
    source: &'a v1::SourceSummary,
}
