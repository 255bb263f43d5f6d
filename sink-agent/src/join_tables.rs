//! What the source-agent asks about the tables that join a task.

use strait_postgres::Client;
use strait_proto::v1::{self, JoinAction};

use crate::apply::present_columns;
use crate::error::Error;
use crate::registry::Assignment;
use crate::session::Session;
use crate::store;

/// Looks at the joining tables, hands them over or gives them up. `session` is the task's own.
pub(crate) async fn join_tables(
    assignment: &Assignment,
    session: &Session,
    request: v1::JoinTablesRequest,
) -> Result<v1::JoinTablesResponse, Error> {
    let client = session.connect().await?;
    let task_id = session.task_id();
    let (own, joining) = store::joining_positions(&client, task_id).await?;
    let tables = store::table_states(&client, &task_id.joining()).await?;
    let mut suspended = store::table_states(&client, task_id).await?;
    suspended.retain(|state| state.phase() == v1::CopyPhase::Suspended);
    add_columns(&client, &mut suspended).await?;
    let handed_over = match request.action() {
        JoinAction::Look => false,
        JoinAction::HandOver => store::hand_over(&client, &session.claim()).await?,
        JoinAction::Abandon => {
            if let Some(theirs) = assignment.session_of(true).lock().await.take() {
                theirs.end().await;
            }
            store::abandon(&client, &session.claim()).await?;
            false
        }
        JoinAction::Suspend => {
            store::suspend(&client, &session.claim(), &request.table_ids, &request.reason).await?;
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
        suspended,
    })
}

/// Whether a suspended table fits now is for the source to say, which knows what it looks like there today.
pub(crate) async fn add_columns(client: &Client, states: &mut [v1::TableState]) -> Result<(), Error> {
    for state in states.iter_mut().filter(|state| state.phase() == v1::CopyPhase::Suspended) {
        if let Some(table) = &state.table {
            state.destination_columns = present_columns(client, table).await?;
        }
    }
    Ok(())
}
