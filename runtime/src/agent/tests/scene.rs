//! An agent with a worker in the test's hands, and the coordinator's end of its sessions.

use std::net::SocketAddr;

use strait_proto::v1::agent_message::Message as FromAgent;
use strait_proto::v1::control_service_server::{ControlService, ControlServiceServer};
use strait_proto::v1::coordinator_message::Message as FromCoordinator;
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{
    AgentMessage, Assign, Command, CommandResult, CoordinatorMessage, Hello, ReleaseCommand, ReleaseResult,
    Report, Revoke, Welcome, command, command_result,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::*;
use crate::serve::{Access, Serve};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// The coordinator's end of one session, after Hello.
pub(super) struct Session {
    pub(super) hello: Hello,
    pub(super) to_agent: mpsc::Sender<Result<CoordinatorMessage, Status>>,
    pub(super) from_agent: Streaming<AgentMessage>,
}

pub(super) struct Coordinator {
    pub(super) sessions: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl ControlService for Coordinator {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut from_agent = request.into_inner();
        let Some(AgentMessage { message: Some(FromAgent::Hello(hello)) }) = from_agent.message().await?
        else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (to_agent, messages) = mpsc::channel(16);
        let session = Session { hello, to_agent, from_agent };
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Session {
    pub(super) async fn send(&self, message: FromCoordinator) {
        self.to_agent.send(Ok(CoordinatorMessage { message: Some(message) })).await.unwrap();
    }

    pub(super) async fn assign(&self, epoch: u64) {
        self.send(FromCoordinator::Assign(Assign { task_id: "t".into(), epoch, ..Assign::default() })).await;
    }

    pub(super) async fn revoke(&self, epoch: u64) {
        self.send(FromCoordinator::Revoke(Revoke { task_id: "t".into(), epoch })).await;
    }

    pub(super) async fn release(&self, request_id: &str) {
        let command = Some(command::Command::Release(ReleaseCommand::default()));
        self.send(FromCoordinator::Command(Command { request_id: request_id.into(), command })).await;
    }

    pub(super) async fn next(&mut self) -> FromAgent {
        let message = within("a message of the agent", self.from_agent.message()).await;
        message.unwrap().unwrap().message.unwrap()
    }

    pub(super) async fn report(&mut self) -> (u64, Kind) {
        match self.next().await {
            FromAgent::Report(Report { epoch, report: Some(report), .. }) => (epoch, report),
            other => panic!("not a report: {other:?}"),
        }
    }

    pub(super) async fn result(&mut self) -> CommandResult {
        match self.next().await {
            FromAgent::Result(result) => result,
            other => panic!("not a result: {other:?}"),
        }
    }

    pub(super) fn running(&self) -> Vec<u64> {
        self.hello.running.iter().map(|task| task.epoch).collect()
    }
}

/// A run in the test's hands: it goes on until the test ends it.
pub(super) struct Run {
    pub(super) epoch: u64,
    pub(super) reports: Reports,
    pub(super) stop: CancellationToken,
    pub(super) end: oneshot::Sender<Ending>,
}

pub(super) enum Ending {
    Return,
    Panic,
}

impl Run {
    pub(super) async fn stopped(&self) {
        within("the run's stop", self.stop.cancelled()).await;
    }

    pub(super) fn end(self) {
        self.end.send(Ending::Return).unwrap_or_else(|_| panic!("the run is gone"));
    }
}

pub(super) struct Script {
    pub(super) runs: mpsc::Sender<Run>,
    pub(super) commands: mpsc::Sender<oneshot::Sender<String>>,
}

impl Worker for Script {
    fn hello(&self) -> Hello {
        Hello { agent: "eu-1".into(), ..Hello::default() }
    }

    async fn run(
        &self,
        assign: Assign,
        reports: Reports,
        _throttle: watch::Receiver<v1::Throttle>,
        stop: CancellationToken,
    ) {
        let (end, ended) = oneshot::channel();
        self.runs.send(Run { epoch: assign.epoch, reports, stop, end }).await.unwrap();
        if let Ok(Ending::Panic) = ended.await {
            panic!("a defect");
        }
    }

    async fn command(&self, _command: command::Command) -> command_result::Result {
        let (answer, answered) = oneshot::channel();
        self.commands.send(answer).await.unwrap();
        let actions = vec![answered.await.unwrap()];
        command_result::Result::Release(ReleaseResult { actions })
    }
}

/// An agent and its coordinator.
pub(super) struct Scene {
    pub(super) address: SocketAddr,
    pub(super) coordinator: Shutdown,
    pub(super) serving: JoinHandle<()>,
    pub(super) sessions: mpsc::Receiver<Session>,
    pub(super) sessions_sender: mpsc::Sender<Session>,
    pub(super) runs: mpsc::Receiver<Run>,
    pub(super) commands: mpsc::Receiver<oneshot::Sender<String>>,
    pub(super) agent: JoinHandle<Result<(), AgentError>>,
    pub(super) shutdown: Shutdown,
}

pub(super) fn serve(
    listener: TcpListener,
    sessions: mpsc::Sender<Session>,
    shutdown: &Shutdown,
) -> JoinHandle<()> {
    let service = ControlServiceServer::new(Coordinator { sessions });
    let shutdown = shutdown.clone();
    let serve = Serve::new(Security::PlainText)
        .add_service(service, Access::operators())
        .drain_deadline(Duration::from_millis(50));
    tokio::spawn(async move { serve.run(listener, shutdown).await.unwrap() })
}

impl Scene {
    pub(super) async fn start() -> Self {
        Self::with_stop_deadline(STOP_DEADLINE).await
    }

    pub(super) async fn with_stop_deadline(stop_deadline: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sessions_sender, sessions) = mpsc::channel(4);
        let (run_sender, runs) = mpsc::channel(4);
        let (command_sender, commands) = mpsc::channel(32);
        let (coordinator, shutdown) = (Shutdown::new(), Shutdown::new());
        let serving = serve(listener, sessions_sender.clone(), &coordinator);
        let worker = Arc::new(Script { runs: run_sender, commands: command_sender });
        let stop = shutdown.clone();
        let agent = tokio::spawn(async move {
            run_until(format!("http://{address}"), &Security::PlainText, worker, stop, stop_deadline).await
        });
        Self { address, coordinator, serving, sessions, sessions_sender, runs, commands, agent, shutdown }
    }

    /// The next session, welcomed.
    pub(super) async fn session(&mut self) -> Session {
        let session = within("a session", self.sessions.recv()).await.unwrap();
        session.send(FromCoordinator::Welcome(Welcome::default())).await;
        session
    }

    pub(super) async fn run(&mut self) -> Run {
        within("a run", self.runs.recv()).await.unwrap()
    }

    /// A session with a run of the epoch.
    pub(super) async fn running(epoch: u64) -> (Self, Session, Run) {
        Self::start().await.with_run(epoch).await
    }

    pub(super) async fn with_run(mut self, epoch: u64) -> (Self, Session, Run) {
        let session = self.session().await;
        session.assign(epoch).await;
        let run = self.run().await;
        (self, session, run)
    }

    pub(super) async fn stop_coordinator(&mut self) {
        self.coordinator.trigger();
        within("the coordinator's end", &mut self.serving).await.unwrap();
    }

    pub(super) async fn restart_coordinator(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.coordinator = Shutdown::new();
        self.serving = serve(listener, self.sessions_sender.clone(), &self.coordinator);
    }
}
