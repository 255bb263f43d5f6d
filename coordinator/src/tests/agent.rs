//! An agent that does nothing by itself.

use strait_proto::v1::agent_message::Message as ToCoordinator;
use strait_proto::v1::command_result::Result as Answer;
use strait_proto::v1::control_service_client::ControlServiceClient;
use strait_proto::v1::coordinator_message::Message;
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{
    Adjust, AgentMessage, Assign, Command, CommandResult, CoordinatorMessage, EndpointInfo, Failure, Hello,
    Interrupted, PhaseReached, PrecheckItem, PrecheckResult, ReleaseResult, Report, Revoke, RunningTask,
    SourceSummary, Stopped, TaskState, command,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::within;
use crate::task::Side;

pub(super) struct Agent {
    side: Side,
    outgoing: mpsc::Sender<AgentMessage>,
    incoming: Streaming<CoordinatorMessage>,
}

impl Agent {
    /// Opens a session, as an agent that works on the given task and epoch.
    pub(super) async fn connect(address: &str, side: Side, name: &str, running: Option<(&str, u64)>) -> Self {
        let endpoint = if side == Side::Source { "orders" } else { "warehouse" };
        let hello = Hello {
            agent: name.into(),
            role: side.role().into(),
            version: "test".into(),
            capabilities: vec![],
            endpoints: vec![EndpointInfo { name: endpoint.into(), ..EndpointInfo::default() }],
            data_address: if side == Side::Sink { "http://127.0.0.1:7401".into() } else { String::new() },
            running: running
                .map(|(task_id, epoch)| RunningTask { task_id: task_id.into(), epoch })
                .into_iter()
                .collect(),
        };
        let (outgoing, sending) = mpsc::channel(16);
        outgoing.send(AgentMessage { message: Some(ToCoordinator::Hello(hello)) }).await.unwrap();
        let mut client = ControlServiceClient::new(super::channel(address));
        let session = within(client.session(ReceiverStream::new(sending))).await.unwrap();
        let mut agent = Self { side, outgoing, incoming: session.into_inner() };
        assert!(matches!(agent.next().await, Message::Welcome(_)));
        agent
    }

    /// The next message but adjustments, which every session of a running task begins with.
    pub(super) async fn next(&mut self) -> Message {
        loop {
            match self.receive().await {
                Message::Adjust(_) => {}
                other => return other,
            }
        }
    }

    /// Waits for an adjustment.
    pub(super) async fn adjusted(&mut self) -> Adjust {
        match self.receive().await {
            Message::Adjust(adjust) => adjust,
            other => panic!("{}: not an adjustment: {other:?}", self.side),
        }
    }

    async fn receive(&mut self) -> Message {
        within(self.incoming.message()).await.unwrap().unwrap().message.unwrap()
    }

    /// Waits until the coordinator ends the session, and returns what it says.
    pub(super) async fn ended(&mut self) -> tonic::Status {
        loop {
            match within(self.incoming.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the session ended without a reason"),
                Err(status) => return status,
            }
        }
    }

    pub(super) async fn assigned(&mut self) -> Assign {
        match self.next().await {
            Message::Assign(assign) => assign,
            other => panic!("{}: not an assignment: {other:?}", self.side),
        }
    }

    /// Waits for a revocation without answering it.
    pub(super) async fn revocation(&mut self) -> Revoke {
        match self.next().await {
            Message::Revoke(revoke) => revoke,
            other => panic!("{}: not a revocation: {other:?}", self.side),
        }
    }

    /// Waits for a revocation and says that the task is stopped.
    pub(super) async fn revoked(&mut self) -> Revoke {
        let revoke = self.revocation().await;
        self.report(&revoke.task_id, revoke.epoch, Kind::Stopped(Stopped {})).await;
        revoke
    }

    pub(super) async fn command(&mut self) -> (String, command::Command) {
        match self.next().await {
            Message::Command(Command { request_id, command: Some(command) }) => (request_id, command),
            other => panic!("{}: not a command: {other:?}", self.side),
        }
    }

    pub(super) async fn answer(&mut self, request_id: String, answer: Answer) {
        let result = CommandResult { request_id, result: Some(answer) };
        self.outgoing.send(AgentMessage { message: Some(ToCoordinator::Result(result)) }).await.unwrap();
    }

    /// Waits for a precheck and answers with these items. Returns what the coordinator told of the source.
    pub(super) async fn answer_precheck(&mut self, items: Vec<PrecheckItem>) -> Option<SourceSummary> {
        let (request_id, command::Command::Precheck(precheck)) = self.command().await else {
            panic!("{}: not a precheck", self.side);
        };
        let summary = SourceSummary { encoding: "UTF8".into(), ..SourceSummary::default() };
        let source = (self.side == Side::Source).then_some(summary);
        self.answer(request_id, Answer::Precheck(PrecheckResult { items, source })).await;
        precheck.source
    }

    /// Waits for a release and answers with this action.
    pub(super) async fn answer_release(&mut self, action: &str) {
        let (request_id, command::Command::Release(_)) = self.command().await else {
            panic!("{}: not a release", self.side);
        };
        self.answer(request_id, Answer::Release(ReleaseResult { actions: vec![action.into()] })).await;
    }

    /// Waits for a release and answers that it cannot be done.
    pub(super) async fn refuse_release(&mut self, failure: Failure) {
        let (request_id, command::Command::Release(_)) = self.command().await else {
            panic!("{}: not a release", self.side);
        };
        self.answer(request_id, Answer::Failure(failure)).await;
    }

    pub(super) async fn report(&mut self, task_id: &str, epoch: u64, report: Kind) {
        let report = Report { task_id: task_id.into(), epoch, report: Some(report) };
        self.outgoing.send(AgentMessage { message: Some(ToCoordinator::Report(report)) }).await.unwrap();
    }

    pub(super) async fn phase(&mut self, task_id: &str, epoch: u64, phase: TaskState) {
        self.report(task_id, epoch, Kind::Phase(PhaseReached { phase: phase.into() })).await;
    }

    pub(super) async fn interrupted(&mut self, task_id: &str, epoch: u64, failure: Failure) {
        let interrupted = Interrupted { failure: Some(failure), attempt: 2, retry_in_ms: 1000 };
        self.report(task_id, epoch, Kind::Interrupted(interrupted)).await;
    }
}
