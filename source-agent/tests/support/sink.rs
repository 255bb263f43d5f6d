//! A sink that keeps everything in memory and can be made to fail.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use prost::Message as _;
use strait_proto::v1::data_service_server::DataService;
use strait_proto::v1::{
    self, change::Change as Kind, copy_chunk_request, stream_changes_request, stream_changes_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::table::{Table, parse_copy};

type Answers<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

#[derive(Default)]
pub(crate) struct State {
    /// Tables that were suspended on request, and why.
    pub(crate) suspended: Vec<(u32, String)>,
    pub(crate) checkpoint: Option<v1::Checkpoint>,
    pub(crate) schema: Option<v1::SchemaModel>,
    pub(crate) states: BTreeMap<u32, v1::TableState>,
    /// By table and chunk.
    pub(crate) chunks: BTreeMap<(u32, u32), usize>,
    pub(crate) tables: BTreeMap<u32, Table>,
    pub(crate) sequences: HashMap<String, v1::SequenceValue>,
    /// What came, in words.
    pub(crate) log: Vec<String>,
    pub(crate) commits: Vec<u64>,
    pub(crate) finished: HashSet<u32>,
    /// Counts the streams; only the newest one writes.
    pub(crate) session: u64,
}

#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) state: Mutex<State>,
    /// The next chunks that fail.
    pub(crate) fail_chunks: AtomicUsize,
    /// The stream breaks after so many frames; 0: never.
    pub(crate) break_after_frames: AtomicU64,
    /// Frames are taken, and nothing is given back.
    pub(crate) hold_credit: AtomicBool,
    /// Bytes that came while credit was held.
    pub(crate) held_bytes: AtomicU64,
    pub(crate) unauthenticated: AtomicUsize,
    pub(crate) fenced: AtomicBool,
}

#[derive(Clone)]
pub(crate) struct SinkService(pub(crate) Arc<Sink>);

fn answers<T: Send + 'static>(items: Vec<Result<T, Status>>) -> Response<Answers<T>> {
    Response::new(Box::pin(tokio_stream::iter(items)))
}

#[tonic::async_trait]
impl DataService for SinkService {
    async fn open_task(
        &self,
        request: Request<v1::OpenTaskRequest>,
    ) -> Result<Response<v1::OpenTaskResponse>, Status> {
        assert_eq!(request.into_inner().session.unwrap().token, "secret");
        if self.0.fenced.load(Ordering::SeqCst) {
            return Err(Status::failed_precondition("epoch 9 is newer"));
        }
        let unauthenticated = &self.0.unauthenticated;
        if unauthenticated
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(Status::unauthenticated("not assigned"));
        }
        let state = self.0.state.lock().unwrap();
        Ok(Response::new(v1::OpenTaskResponse {
            checkpoint: state.checkpoint.clone(),
            tables: state.states.values().cloned().collect(),
            schema_applied: state.schema.is_some(),
        }))
    }

    type ApplySchemaStream = Answers<v1::ApplySchemaResponse>;
    async fn apply_schema(
        &self,
        request: Request<v1::ApplySchemaRequest>,
    ) -> Result<Response<Self::ApplySchemaStream>, Status> {
        let model = request.into_inner().model.unwrap();
        let results = model.tables.iter().map(|table| {
            Ok(v1::ApplySchemaResponse {
                result: Some(v1::ObjectResult {
                    object_kind: "table".into(),
                    name: table.name.clone(),
                    ..Default::default()
                }),
            })
        });
        let results = results.collect();
        self.0.state.lock().unwrap().schema = Some(model);
        Ok(answers(results))
    }

    async fn begin_tables(
        &self,
        request: Request<v1::BeginTablesRequest>,
    ) -> Result<Response<v1::BeginTablesResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.state.lock().unwrap();
        let begin = format!("begin {} tables", request.table_ids.len());
        state.log.push(begin);
        if state.checkpoint.is_none() {
            state.checkpoint =
                Some(v1::Checkpoint { durable_lsn: request.begin_lsn, source: request.source.clone() });
        }
        let mut tables = Vec::new();
        for table_id in request.table_ids {
            let generation = state.states.get(&table_id).map_or(1, |state| state.generation + 1);
            let table = v1::TableState {
                table_id,
                begin_lsn: request.begin_lsn,
                generation,
                phase: v1::CopyPhase::Copying.into(),
                ..Default::default()
            };
            state.chunks.retain(|(table, _), _| *table != table_id);
            state.tables.insert(table_id, Table::default());
            state.states.insert(table_id, table.clone());
            tables.push(table);
        }
        Ok(Response::new(v1::BeginTablesResponse { tables }))
    }

    async fn copy_chunk(
        &self,
        request: Request<Streaming<v1::CopyChunkRequest>>,
    ) -> Result<Response<v1::CopyChunkResponse>, Status> {
        let mut requests = request.into_inner();
        let Some(copy_chunk_request::Message::Header(header)) = requests.message().await?.unwrap().message
        else {
            panic!("no header");
        };
        let (mut data, mut end) = (Vec::new(), None);
        while let Some(request) = requests.message().await? {
            match request.message.unwrap() {
                copy_chunk_request::Message::Data(bytes) => data.extend_from_slice(&bytes),
                copy_chunk_request::Message::End(message) => end = Some(message),
                copy_chunk_request::Message::Header(_) => panic!("two headers"),
            }
        }
        let Some(end) = end else {
            return Err(Status::aborted("no end"));
        };
        let fail = &self.0.fail_chunks;
        if fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Status::unavailable("a chunk failed"));
        }
        let rows = parse_copy(&data, &header.columns);
        assert_eq!(rows.len() as u64, end.rows);
        let mut state = self.0.state.lock().unwrap();
        let table = state.states.get_mut(&header.table_id).unwrap();
        assert_eq!(table.generation, header.generation);
        assert!(!table.chunks_done.contains(&header.chunk), "chunk {} was sent again", header.chunk);
        table.chunks_done.push(header.chunk);
        table.rows += end.rows;
        state.chunks.insert((header.table_id, header.chunk), rows.len());
        let table = state.tables.get_mut(&header.table_id).unwrap();
        rows.into_iter().for_each(|row| table.insert(row));
        Ok(Response::new(v1::CopyChunkResponse { rows: end.rows, existed: false }))
    }

    type FinishTableStream = Answers<v1::FinishTableResponse>;
    async fn finish_table(
        &self,
        request: Request<v1::FinishTableRequest>,
    ) -> Result<Response<Self::FinishTableStream>, Status> {
        let request = request.into_inner();
        let mut state = self.0.state.lock().unwrap();
        let table = state.states.get_mut(&request.table_id).unwrap();
        assert_eq!(table.generation, request.generation);
        assert_eq!(table.chunks_done.len(), request.chunks as usize);
        table.set_phase(v1::CopyPhase::Ready);
        state.finished.insert(request.table_id);
        Ok(answers(vec![]))
    }

    async fn join_tables(
        &self,
        request: Request<v1::JoinTablesRequest>,
    ) -> Result<Response<v1::JoinTablesResponse>, Status> {
        let v1::JoinTablesRequest { table_ids, reason, .. } = request.into_inner();
        let suspended = table_ids.into_iter().map(|table_id| (table_id, reason.clone()));
        self.0.state.lock().unwrap().suspended.extend(suspended);
        Ok(Response::new(v1::JoinTablesResponse::default()))
    }

    async fn arrange_partitions(
        &self,
        _request: Request<v1::ArrangePartitionsRequest>,
    ) -> Result<Response<v1::ArrangePartitionsResponse>, Status> {
        Ok(Response::new(v1::ArrangePartitionsResponse::default()))
    }

    async fn set_sequences(
        &self,
        request: Request<v1::SetSequencesRequest>,
    ) -> Result<Response<v1::SetSequencesResponse>, Status> {
        let mut state = self.0.state.lock().unwrap();
        for value in request.into_inner().values {
            state.sequences.insert(value.sequence.clone().unwrap().name, value);
        }
        Ok(Response::new(v1::SetSequencesResponse {}))
    }

    type StreamChangesStream = Answers<v1::StreamChangesResponse>;
    async fn stream_changes(
        &self,
        request: Request<Streaming<v1::StreamChangesRequest>>,
    ) -> Result<Response<Self::StreamChangesStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(1000);
        let sink = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(status) = receive(&sink, &mut requests, &answers).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

const CREDIT: u64 = 4 << 20;

async fn receive(
    sink: &Sink,
    requests: &mut Streaming<v1::StreamChangesRequest>,
    answers: &mpsc::Sender<Result<v1::StreamChangesResponse, Status>>,
) -> Result<(), Status> {
    let answer = |message| Ok(v1::StreamChangesResponse { message: Some(message) });
    let open = requests.message().await?.unwrap().message.unwrap();
    assert!(matches!(open, stream_changes_request::Message::Open(_)));
    let (ready, session) = {
        let mut state = sink.state.lock().unwrap();
        state.session += 1;
        let session = state.session;
        let ready = v1::StreamReady {
            resume_lsn: state.checkpoint.as_ref().unwrap().durable_lsn,
            credit_bytes: CREDIT,
            tables: state.states.values().cloned().collect(),
            streaming: false,
        };
        (ready, session)
    };
    let _ = answers.send(answer(stream_changes_response::Message::Ready(ready))).await;
    let (mut relations, mut pending, mut frames) = (HashMap::new(), Vec::new(), 0);
    while let Some(request) = requests.message().await? {
        let Some(stream_changes_request::Message::Frame(frame)) = request.message else {
            panic!("no frame");
        };
        frames += 1;
        assert_eq!(frame.sequence, frames);
        let limit = sink.break_after_frames.load(Ordering::SeqCst);
        if limit > 0 && frames >= limit {
            return Err(Status::unavailable("the stream broke"));
        }
        let bytes = frame.encoded_len() as u64;
        let mut acked = None;
        for change in frame.changes {
            if let Some(position) =
                apply(sink, session, &mut relations, &mut pending, change.change.unwrap())?
            {
                acked = Some(position);
            }
        }
        if sink.hold_credit.load(Ordering::SeqCst) {
            sink.held_bytes.fetch_add(bytes, Ordering::SeqCst);
            while sink.hold_credit.load(Ordering::SeqCst) && sink.held_bytes.load(Ordering::SeqCst) >= CREDIT
            {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let held = sink.held_bytes.load(Ordering::SeqCst);
            if !sink.hold_credit.load(Ordering::SeqCst) {
                let _ = answers
                    .send(answer(stream_changes_response::Message::Credit(v1::Credit { bytes: held })))
                    .await;
                sink.held_bytes.store(0, Ordering::SeqCst);
            }
        } else {
            let _ =
                answers.send(answer(stream_changes_response::Message::Credit(v1::Credit { bytes }))).await;
        }
        if let Some(position) = acked {
            let ack = v1::Ack {
                applied_lsn: position,
                durable_lsn: position,
                foreign_keys_done: true,
                ..Default::default()
            };
            let _ = answers.send(answer(stream_changes_response::Message::Ack(ack))).await;
        }
    }
    Ok(())
}

/// Applies whole transactions; returns the position that is durable now.
fn apply(
    sink: &Sink,
    session: u64,
    relations: &mut HashMap<u32, v1::RelationDefinition>,
    pending: &mut Vec<Kind>,
    change: Kind,
) -> Result<Option<u64>, Status> {
    let mut state = sink.state.lock().unwrap();
    if state.session != session {
        return Err(Status::aborted("a newer stream has replaced this one"));
    }
    let position = match change {
        Kind::Progress(progress) => {
            assert!(pending.is_empty(), "a position within a transaction");
            Some(progress.progress_lsn)
        }
        Kind::Relation(mut relation) => {
            let model = state.schema.as_ref().unwrap();
            let table = model.tables.iter().find(|table| table.table_id == relation.table_id).unwrap();
            let generated = table.columns.iter().filter(|column| column.generated.is_some());
            let generated: HashSet<&str> = generated.map(|column| &*column.name).collect();
            for column in relation.columns.iter_mut().filter(|column| generated.contains(&*column.name)) {
                assert!(!column.key || relation.replica_identity == v1::ReplicaIdentity::Full as i32);
                // The destination computes it for itself.
                column.name.clear();
            }
            let line = format!("relation {} of {}", relation.relation_id, relation.target.as_ref().unwrap());
            state.log.push(line);
            relations.insert(relation.relation_id, relation);
            None
        }
        Kind::Commit(commit) => {
            let durable = state.checkpoint.as_ref().unwrap().durable_lsn;
            assert!(commit.commit_lsn >= durable, "a transaction twice");
            state.commits.push(commit.commit_lsn);
            for change in pending.drain(..) {
                match change {
                    Kind::Row(row) => {
                        let relation = &relations[&row.relation_id];
                        assert!(commit.commit_lsn >= state.states[&relation.table_id].begin_lsn);
                        state.tables.get_mut(&relation.table_id).unwrap().change(relation, &row);
                    }
                    Kind::Truncate(truncate) => {
                        for relation in truncate.relations {
                            let line = format!("truncate [{}]", relation.condition);
                            state.log.push(line);
                            if relation.condition.is_empty() {
                                state.tables.get_mut(&relation.table_id).unwrap().clear();
                            }
                        }
                    }
                    _ => {}
                }
            }
            Some(commit.end_lsn)
        }
        other => {
            pending.push(other);
            None
        }
    };
    if let Some(position) = position {
        // Rows and position move under one lock.
        state.checkpoint.as_mut().unwrap().durable_lsn = position;
    }
    Ok(position)
}
