//! Objects whose definition is a text of SQL, at whatever time they are created.

use std::collections::HashSet;

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, SchemaStage};

use super::execute::{Attempt, Created, Executor, Object};
use super::{Results, comments};
use crate::store::ObjectKey;

/// Whether the account of this connection reads and writes whatever a table's row security says.
const BYPASSES_SQL: &str = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user";

/// Texts of functions are not looked into: what they refer to may come later, and what they say was fine at the source.
pub(super) async fn prepare(client: &Client) -> Result<(), Error> {
    Ok(client.batch_execute("SET check_function_bodies = off").await?)
}

/// A view in the place of its placeholder.
pub(super) fn replaces(object: &v1::SchemaObject) -> bool {
    !object.placeholder && object.statements.starts_with("CREATE OR REPLACE VIEW ")
}

/// The views in whose place placeholders stand for a while.
pub(crate) fn placeholders(model: &v1::SchemaModel) -> Vec<v1::TableName> {
    let placeholders = model.objects.iter().filter(|object| object.placeholder);
    placeholders.map(|object| v1::TableName::new(&*object.schema, &*object.name)).collect()
}

/// What waits for the rows.
pub(crate) fn after_data(model: &v1::SchemaModel) -> impl Iterator<Item = ObjectKey> {
    model.objects.iter().filter(|object| object.stage() == SchemaStage::AfterData).map(key)
}

/// Creates what had to wait for the rows, leaving out what is `settled`. Of the views that stand as placeholders only those that
/// were `intended` are this task's to replace. `replica_role`: neither triggers nor rules fire while
/// changes are applied; otherwise they are disabled.
pub(crate) async fn create_after_data(
    client: &Client,
    model: &v1::SchemaModel,
    settled: &HashSet<ObjectKey>,
    intended: &HashSet<ObjectKey>,
    replica_role: bool,
    results: &Results,
) -> Result<(), Error> {
    let executor = Executor { client, results };
    let waiting: Vec<&v1::SchemaObject> = model
        .objects
        .iter()
        .filter(|object| object.stage() == SchemaStage::AfterData && !settled.contains(&key(object)))
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    prepare(client).await?;
    let bypasses: bool = client.query_one(BYPASSES_SQL, &[]).await?.try_get(0)?;
    for object in waiting {
        let name = Object::new(&object.object_kind, &object.schema, &*object.name);
        if object.object_kind == "forced row security" && !bypasses {
            let reason =
                "it would bind the account that changes are applied with: force it after the cutover";
            executor.skip(name, reason.to_owned()).await;
            continue;
        }
        let fires = !replica_role && of_table(model, object);
        let (sql, note) =
            if fires { disabled(object) } else { (object.statements.clone(), object.note.clone()) };
        if replaces(object) && !intended.contains(&key(object)) {
            executor.existed(name).await;
        } else if replaces(object) {
            match executor.attempt(&sql).await? {
                Attempt::Done => executor.created(name).await,
                Attempt::Refused(refusal) => executor.fail(name, refusal.message, &sql).await,
            }
        } else if let Created::Refused(refusal) = executor.create_unless_there(&name, &sql, &note).await? {
            executor.fail(name, refusal.message, &sql).await;
        }
    }
    comments::write(&executor, &comments::after_data(model)).await
}

fn key(object: &v1::SchemaObject) -> ObjectKey {
    ObjectKey::new(&object.object_kind, &object.schema, &object.name)
}

/// Whether it belongs to a table, into which rows are written, and not to a view.
fn of_table(model: &v1::SchemaModel, object: &v1::SchemaObject) -> bool {
    let Some(relation) = &object.relation else { return false };
    model.tables.iter().any(|table| table.schema == relation.schema && table.name == relation.name)
}

/// The statements that create a trigger or a rule so that it does not fire, and what to say about it.
fn disabled(object: &v1::SchemaObject) -> (String, String) {
    let (statements, note) = (object.statements.clone(), object.note.clone());
    let verb = match &*object.object_kind {
        "trigger" => "TRIGGER",
        "rule" => "RULE",
        _ => return (statements, note),
    };
    let (Some(relation), false) = (&object.relation, statements.contains(&format!(" DISABLE {verb} ")))
    else {
        return (statements, note);
    };
    let table = quote::qualified(&relation.schema, &relation.name);
    let name = object.name.strip_prefix(&format!("{}.", relation.name)).unwrap_or(&object.name);
    let name = quote::identifier(name);
    let statements = format!("{statements};\nALTER TABLE {table} DISABLE {verb} {name}");
    let note = format!(
        "disabled, because the destination's user may not set session_replication_role and it would fire while changes are \
         applied: ALTER TABLE {table} ENABLE {verb} {name} after the cutover"
    );
    (statements, note)
}
