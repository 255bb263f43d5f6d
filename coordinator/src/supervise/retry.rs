//! Trying to create failed objects again: a question to the sink-agent, whose answer changes what is known of them.

use strait_proto::v1::{self, ObjectResult, command, command_result};
use tokio::sync::oneshot;

use super::actor::Message;
use super::work::wrong_answer;
use super::{Found, Supervisor, on_released};
use crate::error::RequestError;
use crate::task::spec::Effect;
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
                return on_released(&released, Operation::Update(Effect::Live))
                    .map(|task| (task, Vec::new()));
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
        let (task_id, spec) = (record.task_id.to_string(), Some(record.spec.clone()));
        // Always the same, so that an agent that is still at it does not begin a second time.
        let request_id = format!("retry-objects-{task_id}");
        let command = command::Command::RetryObjects(v1::RetryObjectsCommand { task_id, spec });
        match self.ask(record, Side::Sink, &request_id, command).await? {
            command_result::Result::RetryObjects(objects) => Ok(objects.results),
            _ => Err(wrong_answer(Side::Sink)),
        }
    }
}
