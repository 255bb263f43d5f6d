//! One session: dial, Hello, Welcome, then messages both ways until something breaks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use strait_proto::v1::agent_message::Message as FromAgent;
use strait_proto::v1::control_service_client::ControlServiceClient;
use strait_proto::v1::coordinator_message::Message as FromCoordinator;
use strait_proto::v1::{AgentMessage, CoordinatorMessage, Hello, Welcome};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::hub::Hub;
use super::{CONTROL_MESSAGE_BYTES_MAX, Worker};
use crate::serve::Dial;
use crate::trace_context::SendTrace;

/// How long the coordinator may take to answer Hello.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How many messages lie between the outbox and the transport.
const SENDING_MAX: usize = 16;

/// Why a session ended, or never began.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("connect to the coordinator")]
    Connect(#[source] tonic::transport::Error),
    #[error("open the session")]
    Open(#[source] Status),
    #[error("the coordinator did not answer within {} s", WELCOME_TIMEOUT.as_secs())]
    NoWelcome,
    #[error("the coordinator's first message was no welcome")]
    NotWelcome,
    #[error("the session broke")]
    Broken(#[source] Status),
    #[error("the coordinator ended the session")]
    Ended,
    #[error("the coordinator took no reports for too long")]
    Stalled,
}

impl SessionError {
    /// Whether the session had begun.
    pub(super) fn after_welcome(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Ended | Self::Stalled)
    }
}

/// Holds one session as long as it lasts.
pub(super) async fn run<W: Worker>(dial: &Dial, hub: &Arc<Hub<W>>) -> Result<Infallible, SessionError> {
    let channel = dial.connect().await.map_err(SessionError::Connect)?;
    let client = ControlServiceClient::with_interceptor(channel, SendTrace)
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let (outgoing, sending) = mpsc::channel(SENDING_MAX);
    let hello = Hello { running: hub.desk().running(), ..hub.worker().hello() };
    let hello = AgentMessage { message: Some(FromAgent::Hello(hello)) };
    // The channel is empty and its other end is right here.
    outgoing.send(hello).await.map_err(|_| SessionError::Ended)?;

    let greeting = async {
        let mut client = client;
        let response = client.session(ReceiverStream::new(sending)).await.map_err(SessionError::Open)?;
        let mut incoming = response.into_inner();
        let welcome = welcome(&mut incoming).await?;
        Ok((incoming, welcome))
    };
    let (incoming, welcome) =
        tokio::time::timeout(WELCOME_TIMEOUT, greeting).await.map_err(|_| SessionError::NoWelcome)??;
    tracing::info!(version = welcome.version, "in session with the coordinator");
    let (_open, ended) = hub.desk().open();
    pump(hub, incoming, outgoing, ended).await
}

async fn welcome(incoming: &mut Streaming<CoordinatorMessage>) -> Result<Welcome, SessionError> {
    match incoming.message().await.map_err(SessionError::Open)? {
        Some(CoordinatorMessage { message: Some(FromCoordinator::Welcome(welcome)) }) => Ok(welcome),
        Some(_) => Err(SessionError::NotWelcome),
        None => Err(SessionError::Ended),
    }
}

/// Both directions in one loop; nothing in it waits for anything but messages, so neither direction holds the
/// other up.
async fn pump<W: Worker>(
    hub: &Arc<Hub<W>>,
    mut incoming: Streaming<CoordinatorMessage>,
    outgoing: mpsc::Sender<AgentMessage>,
    ended: CancellationToken,
) -> Result<Infallible, SessionError> {
    let desk = hub.desk();
    loop {
        tokio::select! {
            message = incoming.message() => match message.map_err(SessionError::Broken)? {
                Some(message) => hub.handle(message.message),
                None => return Err(SessionError::Ended),
            },
            permit = async {
                desk.outgoing().await;
                outgoing.reserve().await
            } => {
                let permit = permit.map_err(|_| SessionError::Ended)?;
                // Taken only now: what is not yet sent stays on the desk when the loop turns elsewhere.
                if let Some(message) = desk.pop() {
                    permit.send(message);
                }
            }
            () = ended.cancelled() => return Err(SessionError::Stalled),
        }
    }
}
