//! What of Strait stands at a destination: the records of tasks in schema `strait`.

use strait_postgres::ConnectionUri;
use strait_proto::TaskId;
use strait_proto::v1::{self, Leftover};

use crate::error::{Context as _, Error};

const TASKS: &str = "SELECT DISTINCT task_id FROM strait.task ORDER BY task_id";

/// Connects and looks. Changes nothing.
pub(crate) async fn inspect(uri: &ConnectionUri) -> Result<v1::InspectResult, Error> {
    const DOING: &str = "look at the destination";
    let client =
        strait_postgres::connect(uri, "strait-sink inspect").await.context("connect to the destination")?;
    let server = client.server().await.context(DOING)?;
    let row = client
        .query_one("SELECT current_database()::text, to_regclass('strait.task') IS NOT NULL", &[])
        .await;
    let row = row.context(DOING)?;
    let (database, has_records): (String, bool) = (row.get(0), row.get(1));
    let rows = if has_records { client.query(TASKS, &[]).await.context(DOING)? } else { Vec::new() };
    let mut leftovers: Vec<Leftover> = Vec::new();
    for row in &rows {
        // Those of joining tables have a longer name.
        let Some(task_id) = row.get::<_, &str>(0).get(..TaskId::LENGTH) else { continue };
        if leftovers.last().is_none_or(|last| last.task_id != task_id) {
            let name = format!("strait.* of task {task_id}");
            leftovers.push(Leftover { kind: "records".to_owned(), name, task_id: task_id.to_owned() });
        }
    }
    Ok(v1::InspectResult {
        server: format!("{} {}", server.dialect, server.version),
        database,
        slots: Vec::new(),
        leftovers,
    })
}
