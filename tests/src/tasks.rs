//! An operator's client of the coordinator.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use strait_proto::v1::task_service_client::TaskServiceClient;
use strait_proto::v1::{
    AgentInfo, CreateTaskRequest, GetTaskRequest, ListAgentsRequest, ListEventsRequest, ListTasksRequest,
    ObjectResult, PauseTaskRequest, PrecheckOutcome, PrecheckTaskRequest, ReleaseTaskRequest,
    ResumeTaskRequest, RetryObjectsRequest, StartTaskRequest, Task, TaskSpec, TaskState, UpdateTaskRequest,
};
use strait_runtime::security::{Expected, Security};
use strait_runtime::serve::Dial;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::layout::{SINK_AGENT, SOURCE_AGENT};
use crate::wait::{eventually, patience};

/// Speaks to one coordinator; reconnects by itself.
#[derive(Clone, Debug)]
pub struct Tasks {
    client: TaskServiceClient<Channel>,
}

impl Tasks {
    /// A client of the coordinator at this URI, which need not run yet, in plain text.
    pub fn at(coordinator: &str) -> Result<Self> {
        Self::with(coordinator, &Security::PlainText)
    }

    /// The same, speaking as `security` says.
    pub fn with(coordinator: &str, security: &Security) -> Result<Self> {
        let dial = Dial::new(coordinator, security, Expected::coordinator())?;
        let channel = dial.call_timeout(Duration::from_secs(120)).connect_lazy();
        // The models of large schemas come with the task.
        Ok(Self { client: TaskServiceClient::new(channel).max_decoding_message_size(64 << 20) })
    }

    /// Waits until both agents have made themselves known.
    pub async fn agents_connected(&self) -> Result<()> {
        eventually("both agents are connected", patience(), async || {
            let Ok(agents) = self.agents().await else { return Ok(None) };
            let connected = |name: &str| agents.iter().any(|agent| agent.agent == name && agent.connected);
            Ok((connected(SOURCE_AGENT) && connected(SINK_AGENT)).then_some(()))
        })
        .await
    }

    /// The agents that the coordinator knows.
    pub async fn agents(&self) -> Result<Vec<AgentInfo>, Status> {
        Ok(self.client.clone().list_agents(ListAgentsRequest {}).await?.into_inner().agents)
    }

    /// Creates a task.
    pub async fn create(&self, spec: TaskSpec) -> Result<Task, Status> {
        self.create_with(CreateTaskRequest { spec: Some(spec), ..CreateTaskRequest::default() }).await
    }

    /// The same with every field of the request.
    pub async fn create_with(&self, request: CreateTaskRequest) -> Result<Task, Status> {
        answered(self.client.clone().create_task(request).await?.into_inner().task)
    }

    /// The task as it stands.
    pub async fn get(&self, task: &str) -> Result<Task, Status> {
        answered(
            self.client.clone().get_task(GetTaskRequest { task: task.to_owned() }).await?.into_inner().task,
        )
    }

    /// All tasks that are not released.
    pub async fn list(&self) -> Result<Vec<Task>, Status> {
        Ok(self.client.clone().list_tasks(ListTasksRequest::default()).await?.into_inner().tasks)
    }

    /// Runs the precheck and answers with its result.
    pub async fn precheck(&self, task: &str) -> Result<Task, Status> {
        let request = PrecheckTaskRequest { task: task.to_owned() };
        answered(self.client.clone().precheck_task(request).await?.into_inner().task)
    }

    /// Starts a task.
    pub async fn start(&self, task: &str, once: bool) -> Result<Task, Status> {
        let request = StartTaskRequest { task: task.to_owned(), once, confirmed: false };
        answered(self.client.clone().start_task(request).await?.into_inner().task)
    }

    /// Changes what may change of a task.
    pub async fn update(&self, task: &str, spec: TaskSpec) -> Result<Task, Status> {
        let request = UpdateTaskRequest { task: task.to_owned(), spec: Some(spec) };
        answered(self.client.clone().update_task(request).await?.into_inner().task)
    }

    /// Pauses a task and waits until it is.
    pub async fn pause(&self, task: &str) -> Result<Task> {
        self.client.clone().pause_task(PauseTaskRequest { task: task.to_owned() }).await?;
        self.wait_for(task, TaskState::Paused, patience()).await
    }

    /// Resumes a task.
    pub async fn resume(&self, task: &str) -> Result<Task, Status> {
        let request = ResumeTaskRequest { task: task.to_owned() };
        answered(self.client.clone().resume_task(request).await?.into_inner().task)
    }

    /// Tries failed objects again and answers with what became of them.
    pub async fn retry_objects(&self, task: &str) -> Result<Vec<ObjectResult>, Status> {
        let request = RetryObjectsRequest { task: task.to_owned() };
        Ok(self.client.clone().retry_objects(request).await?.into_inner().results)
    }

    /// Releases a task and waits until it is done.
    pub async fn release(&self, task: &str) -> Result<()> {
        self.client.clone().release_task(ReleaseTaskRequest { task: task.to_owned() }).await?;
        self.wait_for(task, TaskState::Released, patience()).await?;
        Ok(())
    }

    /// What happened to a task, a line an event.
    pub async fn events(&self, task: &str) -> Result<Vec<String>, Status> {
        let request = ListEventsRequest { task: task.to_owned(), ..ListEventsRequest::default() };
        let events = self.client.clone().list_events(request).await?.into_inner().events;
        Ok(events.into_iter().map(|event| event.text).collect())
    }

    /// Waits until the task is in a state. Fails at once, with everything known about it, where it has ended in another one.
    pub async fn wait_for(&self, task: &str, wanted: TaskState, deadline: Duration) -> Result<Task> {
        let waited = eventually(&format!("task {task} is {wanted}"), deadline, async || {
            let found = match self.get(task).await {
                Ok(found) => found,
                // The coordinator may be away for a while.
                Err(status)
                    if matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown) =>
                {
                    return Ok(None);
                }
                Err(status) => return Err(status.into()),
            };
            let state = found.state();
            let ended =
                [TaskState::Failed, TaskState::PrecheckFailed, TaskState::Released, TaskState::Finished];
            ensure!(state == wanted || !ended.contains(&state), "task {task} is {state} instead of {wanted}");
            Ok((state == wanted).then_some(found))
        })
        .await;
        match waited {
            Ok(task) => Ok(task),
            Err(error) => bail!("{error:#}\n{}", self.describe(task).await),
        }
    }

    /// Waits until `condition` holds for the task.
    pub async fn wait_until(
        &self,
        task: &str,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&Task) -> bool,
    ) -> Result<Task> {
        let waited = eventually(what, deadline, async || {
            let found = self.get(task).await.ok();
            Ok(found.filter(&condition))
        })
        .await;
        match waited {
            Ok(task) => Ok(task),
            Err(error) => bail!("{error:#}\n{}", self.describe(task).await),
        }
    }

    /// State, failure, precheck, failed objects and events of a task, for people.
    pub async fn describe(&self, task: &str) -> String {
        let found = match self.get(task).await {
            Ok(found) => found,
            Err(status) => return format!("task {task} cannot be shown: {status}"),
        };
        let mut text = format!("task {task}: {} (returns to {})\n", found.state(), found.return_to());
        if let Some(failure) = &found.failure {
            text.push_str(&format!("failure: {}\nremedy: {}\n", failure.cause, failure.remedy));
        }
        for item in found.precheck.iter().filter(|item| item.outcome() != PrecheckOutcome::Passed) {
            text.push_str(&format!(
                "precheck {} {:?}: {} {} {}\n",
                item.name,
                item.outcome(),
                item.detail,
                item.cause,
                item.remedy
            ));
        }
        for object in found.objects.iter().filter(|object| !object.statement.is_empty()) {
            text.push_str(&format!(
                "object {}.{}: {}\n{}\n",
                object.schema, object.name, object.detail, object.statement
            ));
        }
        if let Some(progress) = &found.progress {
            text.push_str(&format!("progress: {progress:?}\n"));
        }
        for event in self.events(task).await.unwrap_or_default() {
            text.push_str(&format!("event: {event}\n"));
        }
        text
    }
}

fn answered(task: Option<Task>) -> Result<Task, Status> {
    task.ok_or_else(|| Status::internal("the coordinator answered without a task"))
}

/// The stream's progress of a task that runs.
pub fn stream_of(task: &Task) -> Result<&strait_proto::v1::StreamProgress> {
    task.progress
        .as_ref()
        .and_then(|progress| progress.stream.as_ref())
        .context("the change stream does not run yet")
}
