//! The coordinator, as commands call it. This is where a gRPC status becomes a sentence.

use std::time::Duration;

use strait_proto::v1::{self, task_service_client::TaskServiceClient};
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an open watch is probed, so that a coordinator that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// A task of many thousand tables carries a result for each of their objects, some 200 bytes each.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A connection to a coordinator. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    uri: String,
    client: TaskServiceClient<Channel>,
}

/// The answers of a watch.
pub(crate) struct Watch {
    uri: String,
    answers: tonic::Streaming<v1::WatchTaskResponse>,
}

impl Coordinator {
    /// Connects.
    pub(crate) async fn connect(uri: &str) -> Result<Self, Error> {
        let unusable =
            |message: &str| Error::CoordinatorUri { uri: uri.to_owned(), message: message.to_owned() };
        let endpoint = Endpoint::from_shared(uri.to_owned())
            .map_err(|_| unusable("this is not a URI; write http://host:port"))?;
        match endpoint.uri().scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(unusable("TLS is not supported yet by this version; write http://host:port"));
            }
            _ => return Err(unusable("write http://host:port")),
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .connect()
            .await
            .map_err(|error| Error::Unreachable { uri: uri.to_owned(), reason: innermost(&error) })?;
        let client = TaskServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { uri: uri.to_owned(), client })
    }

    pub(crate) async fn create(&self, request: v1::CreateTaskRequest) -> Result<v1::Task, Error> {
        let answer = self.client.clone().create_task(request).await;
        task(self.answer(answer)?.task)
    }

    pub(crate) async fn list(&self, include_released: bool) -> Result<Vec<v1::Task>, Error> {
        let answer = self.client.clone().list_tasks(v1::ListTasksRequest { include_released }).await;
        Ok(self.answer(answer)?.tasks)
    }

    pub(crate) async fn get(&self, name: &str) -> Result<v1::Task, Error> {
        let answer = self.client.clone().get_task(v1::GetTaskRequest { task: name.to_owned() }).await;
        task(self.answer(answer)?.task)
    }

    /// The task, or nothing where there is none of this name.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<v1::Task>, Error> {
        match self.get(name).await {
            Ok(task) => Ok(Some(task)),
            Err(Error::Refused(status)) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn precheck(&self, name: &str) -> Result<v1::Task, Error> {
        let answer =
            self.client.clone().precheck_task(v1::PrecheckTaskRequest { task: name.to_owned() }).await;
        task(self.answer(answer)?.task)
    }

    pub(crate) async fn start(&self, name: &str, once: bool) -> Result<v1::Task, Error> {
        let answer =
            self.client.clone().start_task(v1::StartTaskRequest { task: name.to_owned(), once }).await;
        task(self.answer(answer)?.task)
    }

    pub(crate) async fn pause(&self, name: &str) -> Result<v1::Task, Error> {
        let answer = self.client.clone().pause_task(v1::PauseTaskRequest { task: name.to_owned() }).await;
        task(self.answer(answer)?.task)
    }

    pub(crate) async fn resume(&self, name: &str) -> Result<v1::Task, Error> {
        let answer = self.client.clone().resume_task(v1::ResumeTaskRequest { task: name.to_owned() }).await;
        task(self.answer(answer)?.task)
    }

    /// What became of the objects that were tried again.
    pub(crate) async fn retry_objects(&self, name: &str) -> Result<Vec<v1::ObjectResult>, Error> {
        let request = v1::RetryObjectsRequest { task: name.to_owned() };
        let answer = self.client.clone().retry_objects(request).await;
        Ok(self.answer(answer)?.results)
    }

    pub(crate) async fn release(&self, name: &str) -> Result<v1::Task, Error> {
        let answer = self.client.clone().release_task(v1::ReleaseTaskRequest { task: name.to_owned() }).await;
        task(self.answer(answer)?.task)
    }

    pub(crate) async fn update(&self, name: &str, spec: v1::TaskSpec) -> Result<v1::Task, Error> {
        let request = v1::UpdateTaskRequest { task: name.to_owned(), spec: Some(spec) };
        let answer = self.client.clone().update_task(request).await;
        task(self.answer(answer)?.task)
    }

    /// Every event of a task after the given one, however many there are.
    pub(crate) async fn events(&self, name: &str, after_event_id: u64) -> Result<Vec<v1::TaskEvent>, Error> {
        let mut all = Vec::new();
        let mut after = after_event_id;
        loop {
            let request = v1::ListEventsRequest { task: name.to_owned(), after_event_id: after, limit: 0 };
            let answer = self.client.clone().list_events(request).await;
            let events = self.answer(answer)?.events;
            match events.last() {
                Some(last) if last.event_id > after => after = last.event_id,
                _ => return Ok(all),
            }
            all.extend(events);
        }
    }

    pub(crate) async fn agents(&self) -> Result<Vec<v1::AgentInfo>, Error> {
        let answer = self.client.clone().list_agents(v1::ListAgentsRequest {}).await;
        Ok(self.answer(answer)?.agents)
    }

    pub(crate) async fn watch(&self, name: &str) -> Result<Watch, Error> {
        let answer = self.client.clone().watch_task(v1::WatchTaskRequest { task: name.to_owned() }).await;
        Ok(Watch { uri: self.uri.clone(), answers: self.answer(answer)? })
    }

    fn answer<T>(&self, answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T, Error> {
        answer.map(tonic::Response::into_inner).map_err(|status| refused(&self.uri, status))
    }
}

impl Watch {
    /// The next answer; nothing once the task is released. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<(v1::Task, Vec<v1::TaskEvent>)>, Error> {
        let answer = self.answers.message().await.map_err(|status| refused(&self.uri, status))?;
        answer.map(|answer| Ok((task(answer.task)?, answer.events))).transpose()
    }
}

fn task(task: Option<v1::Task>) -> Result<v1::Task, Error> {
    task.ok_or(Error::Answer("a task"))
}

fn refused(uri: &str, status: tonic::Status) -> Error {
    match status.code() {
        tonic::Code::Unavailable => {
            let reason =
                std::error::Error::source(&status).map_or_else(|| status.message().to_owned(), innermost);
            Error::Unreachable { uri: uri.to_owned(), reason }
        }
        _ => Error::Refused(Box::new(status)),
    }
}

/// The last reason of a chain: "connection refused" rather than "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
