//! What the source-agent asks about the tables that join a task.

use strait_proto::v1::{self, JoinAction};

use crate::error::Error;
use crate::registry::Assignment;
use crate::session::Session;
use crate::store;

/// Looks at the joining tables, hands them over or gives them up. `session` is the task's own.
pub(crate) async fn join_tables(
    assignment: &Assignment,
    session: &Session,
    action: JoinAction,
) -> Result<v1::JoinTablesResponse, Error> {
    let client = session.connect().await?;
    let task_id = session.task_id();
    let (own, joining) = store::joining_positions(&client, task_id).await?;
    let tables = store::table_states(&client, &task_id.joining()).await?;
    let handed_over = match action {
        JoinAction::Look => false,
        JoinAction::HandOver => store::hand_over(&client, &session.claim()).await?,
        JoinAction::Abandon => {
            if let Some(theirs) = assignment.session_of(true).lock().await.take() {
                theirs.end().await;
            }
            store::abandon(&client, &session.claim()).await?;
            false
        }
        JoinAction::Unspecified => return Err(Error::protocol("no action for the joining tables")),
    };
    Ok(v1::JoinTablesResponse {
        applied_lsn: own.unwrap_or_default().0,
        joining_lsn: joining.unwrap_or_default().0,
        ready: store::are_ready(&tables),
        handed_over,
        tables,
    })
}
