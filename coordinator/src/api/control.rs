//! `ControlService`: the coordinator's half of the agents' sessions.
//!
//! ```text
//!   agent ─► reader ─► reports: supervisor, answers: session
//!   agent ◄─ writer ◄─ outbox ◄─ whoever has something to say
//! ```
//!
//! Reader and writer are apart, so that an agent whose reports wait for a busy task still gets its messages.
//! Either one's end is the session's.

use std::sync::Arc;
use std::time::Duration;

use strait_proto::Epoch;
use strait_proto::v1::agent_message::Message as FromAgent;
use strait_proto::v1::control_service_server::ControlService;
use strait_proto::v1::coordinator_message::Message as ToAgent;
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{AgentMessage, CoordinatorMessage, Hello, Welcome};
use strait_runtime::security::{Peer, Role};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::registry::{AgentKey, Registry, Session, SessionEnd, TooManySessions};
use crate::supervise::Supervisor;
use crate::task::Side;

/// How long an agent may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How many messages lie between the outbox and the transport.
const SENDING_MAX: usize = 16;
/// The longest name of an agent, in bytes; the same as in a task.
const NAME_BYTES_MAX: usize = 128;

/// The service.
pub(crate) struct Control {
    supervisor: Arc<Supervisor>,
    registry: Arc<Registry>,
    stop: CancellationToken,
}

/// A session that never began.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    /// The connection broke.
    #[error("read the agent's first message")]
    Transport(#[source] Status),
    /// Nothing came.
    #[error("the agent did not say who it is within {} s", HELLO_TIMEOUT.as_secs())]
    Late,
    /// Something else came first.
    #[error("the first message of a session must be a Hello")]
    Missing,
    /// It cannot be worked with.
    #[error("hello.{field}: {message}")]
    Invalid { field: &'static str, message: &'static str },
    /// The certificate is another agent's.
    #[error("the certificate is of {} {}, and the agent says that it is {} {}", found.role, found.name, key.side, key.name)]
    Somebody { found: Peer, key: AgentKey },
    /// No room.
    #[error(transparent)]
    Full(#[from] TooManySessions),
}

impl Control {
    pub(crate) const fn new(
        supervisor: Arc<Supervisor>,
        registry: Arc<Registry>,
        stop: CancellationToken,
    ) -> Self {
        Self { supervisor, registry, stop }
    }
}

#[tonic::async_trait]
impl ControlService for Control {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let mut incoming = request.into_inner();
        let hello = receive_hello(&mut incoming).await?;
        let key = check(&hello)?;
        check_peer(&key, peer)?;
        let (sending, stream) = mpsc::channel(SENDING_MAX);
        let welcome = Welcome { version: env!("CARGO_PKG_VERSION").to_owned() };
        // The channel is empty and its other end is right here.
        let _ = sending.try_send(Ok(CoordinatorMessage { message: Some(ToAgent::Welcome(welcome)) }));

        self.supervisor.note_strangers(&key, &hello);
        tracing::info!(agent = key.name, role = %key.side, version = hello.version, "agent connected");
        let (session, outbox) = self.registry.connect(key, hello).map_err(HelloError::Full)?;
        tokio::spawn(write(session.clone(), outbox, sending));
        let (supervisor, registry, stop) =
            (self.supervisor.clone(), self.registry.clone(), self.stop.clone());
        tokio::spawn(async move {
            let end = tokio::select! {
                end = read(&supervisor, &session, incoming) => end,
                end = session.ended() => end,
                () = stop.cancelled() => SessionEnd::ShuttingDown,
            };
            session.end(end);
            registry.disconnect(&session);
            let key = session.key();
            tracing::info!(agent = key.name, role = %key.side, reason = %end, "agent disconnected");
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn receive_hello(incoming: &mut Streaming<AgentMessage>) -> Result<Hello, HelloError> {
    let first =
        tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await.map_err(|_| HelloError::Late)?;
    match first.map_err(HelloError::Transport)? {
        Some(AgentMessage { message: Some(FromAgent::Hello(hello)) }) => Ok(hello),
        _ => Err(HelloError::Missing),
    }
}

fn check(hello: &Hello) -> Result<AgentKey, HelloError> {
    let invalid = |field, message| HelloError::Invalid { field, message };
    let side = Side::from_role(hello.role()).ok_or_else(|| invalid("role", "is required"))?;
    if hello.agent.is_empty() {
        return Err(invalid("agent", "is required"));
    }
    if hello.agent.len() > NAME_BYTES_MAX || hello.agent.chars().any(char::is_control) {
        return Err(invalid("agent", "is longer than 128 bytes or contains a control character"));
    }
    if side == Side::Sink && hello.data_address.is_empty() {
        return Err(invalid("data_address", "is required of a sink-agent: source-agents dial it"));
    }
    Ok(AgentKey { side, name: hello.agent.clone() })
}

/// An agent is who its certificate says; without TLS, who it says.
fn check_peer(key: &AgentKey, peer: Option<Peer>) -> Result<(), HelloError> {
    let role = match key.side {
        Side::Source => Role::SourceAgent,
        Side::Sink => Role::SinkAgent,
    };
    match peer {
        Some(found) if found.role != role || found.name != key.name => {
            Err(HelloError::Somebody { found, key: key.clone() })
        }
        _ => Ok(()),
    }
}

/// Passes on what the agent says, until it leaves.
async fn read(
    supervisor: &Supervisor,
    session: &Session,
    mut incoming: Streaming<AgentMessage>,
) -> SessionEnd {
    loop {
        let message = match incoming.message().await {
            Ok(Some(AgentMessage { message })) => message,
            Ok(None) => return SessionEnd::Closed,
            Err(status) => {
                let (agent, role) = (&session.key().name, session.key().side);
                tracing::debug!(agent, %role, %status, "the agent's stream broke");
                return SessionEnd::Closed;
            }
        };
        session.seen();
        match message {
            Some(FromAgent::Report(report)) => {
                if matches!(report.report, Some(Kind::Stopped(_))) {
                    session.stopped(&report.task_id, Epoch(report.epoch));
                }
                supervisor.report(session.key(), report).await;
            }
            Some(FromAgent::Result(result)) => session.answered(result),
            Some(FromAgent::Hello(_)) => {
                tracing::warn!(agent = session.key().name, "a second Hello in one session")
            }
            None => tracing::warn!(agent = session.key().name, "a message that this version does not know"),
        }
    }
}

/// Sends what is queued for the agent, until the session ends; then says why.
async fn write(
    session: Arc<Session>,
    mut outbox: mpsc::Receiver<CoordinatorMessage>,
    sending: mpsc::Sender<Result<CoordinatorMessage, Status>>,
) {
    let end = loop {
        tokio::select! {
            end = session.ended() => break end,
            () = sending.closed() => break SessionEnd::Closed,
            message = outbox.recv() => {
                let Some(message) = message else { break SessionEnd::Closed };
                let sent = tokio::select! {
                    sent = sending.send(Ok(message)) => sent.is_ok(),
                    _ = session.ended() => false,
                };
                if !sent {
                    break SessionEnd::Closed;
                }
            }
        }
    };
    session.end(end);
    // Where the transport has no room, the stream just ends.
    let _ = sending.try_send(Err(session.ended().await.into()));
}
