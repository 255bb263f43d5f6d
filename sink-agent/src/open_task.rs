//! Opens sessions: from then on the destination accepts nobody else's writes for the task.

use std::sync::Arc;

use strait_postgres::Client;
use strait_proto::{TaskId, v1};

use crate::continuity::changes_timeline;
use crate::error::{Context as _, Error};
use crate::join_tables::add_columns;
use crate::registry::Assignment;
use crate::session::Session;
use crate::store::{self, Claim, Progress};

/// Schema `strait` can vanish between looking and claiming, when another task's release drops it.
const CLAIM_ATTEMPTS: u32 = 3;
const UNDEFINED_TABLE: &str = "42P01";
const UNDEFINED_SCHEMA: &str = "3F000";

/// Claims the task for the assignment and says what the destination knows.
pub(crate) async fn open_task(
    assignment: &Arc<Assignment>,
    request: &v1::OpenTaskRequest,
) -> Result<v1::OpenTaskResponse, Error> {
    let joining = request.session.as_ref().is_some_and(|session| session.joining);
    let mut open = assignment.session_of(joining).lock().await;
    if let Some(previous) = open.take() {
        previous.end().await;
    }
    let task_id = assignment.id_of(joining);
    let claimed = tokio::select! {
        claimed = claim(assignment, &task_id) => claimed?,
        () = assignment.stop.cancelled() => return Err(Error::Stopped),
    };
    let Claimed { client, claim, progress } = claimed;
    let Progress { mut checkpoint, tables, schema_applied, model } = progress;
    if let (Some(checkpoint), Some(source)) = (&mut checkpoint, &request.source)
        && changes_timeline(checkpoint, &tables, source, &request.history)?
    {
        tracing::info!(%task_id, timeline = source.timeline, "the source was failed over: going on along its new timeline");
        store::set_timeline(&client, &claim, source.timeline).await?;
        checkpoint.source = Some(source.clone());
    }
    let (uri, builders) = (assignment.uri.clone(), assignment.build_connections);
    let session = Session::new(uri, claim, model, builders, assignment.stop.clone());
    *open = Some(Arc::new(session));
    Ok(v1::OpenTaskResponse { checkpoint, tables, schema_applied })
}

/// A task that this agent holds now.
struct Claimed {
    client: Client,
    claim: Claim,
    progress: Progress,
}

async fn claim(assignment: &Assignment, task_id: &TaskId) -> Result<Claimed, Error> {
    let client = store::connect(&assignment.uri, task_id).await?;
    client.server().await.and_then(|server| server.require_version()).context("look at the destination")?;
    refuse_recovery(&client).await?;
    let mut attempt = 1;
    let claim = loop {
        store::ensure_layout(&client).await?;
        match store::claim(&client, task_id, &assignment.name, assignment.epoch).await {
            Err(error)
                if attempt < CLAIM_ATTEMPTS
                    && matches!(error.sqlstate(), Some(UNDEFINED_TABLE | UNDEFINED_SCHEMA)) =>
            {
                attempt += 1;
            }
            claimed => break claimed?,
        }
    };
    let mut progress = store::progress(&client, task_id).await?;
    add_columns(&client, &mut progress.tables).await?;
    Ok(Claimed { client, claim, progress })
}

/// A standby cannot be written; after a failover the address may lead to the wrong server for a while.
pub(crate) async fn refuse_recovery(client: &Client) -> Result<(), Error> {
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await.context("look at the destination")?;
    if row.get(0) {
        return Err(Error::NotNow(
            "the destination is in recovery, a standby: it cannot be written. The endpoint has to lead to \
             the primary (with several hosts in its URI: target_session_attrs=read-write)"
                .to_owned(),
        ));
    }
    Ok(())
}
