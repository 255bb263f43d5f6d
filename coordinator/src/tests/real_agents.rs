//! The agents' half that the real agents use, against this half.

use std::sync::Arc;

use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{
    Assign, Hello, InspectResult, ObjectResults, PhaseReached, PlanResult, PrecheckResult, ReleaseResult,
    SourceSummary, command, command_result,
};
use strait_runtime::agent::{Reports, Worker, run_agent};
use tokio_util::sync::CancellationToken;

use super::*;

/// Does what it is told, at once.
struct Willing(Side);

impl Worker for Willing {
    fn hello(&self) -> Hello {
        let (agent, endpoint) =
            if self.0 == Side::Source { ("eu-1", "orders") } else { ("us-1", "warehouse") };
        Hello {
            agent: agent.into(),
            role: self.0.role().into(),
            endpoints: vec![strait_proto::v1::EndpointInfo { name: endpoint.into(), ..Default::default() }],
            data_address: "http://127.0.0.1:7401".into(),
            ..Hello::default()
        }
    }

    async fn run(
        &self,
        _assign: Assign,
        reports: Reports,
        _throttle: tokio::sync::watch::Receiver<strait_proto::v1::Throttle>,
        stop: CancellationToken,
    ) {
        if self.0 == Side::Source {
            reports.send(Kind::Phase(PhaseReached { phase: TaskState::FullSync.into() })).await;
        }
        stop.cancelled().await;
    }

    async fn command(&self, command: command::Command) -> command_result::Result {
        match command {
            command::Command::Precheck(_) => {
                let source = (self.0 == Side::Source).then(SourceSummary::default);
                command_result::Result::Precheck(PrecheckResult { items: vec![], source })
            }
            command::Command::Release(_) => command_result::Result::Release(ReleaseResult::default()),
            command::Command::RetryObjects(_) => {
                command_result::Result::RetryObjects(ObjectResults::default())
            }
            command::Command::Plan(_) => command_result::Result::Plan(PlanResult::default()),
            command::Command::Inspect(_) => command_result::Result::Inspect(InspectResult::default()),
        }
    }
}

fn spawn(coordinator: &Coordinator, side: Side, shutdown: &Shutdown) -> JoinHandle<()> {
    let (address, shutdown) = (coordinator.address.clone(), shutdown.clone());
    tokio::spawn(async move {
        run_agent(address, &Security::PlainText, Arc::new(Willing(side)), shutdown).await.unwrap()
    })
}

#[tokio::test]
async fn a_task_lives_through_restarts_of_either_half() {
    let coordinator = Coordinator::start().await;
    let shutdown = Shutdown::new();
    let sink = spawn(&coordinator, Side::Sink, &shutdown);
    let source_shutdown = Shutdown::new();
    let source = spawn(&coordinator, Side::Source, &source_shutdown);
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    coordinator.start_task(&task_id, false).await.unwrap();
    assert_eq!(coordinator.until_state(&task_id, TaskState::FullSync).await.epoch, 1);

    // The coordinator restarts where it was: nobody is assigned anything.
    let coordinator = coordinator.restart_at_its_address().await;
    let agents = strait_proto::v1::ListAgentsRequest {};
    let both_are_back = async {
        while coordinator.tasks.clone().list_agents(agents).await.unwrap().into_inner().agents.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within(both_are_back).await;
    assert_eq!(coordinator.until_state(&task_id, TaskState::FullSync).await.epoch, 1);

    // The source-agent restarts: it gets the task again.
    source_shutdown.trigger();
    within(source).await.unwrap();
    let source = spawn(&coordinator, Side::Source, &shutdown);
    coordinator.until(&task_id, |task| task.epoch == 2 && task.state() == TaskState::FullSync).await;

    assert_eq!(coordinator.pause(&task_id).await.unwrap().state(), TaskState::Paused);
    assert_eq!(coordinator.resume(&task_id).await.unwrap().epoch, 3);
    coordinator.until_state(&task_id, TaskState::FullSync).await;
    coordinator.release(&task_id).await.unwrap();
    coordinator.until_state(&task_id, TaskState::Released).await;
    shutdown.trigger();
    within(async { tokio::join!(source, sink) }).await.0.unwrap();
}
