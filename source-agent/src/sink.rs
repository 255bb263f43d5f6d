//! The sink-agent as the run sees it: one HTTP/2 connection, the session in every call.

use std::time::Duration;

use strait_proto::v1::{self, data_service_client::DataServiceClient};
use strait_proto::{DATA_MESSAGE_BYTES_MAX, Lsn};
use strait_runtime::trace_context::SendTrace;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::error::{During, RunError};
use crate::link::{Link, Unreachable};
use crate::reporter::{RESULTS_MAX, Reporter};

/// How long claiming the task may take: the sink may have to end what an older session left behind.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(120);
/// The assignment reaches the sink on its own way; until then it does not know us.
const ASSIGNMENT_RACE: Duration = Duration::from_secs(5);
const ASSIGNMENT_PAUSE: Duration = Duration::from_millis(200);

/// The requests of a chunk or of a change stream on their way to the sink.
pub(crate) type Requests<T> = mpsc::Receiver<T>;

/// A connection to the sink-agent under one assignment. Clones share it.
#[derive(Clone)]
pub(crate) struct Sink {
    client: DataServiceClient<InterceptedService<Channel, SendTrace>>,
    session: v1::TaskSession,
    source: v1::SourceIdentity,
    history: Vec<v1::TimelineSwitch>,
}

/// What becomes of tables that stand at the destination, and of those that do not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SchemaChoice {
    /// Those that are not the task's are used.
    pub(crate) use_existing: bool,
    /// Those that do not stand are not created.
    pub(crate) create_nothing: bool,
}

impl Sink {
    /// Connects and claims the task. `source` is the cluster that the positions of this attempt belong to, `history` what led
    /// to it; `joining`: it is the tables that join the task that are claimed.
    pub(crate) async fn open(
        assign: &v1::Assign,
        link: &Link,
        source: v1::SourceIdentity,
        history: Vec<v1::TimelineSwitch>,
        joining: bool,
    ) -> Result<(Self, v1::OpenTaskResponse), RunError> {
        let mut sink = Self::connect(assign, link, source, history, joining).await?;
        let deadline = Instant::now() + ASSIGNMENT_RACE;
        loop {
            match sink.claim().await {
                Err(error) if error.may_be_early() && Instant::now() < deadline => {
                    sleep(ASSIGNMENT_PAUSE).await;
                }
                result => return Ok((sink, result?)),
            }
        }
    }

    async fn connect(
        assign: &v1::Assign,
        link: &Link,
        source: v1::SourceIdentity,
        history: Vec<v1::TimelineSwitch>,
        joining: bool,
    ) -> Result<Self, RunError> {
        let address = assign.data_address.clone();
        let destination = assign.spec.as_ref().and_then(|spec| spec.destination.as_ref());
        let agent = destination.map_or("", |destination| &destination.agent);
        let (channel, compressed) = link.connect(&address, agent).await.map_err(|error| match error {
            Unreachable::Address(error) => RunError::definite(
                format!("the sink-agent's data address: {error}"),
                "Correct data-address there.",
            ),
            Unreachable::Transport(source) => RunError::SinkConnect { address, source },
        })?;
        tracing::debug!(compressed, "connected to the sink-agent");
        let client = DataServiceClient::with_interceptor(channel, SendTrace)
            .max_decoding_message_size(DATA_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(DATA_MESSAGE_BYTES_MAX);
        let client = if compressed { client.send_compressed(CompressionEncoding::Zstd) } else { client };
        let session = v1::TaskSession {
            task_id: assign.task_id.clone(),
            epoch: assign.epoch,
            token: assign.token.clone(),
            joining,
        };
        Ok(Self { client, session, source, history })
    }

    async fn claim(&mut self) -> Result<v1::OpenTaskResponse, RunError> {
        let request = v1::OpenTaskRequest {
            session: Some(self.session.clone()),
            source: Some(self.source.clone()),
            history: self.history.clone(),
        };
        let answer = timeout(CLAIM_TIMEOUT, self.client.open_task(request)).await;
        let answer =
            answer.map_err(|_| RunError::connection("open the task: the sink-agent does not answer"))?;
        Ok(answer.during("open the task at the sink")?.into_inner())
    }

    pub(crate) fn session(&self) -> v1::TaskSession {
        self.session.clone()
    }

    /// The cluster that positions belong to.
    pub(crate) fn source(&self) -> &v1::SourceIdentity {
        &self.source
    }

    /// Creates schemas, types, sequences and tables; the results are reported as they come.
    pub(crate) async fn apply_schema(
        &self,
        model: &v1::SchemaModel,
        choice: SchemaChoice,
        reporter: &Reporter,
    ) -> Result<(), RunError> {
        const DOING: &str = "apply the schema at the destination";
        let SchemaChoice { use_existing, create_nothing } = choice;
        let request = v1::ApplySchemaRequest {
            session: Some(self.session()),
            model: Some(model.clone()),
            use_existing,
            create_nothing,
        };
        let results = self.client.clone().apply_schema(request).await.during(DOING)?.into_inner();
        forward(results, |response| response.result, reporter, DOING).await
    }

    /// Begins tables, or begins them over, at a snapshot.
    pub(crate) async fn begin_tables(
        &self,
        table_ids: Vec<u32>,
        begin_lsn: Lsn,
        keep_rows: bool,
    ) -> Result<Vec<v1::TableState>, RunError> {
        let request = v1::BeginTablesRequest {
            session: Some(self.session()),
            source: Some(self.source.clone()),
            table_ids,
            begin_lsn: begin_lsn.0,
            keep_rows,
        };
        let response = self.client.clone().begin_tables(request).await.during("begin the tables")?;
        Ok(response.into_inner().tables)
    }

    /// Sends one chunk; the requests are read until the sink has answered.
    pub(crate) async fn copy_chunk(
        &self,
        requests: Requests<v1::CopyChunkRequest>,
    ) -> Result<v1::CopyChunkResponse, Status> {
        let response = self.client.clone().copy_chunk(ReceiverStream::new(requests)).await?;
        Ok(response.into_inner())
    }

    /// Builds a copied table's keys and indexes; the results are reported as they come.
    pub(crate) async fn finish_table(
        &self,
        table_id: u32,
        generation: u32,
        chunks: u32,
        name: &v1::TableName,
        reporter: &Reporter,
    ) -> Result<(), RunError> {
        let doing = format!("build the keys and indexes of {name}");
        let request = v1::FinishTableRequest { session: Some(self.session()), table_id, generation, chunks };
        let results = self.client.clone().finish_table(request).await.during(&*doing)?.into_inner();
        forward(results, |response| response.result, reporter, &doing).await
    }

    /// Looks at the tables that join the task, hands them over or gives them up.
    pub(crate) async fn join_tables(
        &self,
        action: v1::JoinAction,
    ) -> Result<v1::JoinTablesResponse, RunError> {
        self.join(v1::JoinTablesRequest { action: action.into(), ..Default::default() }).await
    }

    /// Suspends a table of the task from its position on: it begins over.
    pub(crate) async fn suspend(&self, table_id: u32, reason: String) -> Result<(), RunError> {
        let action = v1::JoinAction::Suspend.into();
        let request =
            v1::JoinTablesRequest { action, table_ids: vec![table_id], reason, ..Default::default() };
        self.join(request).await.map(drop)
    }

    async fn join(&self, request: v1::JoinTablesRequest) -> Result<v1::JoinTablesResponse, RunError> {
        let request = v1::JoinTablesRequest { session: Some(self.session()), ..request };
        let response = self.client.clone().join_tables(request).await;
        Ok(response.during("let tables join the task at the destination")?.into_inner())
    }

    /// Has the partitions of the task hang together like this; tables that the source has dropped go.
    pub(crate) async fn arrange_partitions(
        &self,
        places: Vec<v1::PartitionPlace>,
        dropped: Vec<u32>,
    ) -> Result<v1::ArrangePartitionsResponse, RunError> {
        let request = v1::ArrangePartitionsRequest { session: Some(self.session()), places, dropped };
        let response = self.client.clone().arrange_partitions(request).await;
        Ok(response.during("arrange the partitions at the destination")?.into_inner())
    }

    /// Sets sequences, never backwards.
    pub(crate) async fn set_sequences(&self, values: Vec<v1::SequenceValue>) -> Result<(), RunError> {
        let request = v1::SetSequencesRequest { session: Some(self.session()), values };
        self.client.clone().set_sequences(request).await.during("set the sequences at the destination")?;
        Ok(())
    }

    /// Opens the change stream. The first request has to be in the channel already.
    pub(crate) async fn stream_changes(
        &self,
        requests: Requests<v1::StreamChangesRequest>,
    ) -> Result<Streaming<v1::StreamChangesResponse>, RunError> {
        let requests = ReceiverStream::new(requests);
        let response = self.client.clone().stream_changes(requests).await;
        Ok(response.during("open the change stream")?.into_inner())
    }
}

/// Reports the results of a streamed answer in batches; what has come is reported even where the call fails later.
async fn forward<T>(
    mut results: Streaming<T>,
    result: impl Fn(T) -> Option<v1::ObjectResult>,
    reporter: &Reporter,
    doing: &str,
) -> Result<(), RunError> {
    const BATCH_INTERVAL: Duration = Duration::from_millis(500);
    let mut batch = Vec::new();
    let mut flush_at = Instant::now() + BATCH_INTERVAL;
    loop {
        let next = tokio::select! {
            next = results.message() => next,
            () = tokio::time::sleep_until(flush_at), if !batch.is_empty() => {
                reporter.objects(std::mem::take(&mut batch)).await;
                continue;
            }
        };
        match next.during(doing) {
            Ok(Some(message)) => {
                if batch.is_empty() {
                    flush_at = Instant::now() + BATCH_INTERVAL;
                }
                batch.extend(result(message));
                if batch.len() >= RESULTS_MAX {
                    reporter.objects(std::mem::take(&mut batch)).await;
                }
            }
            end => {
                reporter.objects(batch).await;
                return end.map(|_| ());
            }
        }
    }
}
