//! The coordinator, as commands call it. This is where a gRPC status becomes a sentence.

use strait_proto::v1;
use strait_proto::v1::task_service_client::TaskServiceClient;
use strait_proto::v1::token_service_client::TokenServiceClient;
use strait_runtime::security::{Expected, Security};
use strait_runtime::serve::Dial;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::args::Remote;
use crate::error::Error;

/// A task of many thousand tables carries a result for each of their objects, some 200 bytes each.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The variable that holds an operator's token.
const TOKEN_ENVIRONMENT: &str = "STRAIT_TOKEN";

/// A connection to a coordinator. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    uri: String,
    client: TaskServiceClient<Calls>,
    tokens: TokenServiceClient<Calls>,
}

type Calls = InterceptedService<Channel, Bearer>;

/// Sends an operator's token with each call, where there is one.
#[derive(Clone, Debug)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// The answers of a watch.
pub(crate) struct Watch {
    uri: String,
    answers: tonic::Streaming<v1::WatchTaskResponse>,
}

impl Coordinator {
    /// Connects as the command line says.
    pub(crate) async fn connect(remote: &Remote) -> Result<Self, Error> {
        let security = remote.security.resolve(&remote.coordinator)?;
        Self::dial(&remote.coordinator, &security, bearer(remote)?).await
    }

    /// Connects to a coordinator within this process.
    pub(crate) async fn in_process(uri: &str) -> Result<Self, Error> {
        Self::dial(uri, &Security::PlainText, Bearer(None)).await
    }

    async fn dial(uri: &str, security: &Security, bearer: Bearer) -> Result<Self, Error> {
        let dial = Dial::new(uri, security, Expected::coordinator())
            .map_err(|error| Error::CoordinatorUri { uri: uri.to_owned(), message: error.to_string() })?;
        let channel = dial
            .connect()
            .await
            .map_err(|error| Error::Unreachable { uri: uri.to_owned(), reason: innermost(&error) })?;
        let client = TaskServiceClient::with_interceptor(channel.clone(), bearer.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        let tokens = TokenServiceClient::with_interceptor(channel, bearer);
        Ok(Self { uri: uri.to_owned(), client, tokens })
    }

    pub(crate) async fn create_token(&self, name: &str) -> Result<v1::CreateTokenResponse, Error> {
        let request = v1::CreateTokenRequest { name: name.to_owned() };
        self.answer(self.tokens.clone().create_token(request).await)
    }

    pub(crate) async fn tokens(&self) -> Result<Vec<v1::TokenInfo>, Error> {
        Ok(self.answer(self.tokens.clone().list_tokens(v1::ListTokensRequest {}).await)?.tokens)
    }

    pub(crate) async fn revoke_token(&self, name: &str) -> Result<(), Error> {
        let request = v1::RevokeTokenRequest { name: name.to_owned() };
        self.answer(self.tokens.clone().revoke_token(request).await).map(drop)
    }

    pub(crate) async fn create(&self, request: v1::CreateTaskRequest) -> Result<v1::Task, Error> {
        let answer = self.client.clone().create_task(request).await;
        task(self.answer(answer)?.task)
    }

    pub(crate) async fn plan(&self, spec: v1::TaskSpec) -> Result<v1::TaskPlan, Error> {
        let answer = self.client.clone().plan_task(v1::PlanTaskRequest { spec: Some(spec) }).await;
        self.answer(answer)?.plan.ok_or(Error::Answer("a plan"))
    }

    /// Every task that the request asks for, page by page.
    pub(crate) async fn list(&self, mut request: v1::ListTasksRequest) -> Result<Vec<v1::Task>, Error> {
        let mut tasks = Vec::new();
        loop {
            let answer = self.client.clone().list_tasks(request.clone()).await;
            let page = self.answer(answer)?;
            tasks.extend(page.tasks);
            if page.next_page_token.is_empty() {
                return Ok(tasks);
            }
            request.page_token = page.next_page_token;
        }
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

    /// Confirms warnings of the last precheck; all of them where none is named.
    pub(crate) async fn confirm(&self, name: &str, items: Vec<String>) -> Result<v1::Task, Error> {
        let request = v1::ConfirmWarningsRequest { task: name.to_owned(), items };
        let answer = self.client.clone().confirm_warnings(request).await;
        task(self.answer(answer)?.task)
    }

    pub(crate) async fn start(&self, name: &str, once: bool, confirmed: bool) -> Result<v1::Task, Error> {
        let request = v1::StartTaskRequest { task: name.to_owned(), once, confirmed };
        let answer = self.client.clone().start_task(request).await;
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

    /// The databases of all agents, or of one, or of one name, as they answer now.
    pub(crate) async fn check_endpoints(
        &self,
        agent: String,
        endpoint: String,
    ) -> Result<Vec<v1::EndpointStatus>, Error> {
        let request = v1::CheckEndpointsRequest { agent, endpoint };
        let answer = self.client.clone().check_endpoints(request).await;
        Ok(self.answer(answer)?.endpoints)
    }

    /// What was removed.
    pub(crate) async fn remove_orphan(&self, request: v1::RemoveOrphanRequest) -> Result<Vec<String>, Error> {
        let answer = self.client.clone().remove_orphan(request).await;
        Ok(self.answer(answer)?.actions)
    }

    /// The alerts that hold: of a task, or of all where none is named.
    pub(crate) async fn alerts(&self, task: String) -> Result<Vec<v1::Alert>, Error> {
        let answer = self.client.clone().list_alerts(v1::ListAlertsRequest { task }).await;
        Ok(self.answer(answer)?.alerts)
    }

    pub(crate) async fn test_alerts(&self, task: String) -> Result<Vec<v1::WebhookTest>, Error> {
        let answer = self.client.clone().test_alerts(v1::TestAlertsRequest { task }).await;
        Ok(self.answer(answer)?.webhooks)
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

/// The token of the command line, as it is sent.
fn bearer(remote: &Remote) -> Result<Bearer, Error> {
    // The token itself is no flag: a command line is for all to see.
    let from_environment = || std::env::var(TOKEN_ENVIRONMENT).ok().filter(|token| !token.is_empty());
    let token = match &remote.token_file {
        Some(path) => {
            Some(std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.clone(), source })?)
        }
        None => from_environment(),
    };
    let Some(token) = token else { return Ok(Bearer(None)) };
    let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| {
        Error::Argument { argument: "token-file", message: "holds something else than a token".to_owned() }
    })?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
}

/// The last reason of a chain: "connection refused" rather than "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
