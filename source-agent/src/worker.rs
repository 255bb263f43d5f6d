//! The agent as the coordinator knows it: what it offers, the assignments it runs, the commands it answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use strait_postgres::{ConnectionUri, catalog};
use strait_proto::TaskId;
use strait_proto::v1::{self, command::Command, command_result::Result as Answer};
use strait_runtime::agent::{Reports, Worker};
use strait_runtime::serve::Waiting;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::Config;
use crate::capture::SnapshotLease;
use crate::error::{During, RunError};
use crate::inspect::inspect;
use crate::link::Link;
use crate::mapping::Mapping;
use crate::pipeline::Run;
use crate::reporter::Reporter;
use crate::source::Source;
use crate::{precheck, release};

/// The source-agent's half of the control session.
pub(crate) struct SourceWorker {
    config: Config,
    /// Connections that sink-agents have dialled.
    waiting: Waiting,
    /// Snapshots of unfinished copies between two runs of their tasks.
    leases: Mutex<HashMap<TaskId, SnapshotLease>>,
    /// What holds the advisory locks of recent prechecks.
    probes: Mutex<HashMap<TaskId, AbortOnDropHandle<()>>>,
}

impl SourceWorker {
    pub(crate) fn new(config: Config, waiting: Waiting) -> Self {
        Self { config, waiting, leases: Mutex::default(), probes: Mutex::default() }
    }

    /// Where sink-agents are to be listened for.
    pub(crate) fn listens_on(&self) -> Option<SocketAddr> {
        self.config.listen
    }

    /// They reach this agent here, unless the configuration knows better.
    pub(crate) fn reached_at(&mut self, address: String) {
        self.config.data_address.get_or_insert(address);
    }

    fn source(&self, task_id: &str, spec: Option<&v1::TaskSpec>) -> Result<Source, RunError> {
        let task_id: TaskId = task_id.parse().map_err(|error| RunError::definite(format!("{error}"), ""))?;
        let reference = spec.and_then(|spec| spec.source.as_ref());
        let reference = reference.ok_or_else(|| RunError::definite("the task names no source", ""))?;
        Ok(Source::new(task_id, self.uri(reference)?, spec))
    }

    fn uri(&self, reference: &v1::EndpointReference) -> Result<ConnectionUri, RunError> {
        let Some(endpoint) = self.config.endpoints.get(&reference.endpoint) else {
            let known: Vec<&str> = self.config.endpoints.keys().map(String::as_str).collect();
            return Err(RunError::definite(
                format!("source-agent {} has no endpoint {:?}", self.config.agent, reference.endpoint),
                format!("Add it to the agent's configuration, or use one of: {}", known.join(", ")),
            ));
        };
        endpoint.resolve(&reference.database).during(format!("read the endpoint {:?}", reference.endpoint))
    }

    async fn precheck(&self, command: v1::PrecheckCommand) -> Result<v1::PrecheckResult, RunError> {
        let source = self.source(&command.task_id, command.spec.as_ref())?;
        let (result, probe) =
            precheck::run(&source, command.spec.as_ref(), &selection(command.spec.as_ref())).await?;
        if let Some(probe) = probe {
            lock(&self.probes).insert(source.task_id, AbortOnDropHandle::new(tokio::spawn(probe)));
        }
        Ok(result)
    }

    /// Reads what the task would synchronise.
    async fn plan(&self, command: v1::PlanCommand) -> Result<v1::PlanResult, RunError> {
        const DOING: &str = "read the catalog of the source";
        let source = self.source(&command.task_id, command.spec.as_ref())?;
        let client = source.connect().await.during("connect to the source")?;
        client.server().await.and_then(|server| server.require_version()).during(DOING)?;
        let selection = selection(command.spec.as_ref());
        let model = catalog::load(&client, &selection).await.during(DOING)?;
        let mapping = Mapping::new(command.spec.as_ref());
        mapping.learn(&model);
        let mapped = mapping.read_and_apply(&client, &model, &[]).await.during(DOING)?;
        Ok(v1::PlanResult { model: Some(mapped.model), ..Default::default() })
    }

    async fn release(&self, command: v1::ReleaseCommand) -> Result<v1::ReleaseResult, RunError> {
        let source = self.source(&command.task_id, command.spec.as_ref())?;
        drop(lock(&self.leases).remove(&source.task_id));
        // First those of tables that were about to join: the task restores the identities that they needed.
        let joining = Source::new(source.task_id.joining(), source.uri().clone(), command.spec.as_ref());
        let mut actions = release::run(&joining).await?;
        actions.extend(release::run(&source).await?);
        Ok(v1::ReleaseResult { actions })
    }

    async fn run_task(
        &self,
        source: Source,
        assign: v1::Assign,
        reporter: Reporter,
        throttle: watch::Receiver<v1::Throttle>,
        stop: CancellationToken,
    ) {
        let task_id = source.task_id.clone();
        let mut lease = lock(&self.leases).remove(&task_id);
        let tracker = TaskTracker::new();
        let run = Run {
            source,
            selection: selection(assign.spec.as_ref()),
            mapping: Mapping::new(assign.spec.as_ref()),
            assign,
            reporter,
            tracker: tracker.clone(),
            link: Link {
                security: self.config.security.clone(),
                compression: self.config.compression,
                waiting: self.config.listen.map(|_| self.waiting.clone()),
            },
            copy_connections: self.config.copy_connections.max(1),
            heartbeat: self.config.heartbeat,
            throttle,
            newcomers: None,
            joining: tokio::sync::Mutex::default(),
        };
        tokio::select! {
            () = run.run(&mut lease) => {}
            () = stop.cancelled() => tracing::info!("stopped"),
        }
        tracker.close();
        tracker.wait().await;
        if let Some(lease) = lease {
            lock(&self.leases).insert(task_id, lease);
        }
    }
}

impl Worker for SourceWorker {
    fn hello(&self) -> v1::Hello {
        let endpoint = |name: &String| {
            let reference = v1::EndpointReference { endpoint: name.clone(), ..Default::default() };
            let uri = self.uri(&reference).inspect_err(|error| {
                tracing::error!(endpoint = name, error = error.failure().cause, "endpoint cannot be used");
            });
            let (address, database) =
                uri.map_or_else(|_| Default::default(), |uri| (uri.address(), uri.database().to_owned()));
            v1::EndpointInfo { name: name.clone(), address, database }
        };
        v1::Hello {
            agent: self.config.agent.clone(),
            role: v1::AgentRole::Source.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            endpoints: self.config.endpoints.keys().map(endpoint).collect(),
            data_address: self.config.data_address.clone().unwrap_or_default(),
            ..Default::default()
        }
    }

    async fn run(
        &self,
        assign: v1::Assign,
        reports: Reports,
        throttle: watch::Receiver<v1::Throttle>,
        stop: CancellationToken,
    ) {
        let reporter = Reporter::new(reports, &assign.task_id);
        match self.source(&assign.task_id, assign.spec.as_ref()) {
            Ok(source) => self.run_task(source, assign, reporter, throttle, stop).await,
            Err(error) => reporter.failed(error.failure()).await,
        }
    }

    async fn command(&self, command: Command) -> Answer {
        match command {
            Command::Precheck(command) => match self.precheck(command).await {
                Ok(result) => Answer::Precheck(result),
                Err(error) => Answer::Failure(error.failure()),
            },
            Command::RetryObjects(_) => {
                Answer::Failure(RunError::definite("objects are created by the sink-agent", "").failure())
            }
            Command::Plan(command) => match self.plan(command).await {
                Ok(result) => Answer::Plan(result),
                Err(error) => Answer::Failure(error.failure()),
            },
            Command::Inspect(v1::InspectCommand { endpoint, database }) => {
                let reference = v1::EndpointReference { endpoint, database, ..Default::default() };
                let found = async { inspect(&self.uri(&reference)?).await };
                found.await.map_or_else(|error| Answer::Failure(error.failure()), Answer::Inspect)
            }
            Command::Release(command) => match self.release(command).await {
                Ok(result) => Answer::Release(result),
                Err(error) => Answer::Failure(error.failure()),
            },
        }
    }
}

fn selection(spec: Option<&v1::TaskSpec>) -> v1::ObjectSelection {
    let objects = spec.and_then(|spec| spec.objects.clone()).unwrap_or_default();
    let object_kinds = spec.map(|spec| spec.object_kinds.clone()).unwrap_or_default();
    let partitions = spec.map(|spec| spec.partitions).unwrap_or_default();
    v1::ObjectSelection { object_kinds, partitions, ..objects }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
