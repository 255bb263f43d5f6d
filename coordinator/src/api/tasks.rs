//! `TaskService`: what operators use.

use std::sync::Arc;

use strait_proto::v1::task_service_server::TaskService;
use strait_proto::v1::{
    CreateTaskRequest, CreateTaskResponse, GetTaskRequest, GetTaskResponse, ListAgentsRequest,
    ListAgentsResponse, ListEventsRequest, ListEventsResponse, ListTasksRequest, ListTasksResponse,
    PauseTaskRequest, PauseTaskResponse, PrecheckTaskRequest, PrecheckTaskResponse, ReleaseTaskRequest,
    ReleaseTaskResponse, ResumeTaskRequest, ResumeTaskResponse, RetryObjectsRequest, RetryObjectsResponse,
    StartTaskRequest, StartTaskResponse, UpdateTaskRequest, UpdateTaskResponse, WatchTaskRequest,
    WatchTaskResponse,
};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::watch;
use crate::error::RequestError;
use crate::registry::Registry;
use crate::supervise::Supervisor;
use crate::task::Operation;

/// How many watches there may be at once.
const WATCHES_MAX: usize = 1000;

/// The service.
pub(crate) struct Tasks {
    supervisor: Arc<Supervisor>,
    registry: Arc<Registry>,
    watches: Arc<Semaphore>,
}

impl Tasks {
    pub(crate) fn new(supervisor: Arc<Supervisor>, registry: Arc<Registry>) -> Self {
        Self { supervisor, registry, watches: Arc::new(Semaphore::new(WATCHES_MAX)) }
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

    async fn list_tasks(
        &self,
        request: Request<ListTasksRequest>,
    ) -> Result<Response<ListTasksResponse>, Status> {
        let tasks = self.supervisor.list(request.into_inner().include_released).await?;
        Ok(Response::new(ListTasksResponse { tasks }))
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
        let task = Some(self.supervisor.operate(&request.task, Operation::Precheck, false).await?);
        Ok(Response::new(PrecheckTaskResponse { task }))
    }

    async fn start_task(
        &self,
        request: Request<StartTaskRequest>,
    ) -> Result<Response<StartTaskResponse>, Status> {
        let request = request.into_inner();
        let task = Some(self.supervisor.operate(&request.task, Operation::Start, request.once).await?);
        Ok(Response::new(StartTaskResponse { task }))
    }

    async fn pause_task(
        &self,
        request: Request<PauseTaskRequest>,
    ) -> Result<Response<PauseTaskResponse>, Status> {
        let request = request.into_inner();
        let task = Some(self.supervisor.operate(&request.task, Operation::Pause, false).await?);
        Ok(Response::new(PauseTaskResponse { task }))
    }

    async fn resume_task(
        &self,
        request: Request<ResumeTaskRequest>,
    ) -> Result<Response<ResumeTaskResponse>, Status> {
        let request = request.into_inner();
        let task = Some(self.supervisor.operate(&request.task, Operation::Resume, false).await?);
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
        let task = Some(self.supervisor.operate(&request.task, Operation::Release, false).await?);
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
}
