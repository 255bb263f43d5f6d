//! The coordinator over real gRPC, with agents that do what a test says.

mod agent;
mod alerts;
mod create;
mod endpoints;
mod life;
mod real_agents;
mod release;
mod restart;
mod retries;
mod scale;
mod update;
mod warnings;

use std::path::PathBuf;
use std::time::Duration;

use strait_proto::v1::task_service_client::TaskServiceClient;
use strait_proto::v1::{
    CreateTaskRequest, EndpointReference, GetTaskRequest, ListEventsRequest, PauseTaskRequest,
    PrecheckTaskRequest, ReleaseTaskRequest, ResumeTaskRequest, StartTaskRequest, Task, TaskSpec, TaskState,
    WatchTaskRequest,
};
use strait_runtime::Shutdown;
use strait_runtime::security::{Expected, Security};
use strait_runtime::serve::Dial;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

use crate::task::Side;
use crate::timings::Timings;
use crate::{AlertConfig, Config, RunError, Secret, run_with};
use agent::Agent;

/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A coordinator that can be ended and started again on the same store.
struct Coordinator {
    directory: tempfile::TempDir,
    timings: Timings,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), RunError>>,
    address: String,
    tasks: TaskServiceClient<Channel>,
}

/// Patience that suits a test, except where it says otherwise.
fn timings() -> Timings {
    Timings {
        contact_grace: Duration::from_millis(100),
        restart_grace: Duration::from_millis(300),
        stop_wait: Duration::from_secs(5),
        command_wait: Duration::from_secs(5),
        progress_save: Duration::from_millis(50),
        watch_interval: Duration::from_millis(20),
        release_pauses: (Duration::from_millis(5), Duration::from_millis(50)),
        retry_minute: Duration::from_secs(60),
        alert_interval: Duration::from_millis(20),
        alert_quiet: Duration::from_millis(50),
        agent_gone: Duration::from_millis(100),
        paused_long: Duration::from_secs(3600),
        slot_interval: Duration::from_secs(3600),
    }
}

impl Coordinator {
    async fn start() -> Self {
        Self::start_with(timings()).await
    }

    async fn start_with(timings: Timings) -> Self {
        Self::on(tempfile::tempdir().unwrap(), timings).await
    }

    async fn on(directory: tempfile::TempDir, timings: Timings) -> Self {
        Self::listening(directory, timings, "127.0.0.1:0").await
    }

    async fn listening(directory: tempfile::TempDir, timings: Timings, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let config =
            Config { store: store_path(&directory), alerts: alerts(), security: Security::PlainText };
        let running = tokio::spawn(run_with(config, timings, listener, shutdown.clone()));
        let tasks = TaskServiceClient::new(channel(&address));
        Self { directory, timings, shutdown, running, address, tasks }
    }

    /// Ends in order and starts again.
    async fn restart(self) -> Self {
        self.shutdown.trigger();
        within(self.running).await.unwrap().unwrap();
        Self::on(self.directory, self.timings).await
    }

    /// Ends in order and starts again where the agents look for it.
    async fn restart_at_its_address(self) -> Self {
        self.shutdown.trigger();
        within(self.running).await.unwrap().unwrap();
        Self::listening(self.directory, self.timings, self.address.trim_start_matches("http://")).await
    }

    /// Ends without any order and starts again.
    async fn crash(self) -> Self {
        self.running.abort();
        assert!(within(self.running).await.is_err());
        Self::on(self.directory, self.timings).await
    }

    async fn create(&self, request: CreateTaskRequest) -> Result<Task, Status> {
        within(self.tasks.clone().create_task(request))
            .await
            .map(|response| response.into_inner().task.unwrap())
    }

    async fn task(&self, task: &str) -> Task {
        let request = GetTaskRequest { task: task.into() };
        within(self.tasks.clone().get_task(request)).await.unwrap().into_inner().task.unwrap()
    }

    async fn precheck(&self, task: &str) -> Result<Task, Status> {
        let request = PrecheckTaskRequest { task: task.into() };
        within(self.tasks.clone().precheck_task(request))
            .await
            .map(|response| response.into_inner().task.unwrap())
    }

    async fn start_task(&self, task: &str, once: bool) -> Result<Task, Status> {
        let request = StartTaskRequest { task: task.into(), once, ..StartTaskRequest::default() };
        within(self.tasks.clone().start_task(request))
            .await
            .map(|response| response.into_inner().task.unwrap())
    }

    async fn pause(&self, task: &str) -> Result<Task, Status> {
        let request = PauseTaskRequest { task: task.into() };
        within(self.tasks.clone().pause_task(request))
            .await
            .map(|response| response.into_inner().task.unwrap())
    }

    async fn resume(&self, task: &str) -> Result<Task, Status> {
        let request = ResumeTaskRequest { task: task.into() };
        within(self.tasks.clone().resume_task(request))
            .await
            .map(|response| response.into_inner().task.unwrap())
    }

    async fn release(&self, task: &str) -> Result<Task, Status> {
        let request = ReleaseTaskRequest { task: task.into() };
        within(self.tasks.clone().release_task(request))
            .await
            .map(|response| response.into_inner().task.unwrap())
    }

    async fn events(&self, task: &str) -> Vec<String> {
        let request = ListEventsRequest { task: task.into(), ..ListEventsRequest::default() };
        let response = within(self.tasks.clone().list_events(request)).await.unwrap();
        response.into_inner().events.into_iter().map(|event| event.text).collect()
    }

    /// Watches the task until it is as `wanted`.
    async fn until(&self, task: &str, wanted: impl Fn(&Task) -> bool) -> Task {
        let request = WatchTaskRequest { task: task.into() };
        let mut watch = within(self.tasks.clone().watch_task(request)).await.unwrap().into_inner();
        let mut last = None;
        let watching = async {
            while let Some(response) = watch.message().await.unwrap() {
                let task = response.task.unwrap();
                if wanted(&task) {
                    return task;
                }
                last = Some(task);
            }
            panic!("the watch ended");
        };
        let result = tokio::time::timeout(DEADLINE, watching).await;
        result.unwrap_or_else(|_| panic!("the task did not come there: {last:#?}"))
    }

    async fn until_state(&self, task: &str, state: TaskState) -> Task {
        self.until(task, |task| task.state() == state).await
    }

    async fn source(&self) -> Agent {
        Agent::connect(&self.address, Side::Source, "eu-1", None).await
    }

    async fn sink(&self) -> Agent {
        Agent::connect(&self.address, Side::Sink, "us-1", None).await
    }

    /// A task that both agents work on, in phase incremental of epoch 1.
    async fn running_task(&self) -> (String, Agent, Agent) {
        self.running(request("")).await
    }

    /// The same of any task between these agents.
    async fn running(&self, request: CreateTaskRequest) -> (String, Agent, Agent) {
        let (mut source, mut sink) = (self.source().await, self.sink().await);
        let task_id = self.create(request).await.unwrap().task_id;
        let starting = self.start_task(&task_id, false);
        let agents = async {
            source.answer_precheck(vec![]).await;
            sink.answer_precheck(vec![]).await;
            sink.assigned().await;
            source.assigned().await;
        };
        let (started, ()) = tokio::join!(starting, agents);
        assert_eq!(started.unwrap().state(), TaskState::SchemaSync);
        source.phase(&task_id, 1, TaskState::Incremental).await;
        self.until_state(&task_id, TaskState::Incremental).await;
        (task_id, source, sink)
    }
}

fn alerts() -> AlertConfig {
    AlertConfig { webhook: None, secret: Secret::new("for tests") }
}

fn store_path(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("coordinator.sqlite")
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("within the deadline")
}

fn spec() -> TaskSpec {
    let endpoint = |agent: &str, endpoint: &str| {
        Some(EndpointReference { agent: agent.into(), endpoint: endpoint.into(), database: String::new() })
    };
    TaskSpec {
        source: endpoint("eu-1", "orders"),
        destination: endpoint("us-1", "warehouse"),
        ..TaskSpec::default()
    }
}

fn channel(address: &str) -> Channel {
    Dial::new(address, &Security::PlainText, Expected::coordinator()).unwrap().connect_lazy()
}

fn request(client_token: &str) -> CreateTaskRequest {
    CreateTaskRequest {
        spec: Some(spec()),
        client_token: client_token.into(),
        ..CreateTaskRequest::default()
    }
}
