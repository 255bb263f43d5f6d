//! `TaskService`: what operators use.

use std::sync::Arc;

use strait_proto::v1::task_service_server::TaskService;
use strait_proto::v1::{
    CheckEndpointsRequest, CheckEndpointsResponse, ConfirmWarningsRequest, ConfirmWarningsResponse,
    CreateTaskRequest, CreateTaskResponse, GetTaskRequest, GetTaskResponse, ListAgentsRequest,
    ListAgentsResponse, ListAlertsRequest, ListAlertsResponse, ListEventsRequest, ListEventsResponse,
    ListTasksRequest, ListTasksResponse, PauseTaskRequest, PauseTaskResponse, PlanTaskRequest,
    PlanTaskResponse, PrecheckTaskRequest, PrecheckTaskResponse, ReleaseTaskRequest, ReleaseTaskResponse,
    RemoveOrphanRequest, RemoveOrphanResponse, ResumeTaskRequest, ResumeTaskResponse, RetryObjectsRequest,
    RetryObjectsResponse, StartTaskRequest, StartTaskResponse, TestAlertsRequest, TestAlertsResponse,
    UpdateTaskRequest, UpdateTaskResponse, WatchTaskRequest, WatchTaskResponse, WebhookTest,
};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::watch;
use crate::alerts::{self, AlertConfig};
use crate::error::RequestError;
use crate::registry::Registry;
use crate::supervise::{StartOptions, Supervisor};
use crate::task::Operation;
use crate::task::spec::alerts_of;

/// How many watches there may be at once.
const WATCHES_MAX: usize = 1000;

/// The service.
pub(crate) struct Tasks {
    supervisor: Arc<Supervisor>,
    registry: Arc<Registry>,
    watches: Arc<Semaphore>,
    alerts: AlertConfig,
}

impl Tasks {
    pub(crate) fn new(supervisor: Arc<Supervisor>, registry: Arc<Registry>, alerts: AlertConfig) -> Self {
        Self { supervisor, registry, watches: Arc::new(Semaphore::new(WATCHES_MAX)), alerts }
    }
}

#[tonic::async_trait]
impl TaskService for Tasks {
    type WatchTaskStream = ReceiverStream<Result<WatchTaskResponse, Status>>;

    async fn create_task(
        &self,
        request: Request<CreateTaskRequest>,
    ) -> Result<Response<CreateTaskResponse>, Status> {
        let task = Some(self.supervisor.create(request.into_inner()).await?);
        Ok(Response::new(CreateTaskResponse { task }))
    }

    async fn plan_task(
        &self,
        request: Request<PlanTaskRequest>,
    ) -> Result<Response<PlanTaskResponse>, Status> {
        let (task, plan) = self.supervisor.plan(request.into_inner().spec).await?;
        Ok(Response::new(PlanTaskResponse { task: Some(task), plan: Some(plan) }))
    }

    async fn list_tasks(
        &self,
        request: Request<ListTasksRequest>,
    ) -> Result<Response<ListTasksResponse>, Status> {
        Ok(Response::new(self.supervisor.list(&request.into_inner()).await?))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        let task = Some(self.supervisor.get(&request.into_inner().task).await?);
        Ok(Response::new(GetTaskResponse { task }))
    }

    async fn precheck_task(
        &self,
        request: Request<PrecheckTaskRequest>,
    ) -> Result<Response<PrecheckTaskResponse>, Status> {
        let request = request.into_inner();
        let task =
            Some(self.supervisor.operate(&request.task, Operation::Precheck, StartOptions::default()).await?);
        Ok(Response::new(PrecheckTaskResponse { task }))
    }

    async fn confirm_warnings(
        &self,
        request: Request<ConfirmWarningsRequest>,
    ) -> Result<Response<ConfirmWarningsResponse>, Status> {
        let ConfirmWarningsRequest { task, items } = request.into_inner();
        let task = Some(self.supervisor.confirm(&task, items).await?);
        Ok(Response::new(ConfirmWarningsResponse { task }))
    }

    async fn start_task(
        &self,
        request: Request<StartTaskRequest>,
    ) -> Result<Response<StartTaskResponse>, Status> {
        let request = request.into_inner();
        let options = StartOptions { once: request.once, confirmed: request.confirmed };
        let task = Some(self.supervisor.operate(&request.task, Operation::Start, options).await?);
        Ok(Response::new(StartTaskResponse { task }))
    }

    async fn pause_task(
        &self,
        request: Request<PauseTaskRequest>,
    ) -> Result<Response<PauseTaskResponse>, Status> {
        let request = request.into_inner();
        let task =
            Some(self.supervisor.operate(&request.task, Operation::Pause, StartOptions::default()).await?);
        Ok(Response::new(PauseTaskResponse { task }))
    }

    async fn resume_task(
        &self,
        request: Request<ResumeTaskRequest>,
    ) -> Result<Response<ResumeTaskResponse>, Status> {
        let request = request.into_inner();
        let task =
            Some(self.supervisor.operate(&request.task, Operation::Resume, StartOptions::default()).await?);
        Ok(Response::new(ResumeTaskResponse { task }))
    }

    async fn update_task(
        &self,
        request: Request<UpdateTaskRequest>,
    ) -> Result<Response<UpdateTaskResponse>, Status> {
        let UpdateTaskRequest { task, spec } = request.into_inner();
        let task = Some(self.supervisor.update(&task, spec).await?);
        Ok(Response::new(UpdateTaskResponse { task }))
    }

    async fn retry_objects(
        &self,
        request: Request<RetryObjectsRequest>,
    ) -> Result<Response<RetryObjectsResponse>, Status> {
        let (task, results) = self.supervisor.retry_objects(&request.into_inner().task).await?;
        Ok(Response::new(RetryObjectsResponse { task: Some(task), results }))
    }

    async fn watch_task(
        &self,
        request: Request<WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let too_many = RequestError::TooMany { what: "watches", limit: WATCHES_MAX };
        let permit = self.watches.clone().try_acquire_owned().map_err(|_| too_many)?;
        let watched = self.supervisor.watch(&request.into_inner().task).await?;
        Ok(Response::new(watch::stream(self.supervisor.clone(), watched, permit)))
    }

    async fn release_task(
        &self,
        request: Request<ReleaseTaskRequest>,
    ) -> Result<Response<ReleaseTaskResponse>, Status> {
        let request = request.into_inner();
        let task =
            Some(self.supervisor.operate(&request.task, Operation::Release, StartOptions::default()).await?);
        Ok(Response::new(ReleaseTaskResponse { task }))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let ListEventsRequest { task, after_event_id, limit } = request.into_inner();
        let events = self.supervisor.events(&task, after_event_id, limit).await?;
        Ok(Response::new(ListEventsResponse { events }))
    }

    async fn list_agents(
        &self,
        _request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Ok(Response::new(ListAgentsResponse { agents: self.registry.list() }))
    }

    async fn check_endpoints(
        &self,
        request: Request<CheckEndpointsRequest>,
    ) -> Result<Response<CheckEndpointsResponse>, Status> {
        let CheckEndpointsRequest { agent, endpoint } = request.into_inner();
        let endpoints = self.supervisor.check_endpoints(&agent, &endpoint).await;
        Ok(Response::new(CheckEndpointsResponse { endpoints }))
    }

    async fn remove_orphan(
        &self,
        request: Request<RemoveOrphanRequest>,
    ) -> Result<Response<RemoveOrphanResponse>, Status> {
        let actions = self.supervisor.remove_orphan(&request.into_inner()).await?;
        Ok(Response::new(RemoveOrphanResponse { actions }))
    }

    async fn list_alerts(
        &self,
        request: Request<ListAlertsRequest>,
    ) -> Result<Response<ListAlertsResponse>, Status> {
        let alerts = self.supervisor.alerts(&request.into_inner().task).await?;
        Ok(Response::new(ListAlertsResponse { alerts }))
    }

    async fn test_alerts(
        &self,
        request: Request<TestAlertsRequest>,
    ) -> Result<Response<TestAlertsResponse>, Status> {
        let TestAlertsRequest { task } = request.into_inner();
        let own = match task.as_str() {
            "" => String::new(),
            task => {
                self.supervisor.get(task).await?.spec.map(|spec| alerts_of(&spec).webhook).unwrap_or_default()
            }
        };
        let results = alerts::test(&self.alerts, &own).await;
        let tested = |(url, sent): (String, Result<(), String>)| WebhookTest {
            url,
            error: sent.err().unwrap_or_default(),
        };
        Ok(Response::new(TestAlertsResponse { webhooks: results.into_iter().map(tested).collect() }))
    }
}
