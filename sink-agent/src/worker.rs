//! What the coordinator may ask of a sink-agent. An assignment here is the right to be called by its
//! source-agent: the source-agent drives, this agent answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_postgres::{ConnectionUri, EndpointConfig};
use strait_proto::TaskId;
use strait_proto::v1::{self, command, command_result, report};
use strait_runtime::agent::{Reports, Worker};
use strait_runtime::serve::Dialler;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::{Context as _, Error};
use crate::inspect::inspect;
use crate::plan::plan;
use crate::precheck::precheck;
use crate::registry::{Assignment, Registry};
use crate::release::release;
use crate::retry_objects::retry_objects;

/// The sink-agent's half of the control session.
pub(crate) struct SinkWorker {
    pub(crate) agent: String,
    pub(crate) data_address: String,
    pub(crate) endpoints: BTreeMap<String, EndpointConfig>,
    pub(crate) build_connections: usize,
    pub(crate) registry: Arc<Registry>,
    /// Dials source-agents that cannot dial this agent.
    pub(crate) dialler: Dialler,
}

impl SinkWorker {
    fn uri(&self, spec: Option<&v1::TaskSpec>) -> Result<ConnectionUri, Error> {
        let destination = spec
            .and_then(|spec| spec.destination.as_ref())
            .ok_or_else(|| Error::protocol("the task names no destination"))?;
        let endpoint = self.endpoints.get(&destination.endpoint).ok_or_else(|| {
            let known: Vec<&str> = self.endpoints.keys().map(String::as_str).collect();
            Error::refused(
                format!("sink-agent {} has no endpoint {:?}", self.agent, destination.endpoint),
                format!("Add it to the agent's configuration, or use one that it has: {}.", known.join(", ")),
            )
        })?;
        endpoint.resolve(&destination.database).context(format!("read endpoint {:?}", destination.endpoint))
    }

    fn assignment(&self, assign: &v1::Assign, stop: &CancellationToken) -> Result<Assignment, Error> {
        let task_id = parse(&assign.task_id)?;
        let uri = self.uri(assign.spec.as_ref())?;
        Ok(Assignment::new(task_id, assign, uri, self.build_connections, stop.clone()))
    }

    /// Keeps a connection waiting at the source-agent meanwhile, where that listens.
    async fn until_stopped(&self, assign: &v1::Assign, stop: &CancellationToken) {
        let source = assign.spec.as_ref().and_then(|spec| spec.source.as_ref());
        let (address, agent) = (&assign.data_address, source.map_or("", |source| &source.agent));
        if !address.is_empty() {
            tokio::select! {
                Err(error) = self.dialler.keep(address, agent) => {
                    tracing::warn!(%error, "the source-agent's data address cannot be used");
                }
                () = stop.cancelled() => {}
            }
        }
        stop.cancelled().await;
    }

    async fn release(&self, command: &v1::ReleaseCommand) -> Result<Vec<String>, Error> {
        let task_id = parse(&command.task_id)?;
        release(&self.uri(command.spec.as_ref())?, &task_id).await
    }

    async fn retry_objects(&self, command: &v1::RetryObjectsCommand) -> Result<Vec<v1::ObjectResult>, Error> {
        let task_id = parse(&command.task_id)?;
        retry_objects(&self.uri(command.spec.as_ref())?, &task_id).await
    }

    async fn plan(&self, command: v1::PlanCommand) -> Result<v1::PlanResult, Error> {
        let task_id = parse(&command.task_id)?;
        let uri = self.uri(command.spec.as_ref())?;
        plan(&uri, &task_id, command.spec.as_ref(), command.model.unwrap_or_default()).await
    }

    async fn precheck(&self, command: &v1::PrecheckCommand) -> Result<Vec<v1::PrecheckItem>, Error> {
        let task_id = parse(&command.task_id)?;
        let source = command.source.clone().unwrap_or_default();
        Ok(match self.uri(command.spec.as_ref()) {
            Ok(uri) => precheck(&uri, &task_id, &source, command.spec.as_ref()).await,
            Err(error) => vec![crate::precheck::unreachable(&error)],
        })
    }
}

fn parse(task_id: &str) -> Result<TaskId, Error> {
    task_id.parse().map_err(|error: strait_proto::ParseTaskIdError| Error::protocol(error.to_string()))
}

impl Worker for SinkWorker {
    fn hello(&self) -> v1::Hello {
        let endpoint = |(name, endpoint): (&String, &EndpointConfig)| {
            // What is wrong with an endpoint is said by the task that uses it.
            let uri = endpoint.uri.parse::<ConnectionUri>().ok();
            v1::EndpointInfo {
                name: name.clone(),
                address: uri.as_ref().map(ConnectionUri::address).unwrap_or_default(),
                database: uri.as_ref().map(|uri| uri.database().to_owned()).unwrap_or_default(),
            }
        };
        v1::Hello {
            agent: self.agent.clone(),
            role: v1::AgentRole::Sink.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Vec::new(),
            endpoints: self.endpoints.iter().map(endpoint).collect(),
            data_address: self.data_address.clone(),
            running: Vec::new(),
        }
    }

    async fn run(
        &self,
        assign: v1::Assign,
        reports: Reports,
        _throttle: watch::Receiver<v1::Throttle>,
        stop: CancellationToken,
    ) {
        let assignment = match self.assignment(&assign, &stop) {
            Ok(assignment) => Arc::new(assignment),
            Err(error) => return reports.send(report::Report::Failed(error.failure())).await,
        };
        tracing::info!(task = %assignment.task_id, epoch = %assignment.epoch, "assigned");
        self.registry.insert(Arc::clone(&assignment));
        self.until_stopped(&assign, &stop).await;
        self.registry.remove(&assignment);
        assignment.end().await;
        tracing::info!(task = %assignment.task_id, epoch = %assignment.epoch, "no longer assigned");
    }

    async fn command(&self, command: command::Command) -> command_result::Result {
        match command {
            command::Command::Precheck(command) => match self.precheck(&command).await {
                Ok(items) => command_result::Result::Precheck(v1::PrecheckResult { items, source: None }),
                Err(error) => command_result::Result::Failure(error.failure()),
            },
            command::Command::RetryObjects(command) => match self.retry_objects(&command).await {
                Ok(results) => command_result::Result::RetryObjects(v1::ObjectResults { results }),
                Err(error) => command_result::Result::Failure(error.failure()),
            },
            command::Command::Plan(command) => match self.plan(command).await {
                Ok(result) => command_result::Result::Plan(result),
                Err(error) => command_result::Result::Failure(error.failure()),
            },
            command::Command::Inspect(v1::InspectCommand { endpoint, database }) => {
                let destination = v1::EndpointReference { endpoint, database, ..Default::default() };
                let spec = v1::TaskSpec { destination: Some(destination), ..Default::default() };
                let found = async { inspect(&self.uri(Some(&spec))?).await };
                let failed = |error: Error| command_result::Result::Failure(error.failure());
                found.await.map_or_else(failed, command_result::Result::Inspect)
            }
            command::Command::Release(command) => match self.release(&command).await {
                Ok(actions) => command_result::Result::Release(v1::ReleaseResult { actions }),
                Err(error) => command_result::Result::Failure(error.failure()),
            },
        }
    }
}
