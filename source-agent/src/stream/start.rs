//! Opens both ends of the stream, once it is certain that the slot still has what the sink lacks.

use std::time::Duration;

use strait_postgres::Client;
use strait_postgres::replication::{ReplicationReader, ReplicationWriter, StartOptions};
use strait_proto::Lsn;
use strait_proto::v1::{self, stream_changes_request, stream_changes_response};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tonic::Streaming;

use crate::capture::slot;
use crate::error::{During, RunError};
use crate::sink::Sink;
use crate::source::Source;

/// Frames between the reader and the connection to the sink, each of about 1 MiB.
const FRAMES_MAX: usize = 4;
/// How long the sink may take to say where it stands.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a slot that is held by a walsender that just ends is asked for again.
const START_ATTEMPTS_MAX: u32 = 5;

/// The open stream at the sink.
pub(super) struct SinkStream {
    pub(super) requests: mpsc::Sender<v1::StreamChangesRequest>,
    pub(super) responses: Streaming<v1::StreamChangesResponse>,
    pub(super) ready: v1::StreamReady,
}

/// Opens the stream at the sink and waits for it to say where to resume.
pub(super) async fn open_sink(sink: &Sink) -> Result<SinkStream, RunError> {
    let (requests, receiver) = mpsc::channel(FRAMES_MAX);
    let open = v1::OpenStream { session: Some(sink.session()), source: Some(sink.source().clone()) };
    let open = v1::StreamChangesRequest { message: Some(stream_changes_request::Message::Open(open)) };
    let opened = async {
        // The channel is empty and its receiver is here, so it takes the request at once.
        let _ = requests.send(open).await;
        let mut responses = sink.stream_changes(receiver).await?;
        let first = responses.message().await.during("open the change stream")?;
        Ok::<_, RunError>((responses, first.and_then(|response| response.message)))
    };
    let opened = timeout(READY_TIMEOUT, opened).await;
    let opened =
        opened.map_err(|_| RunError::connection("open the change stream: the sink-agent does not answer"))?;
    match opened? {
        (responses, Some(stream_changes_response::Message::Ready(ready))) => {
            Ok(SinkStream { requests, responses, ready })
        }
        _ => Err(RunError::transient("the sink-agent did not say where the change stream resumes")),
    }
}

/// Starts the slot's stream at `resume_lsn`.
pub(super) async fn start_slot(
    source: &Source,
    client: &Client,
    resume_lsn: Lsn,
    options: StartOptions,
) -> Result<(ReplicationReader, ReplicationWriter), RunError> {
    const DOING: &str = "start the change stream";
    for attempt in 1.. {
        slot::release(client, &source.slot, &source.application_name).await?;
        let state = slot::read(client, &source.slot).await.during("check the replication slot")?;
        slot::verify(&source.slot, state.as_ref(), resume_lsn)?;
        let connection = source.connect_replication().await.during("connect for the change stream")?;
        match connection.start(&source.slot, resume_lsn, &source.publication, options).await {
            Err(error)
                if error.sqlstate() == Some(&SqlState::OBJECT_IN_USE) && attempt < START_ATTEMPTS_MAX =>
            {
                tracing::info!(attempt, "the slot is in use, trying again");
            }
            started => return started.during(DOING),
        }
    }
    unreachable!("the loop ends at its last attempt")
}
