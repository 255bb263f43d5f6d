//! One question to one agent, in the session that it has now.

use std::time::Duration;

use strait_proto::v1::{self, command::Command, command_result};
use tokio::time::timeout;

use super::Supervisor;
use crate::registry::{AgentKey, Session};
use crate::task::failure::{no_answer, not_connected};
use crate::task::{Side, TaskRecord};

impl Supervisor {
    /// Asks one of a task's agents. Two questions with one `request_id` are one to an agent that is still at it.
    pub(super) async fn ask(
        &self,
        record: &TaskRecord,
        side: Side,
        request_id: &str,
        command: Command,
    ) -> Result<command_result::Result, v1::Failure> {
        self.ask_agent(side, record.agent(side), request_id, command, self.timings.command_wait).await
    }

    /// Asks any agent.
    pub(super) async fn ask_agent(
        &self,
        side: Side,
        agent: &str,
        request_id: &str,
        command: Command,
        wait: Duration,
    ) -> Result<command_result::Result, v1::Failure> {
        let sessions = self.registry.follow(&AgentKey { side, name: agent.to_owned() });
        let session = sessions.borrow().clone().filter(|session| !session.is_ended());
        let session = session.ok_or_else(|| not_connected(side, agent))?;
        ask_in(&session, (side, agent), request_id, command, wait).await
    }
}

/// Asks in this session and in no later one. That the agent could not carry it out is an error too.
pub(super) async fn ask_in(
    session: &Session,
    (side, agent): (Side, &str),
    request_id: &str,
    command: Command,
    wait: Duration,
) -> Result<command_result::Result, v1::Failure> {
    let answer = timeout(wait, session.ask(request_id, command)).await;
    match answer.ok().and_then(Result::ok).ok_or_else(|| no_answer(side, agent))? {
        command_result::Result::Failure(failure) => Err(failure),
        answer => Ok(answer),
    }
}
