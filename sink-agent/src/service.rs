//! The DataService: who may call, which session it belongs to, and what goes back. The work is done
//! elsewhere.

use std::sync::Arc;

use strait_proto::DATA_MESSAGE_BYTES_MAX;
use strait_proto::v1::data_service_server::{DataService, DataServiceServer};
use strait_proto::v1::{self, stream_changes_request};
use strait_runtime::security::Peer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::apply::Stream;
use crate::apply::replies::{REPLIES_MAX, Replies};
use crate::apply_schema::apply_schema;
use crate::arrange_partitions::arrange_partitions;
use crate::continuity::require_same;
use crate::copy::{self, begin_tables, copy_chunk, finish_table};
use crate::error::{Context as _, Error};
use crate::join_tables::join_tables;
use crate::open_task::open_task;
use crate::registry::{Assignment, Registry};
use crate::results::{RESULTS_MAX, Relay};
use crate::schema;
use crate::session::Session;
use crate::spool::SpoolSpace;
use crate::store;

/// The data plane of this agent, for the tasks that are assigned to it.
#[derive(Clone)]
pub(crate) struct Service {
    registry: Arc<Registry>,
    spool: Arc<SpoolSpace>,
}

impl Service {
    /// The gRPC server of the service, with the limits of the contract.
    pub(crate) fn server(registry: Arc<Registry>, spool: Arc<SpoolSpace>) -> DataServiceServer<Self> {
        DataServiceServer::new(Self { registry, spool })
            .max_decoding_message_size(DATA_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(DATA_MESSAGE_BYTES_MAX)
            .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
    }

    /// The open session that a caller belongs to.
    async fn session(
        &self,
        caller: Option<&v1::TaskSession>,
        peer: Option<&Peer>,
    ) -> Result<(Arc<Assignment>, Arc<Session>), Error> {
        let assignment = self.registry.find(caller, peer)?;
        let session = assignment.open_session(caller.is_some_and(|caller| caller.joining)).await?;
        Ok((assignment, session))
    }

    async fn stream(
        &self,
        mut inbound: Streaming<v1::StreamChangesRequest>,
        peer: Option<Peer>,
        replies: Replies,
    ) -> Result<(), Error> {
        let first = inbound.message().await.map_err(|_| Error::Stopped)?;
        let Some(stream_changes_request::Message::Open(open)) = first.and_then(|request| request.message)
        else {
            return Err(Error::protocol("a change stream begins with OpenStream"));
        };
        let (assignment, session) = self.session(open.session.as_ref(), peer.as_ref()).await?;
        let source = open.source.unwrap_or_default();
        let stream = async {
            let client = session.connect().await?;
            let claim = session.claim_again(&client, &assignment.name).await?;
            let mut progress = store::progress(&client, session.task_id()).await?;
            if let Some(stands) =
                progress.checkpoint.as_ref().and_then(|checkpoint| checkpoint.source.as_ref())
            {
                require_same(stands, &source)?;
            }
            let uri = session.uri().clone();
            let (spool, on_error, mut lanes) =
                (Arc::clone(&self.spool), assignment.on_error, assignment.lanes);
            if session.task_id().is_joining() {
                // Foreign keys want all tables at one position. Tables are handed over at a whole one.
                (progress.model, lanes) = (None, 1);
            }
            Stream { uri, claim, progress, lanes, client, inbound, replies, spool, on_error }.run().await
        };
        session.run_stream(Box::pin(stream)).await
    }
}

/// Answers with a stream that `work` fills; it is dropped when the caller goes.
fn streamed<R, W>(
    capacity: usize,
    work: impl FnOnce(mpsc::Sender<Result<R, Status>>) -> W,
) -> Response<ReceiverStream<Result<R, Status>>>
where
    R: Send + 'static,
    W: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(capacity);
    let work = work(sender.clone());
    tokio::spawn(async move {
        let result = tokio::select! {
            result = work => result,
            () = sender.closed() => return,
        };
        if let Err(error) = result {
            log(&error);
            // A caller that has gone needs no reason.
            let _ = sender.send(Err(Status::from(&error))).await;
        }
    });
    Response::new(ReceiverStream::new(receiver))
}

/// Who calls, as the certificate has it, and with what.
fn opened<T>(request: Request<T>) -> (Option<Peer>, T) {
    let (_, mut extensions, message) = request.into_parts();
    (extensions.remove(), message)
}

fn log(error: &Error) {
    let failure = error.failure();
    tracing::warn!(definite = failure.definite, error = failure.cause, "a call of the data plane failed");
}

fn status(error: Error) -> Status {
    log(&error);
    error.into()
}

#[tonic::async_trait]
impl DataService for Service {
    type ApplySchemaStream = ReceiverStream<Result<v1::ApplySchemaResponse, Status>>;
    type FinishTableStream = ReceiverStream<Result<v1::FinishTableResponse, Status>>;
    type StreamChangesStream = ReceiverStream<Result<v1::StreamChangesResponse, Status>>;

    async fn open_task(
        &self,
        request: Request<v1::OpenTaskRequest>,
    ) -> Result<Response<v1::OpenTaskResponse>, Status> {
        let (peer, request) = opened(request);
        let claimed = async {
            let assignment = self.registry.wait_for(request.session.as_ref(), peer.as_ref()).await?;
            open_task(&assignment, &request).await
        };
        claimed.await.map(Response::new).map_err(status)
    }

    async fn apply_schema(
        &self,
        request: Request<v1::ApplySchemaRequest>,
    ) -> Result<Response<Self::ApplySchemaStream>, Status> {
        let (peer, request) = opened(request);
        let (_, session) = self.session(request.session.as_ref(), peer.as_ref()).await.map_err(status)?;
        Ok(streamed(RESULTS_MAX, |sender| async move {
            let relay = Relay::new(sender, |result| v1::ApplySchemaResponse { result: Some(result) });
            session.run(apply_schema(&session, request, &relay)).await
        }))
    }

    async fn begin_tables(
        &self,
        request: Request<v1::BeginTablesRequest>,
    ) -> Result<Response<v1::BeginTablesResponse>, Status> {
        let (peer, request) = opened(request);
        let (_, session) = self.session(request.session.as_ref(), peer.as_ref()).await.map_err(status)?;
        session.run(begin_tables(&session, request)).await.map(Response::new).map_err(status)
    }

    async fn copy_chunk(
        &self,
        request: Request<Streaming<v1::CopyChunkRequest>>,
    ) -> Result<Response<v1::CopyChunkResponse>, Status> {
        let (peer, mut inbound) = opened(request);
        let header = copy::header(&mut inbound).await.map_err(status)?;
        let (_, session) = self.session(header.session.as_ref(), peer.as_ref()).await.map_err(status)?;
        session.run(Box::pin(copy_chunk(&session, header, inbound))).await.map(Response::new).map_err(status)
    }

    async fn finish_table(
        &self,
        request: Request<v1::FinishTableRequest>,
    ) -> Result<Response<Self::FinishTableStream>, Status> {
        let (peer, request) = opened(request);
        let (_, session) = self.session(request.session.as_ref(), peer.as_ref()).await.map_err(status)?;
        Ok(streamed(RESULTS_MAX, |sender| async move {
            let relay = Relay::new(sender, |result| v1::FinishTableResponse { result: Some(result) });
            session.run(finish_table(&session, &request, &relay)).await
        }))
    }

    async fn join_tables(
        &self,
        request: Request<v1::JoinTablesRequest>,
    ) -> Result<Response<v1::JoinTablesResponse>, Status> {
        let (peer, request) = opened(request);
        let (assignment, session) =
            self.session(request.session.as_ref(), peer.as_ref()).await.map_err(status)?;
        if session.task_id().is_joining() {
            return Err(status(Error::protocol("the joining tables are asked about in the task's session")));
        }
        let joined = join_tables(&assignment, &session, request);
        session.run(joined).await.map(Response::new).map_err(status)
    }

    async fn arrange_partitions(
        &self,
        request: Request<v1::ArrangePartitionsRequest>,
    ) -> Result<Response<v1::ArrangePartitionsResponse>, Status> {
        let (peer, request) = opened(request);
        let (_, session) = self.session(request.session.as_ref(), peer.as_ref()).await.map_err(status)?;
        session.run(arrange_partitions(&session, request)).await.map(Response::new).map_err(status)
    }

    async fn set_sequences(
        &self,
        request: Request<v1::SetSequencesRequest>,
    ) -> Result<Response<v1::SetSequencesResponse>, Status> {
        let (peer, request) = opened(request);
        let (_, session) = self.session(request.session.as_ref(), peer.as_ref()).await.map_err(status)?;
        let set = async {
            let client = session.connect().await?;
            schema::set_sequences(&client, &request.values).await.context("set the sequences")
        };
        session.run(set).await.map_err(status)?;
        Ok(Response::new(v1::SetSequencesResponse {}))
    }

    async fn stream_changes(
        &self,
        request: Request<Streaming<v1::StreamChangesRequest>>,
    ) -> Result<Response<Self::StreamChangesStream>, Status> {
        let (service, (peer, inbound)) = (self.clone(), opened(request));
        Ok(streamed(REPLIES_MAX, |sender| async move {
            service.stream(inbound, peer, Replies::new(sender)).await
        }))
    }
}
