//! Trying to create failed objects again: a question to the sink-agent, whose answer changes what is known of them.

use strait_proto::v1::{self, ObjectResult, command, command_result};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::actor::Message;
use super::work::wrong_answer;
use super::{Found, Supervisor, on_released};
use crate::error::RequestError;
use crate::registry::AgentKey;
use crate::task::failure::{no_answer, not_connected};
use crate::task::{Operation, Side, TaskRecord};

impl Supervisor {
    /// Asks the task's sink-agent to try again, and answers with the task as it then is and what became of each.
    pub(crate) async fn retry_objects(
        &self,
        task: &str,
    ) -> Result<(v1::Task, Vec<ObjectResult>), RequestError> {
        let handle = match self.find(task).await? {
            Found::Live(handle) => handle,
            Found::Released(released) => {
                return on_released(&released, Operation::Update).map(|task| (task, Vec::new()));
            }
        };
        let results = self.ask_to_retry(&handle.latest().record).await.map_err(RequestError::Agent)?;
        let (reply, known) = oneshot::channel();
        // Where the actor has ended meanwhile, there is no answer either.
        let _ = handle.mailbox.send(Message::Retried { results: results.clone(), reply }).await;
        known.await.map_err(|_| RequestError::ShuttingDown)?;
        Ok((handle.latest().task(), results))
    }

    async fn ask_to_retry(&self, record: &TaskRecord) -> Result<Vec<ObjectResult>, v1::Failure> {
        let (side, agent) = (Side::Sink, record.agent(Side::Sink));
        let sessions = self.registry.follow(&AgentKey { side, name: agent.to_owned() });
        let session = sessions.borrow().clone().filter(|session| !session.is_ended());
        let session = session.ok_or_else(|| not_connected(side, agent))?;
        let (task_id, spec) = (record.task_id.to_string(), Some(record.spec.clone()));
        let command = command::Command::RetryObjects(v1::RetryObjectsCommand { task_id, spec });
        // Always the same, so that an agent that is still at it does not begin a second time.
        let request_id = format!("retry-objects-{}", record.task_id);
        let answer = timeout(self.timings.command_wait, session.ask(&request_id, command)).await;
        match answer.map_err(|_| no_answer(side, agent))?.map_err(|_| no_answer(side, agent))? {
            command_result::Result::RetryObjects(objects) => Ok(objects.results),
            command_result::Result::Failure(failure) => Err(failure),
            _ => Err(wrong_answer(side)),
        }
    }
}
