#![allow(clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::large_futures, missing_docs, unused)]
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use bytes::Bytes;
use futures_util::StreamExt;
use prost::Message as _;
use strait_postgres::pgoutput::{self, LogicalMessage, OldTuple};
use strait_postgres::{Client, ConnectionUri, EndpointConfig, connect};
use strait_proto::v1::{self, *};
use strait_proto::Lsn;
use strait_runtime::Shutdown;
use tokio::sync::{mpsc, watch, Mutex};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use v1::data_service_client::DataServiceClient;

const TASK: &str = "abcdefghijkl";
type Db = Client;

#[derive(Clone)]
struct FakeCoordinator { out: Arc<Mutex<Option<mpsc::Sender<Result<CoordinatorMessage, Status>>>>>, reports: mpsc::Sender<agent_message::Message> }
#[tonic::async_trait]
impl v1::control_service_server::ControlService for FakeCoordinator {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;
    async fn session(&self, r: Request<Streaming<AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let (tx, rx) = mpsc::channel(16);
        tx.send(Ok(CoordinatorMessage { message: Some(coordinator_message::Message::Welcome(Welcome { version: "x".into() })) })).await.unwrap();
        *self.out.lock().await = Some(tx);
        let mut inbound = r.into_inner();
        let reports = self.reports.clone();
        tokio::spawn(async move { while let Ok(Some(m)) = inbound.message().await { if let Some(m) = m.message { let _ = reports.send(m).await; } } });
        Ok(Response::new(ReceiverStream::new(rx)))
    }
}

struct Rig {
    src: Db, dst: Db, coordinator: FakeCoordinator, reports: mpsc::Receiver<agent_message::Message>, coordinator_shutdown: Shutdown,
    sink: Option<(Shutdown, tokio::task::JoinHandle<()>, String)>, coordinator_address: String, model: SchemaModel, identity: SourceIdentity, epoch: u64,
    pending: Vec<Change>, // fetched from slot and not yet acked, in order
}

fn port() -> String { std::env::var("PGPORT").unwrap_or("54931".into()) }
async fn db(name: &str) -> Db { connect(&format!("postgres://postgres@127.0.0.1:{}/{name}", port()).parse::<ConnectionUri>().unwrap(), "live").await.unwrap() }

impl Rig {
    async fn new(src_ddl: &str) -> Rig {
        let admin = db("postgres").await;
        let _ = admin.batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('src','dst')").await;
        for row in admin.query("SELECT slot_name::text FROM pg_replication_slots", &[]).await.unwrap() { let n: String = row.get(0); admin.batch_execute(&format!("SELECT pg_drop_replication_slot('{n}')")).await.unwrap(); }
        for d in ["src", "dst"] { admin.batch_execute(&format!("DROP DATABASE IF EXISTS {d} WITH (FORCE)")).await.unwrap(); admin.batch_execute(&format!("CREATE DATABASE {d} TEMPLATE template0 ENCODING 'UTF8'")).await.unwrap(); }
        let src = db("src").await; let dst = db("dst").await;
        src.batch_execute("SET search_path = pg_catalog, public").await.unwrap();
        src.batch_execute(src_ddl).await.unwrap();
        let (tx, reports) = mpsc::channel(1000);
        let coordinator = FakeCoordinator { out: Default::default(), reports: tx };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let coordinator_address = format!("http://{}", listener.local_addr().unwrap());
        let coordinator_shutdown = Shutdown::new();
        let (c, s) = (coordinator.clone(), coordinator_shutdown.clone());
        tokio::spawn(async move { strait_runtime::serve::Serve::new().add_service(v1::control_service_server::ControlServiceServer::new(c)).run(listener, s).await.unwrap() });
        let mut rig = Rig { src, dst, coordinator, reports, coordinator_shutdown, sink: None, coordinator_address, model: Default::default(), identity: Default::default(), epoch: 0, pending: vec![] };
        let row = rig.src.query_one("SELECT system_identifier::text FROM pg_control_system()", &[]).await.unwrap();
        rig.identity = SourceIdentity { system_identifier: row.get(0), timeline: 1 };
        rig.start_sink().await;
        rig
    }
    async fn start_sink(&mut self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let config = strait_sink_agent::Config { agent: "sink".into(), coordinator: self.coordinator_address.clone(), data_address: None,
            endpoints: BTreeMap::from([("dst".to_string(), EndpointConfig { uri: format!("postgres://{}@127.0.0.1:{}/dst", std::env::var("DSTUSER").unwrap_or("postgres".into()), port()), password_env: None, password_file: None })]) };
        let s = shutdown.clone();
        let handle = tokio::spawn(async move { strait_sink_agent::run(config, listener, s).await.unwrap() });
        self.sink = Some((shutdown, handle, address));
        loop { if let Some(agent_message::Message::Hello(h)) = self.reports.recv().await { println!("  hello {:?}", h.endpoints); break; } }
    }
    async fn stop_sink(&mut self) { let (s, h, _) = self.sink.take().unwrap(); s.trigger(); h.await.unwrap(); }
    async fn say(&self, m: coordinator_message::Message) { self.coordinator.out.lock().await.as_ref().unwrap().send(Ok(CoordinatorMessage { message: Some(m) })).await.unwrap(); }
    fn spec() -> TaskSpec { TaskSpec { name: "t".into(), destination: Some(EndpointReference { agent: "sink".into(), endpoint: "dst".into(), database: "".into() }), ..Default::default() } }
    async fn assign(&mut self) {
        self.epoch += 1;
        self.say(coordinator_message::Message::Assign(Assign { task_id: TASK.into(), epoch: self.epoch, spec: Some(Self::spec()), token: "secret".into(), ..Default::default() })).await;
    }
    fn session(&self) -> Option<TaskSession> { Some(TaskSession { task_id: TASK.into(), epoch: self.epoch, token: "secret".into() }) }
    async fn client(&self) -> DataServiceClient<tonic::transport::Channel> {
        let ch = strait_runtime::serve::endpoint(&self.sink.as_ref().unwrap().2).unwrap().connect().await.unwrap();
        DataServiceClient::new(ch).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
    }
    async fn open(&self) -> Result<OpenTaskResponse, Status> { self.client().await.open_task(OpenTaskRequest { session: self.session(), source: Some(self.identity.clone()) }).await.map(|r| r.into_inner()) }

    /// model, publication, slot, schema, copy, finish
    async fn full(&mut self) {
        self.model = strait_postgres::catalog::load(&db("src").await, &Default::default()).await.unwrap();
        let mut c = self.client().await;
        let open = self.open().await.unwrap();
        assert!(open.checkpoint.is_none() && !open.schema_applied);
        let mut s = c.apply_schema(ApplySchemaRequest { session: self.session(), model: Some(self.model.clone()) }).await.unwrap().into_inner();
        while let Some(r) = s.message().await.unwrap() { let r = r.result.unwrap(); if r.outcome() != ObjectOutcome::Created { println!("  {r:?}"); } }
        for t in &self.model.tables { if matches!(t.replica_identity(), v1::ReplicaIdentity::None) { self.src.batch_execute(&format!("ALTER TABLE {} REPLICA IDENTITY FULL", strait_postgres::quote::qualified(&t.schema, &t.name))).await.unwrap(); } }
        let list: Vec<String> = self.model.tables.iter().map(|t| strait_postgres::quote::qualified(&t.schema, &t.name)).collect();
        self.src.batch_execute(&format!("CREATE PUBLICATION p FOR TABLE ONLY {}", list.join(", ONLY "))).await.unwrap();
        let row = self.src.query_one("SELECT lsn FROM pg_create_logical_replication_slot('live','pgoutput')", &[]).await.unwrap();
        let begin_lsn: u64 = row.get::<_, tokio_postgres::types::PgLsn>(0).into();
        let begun = c.begin_tables(BeginTablesRequest { session: self.session(), source: Some(self.identity.clone()), table_ids: self.model.tables.iter().map(|t| t.table_id).collect(), begin_lsn }).await.unwrap().into_inner();
        for t in &self.model.tables.clone() {
            let st = begun.tables.iter().find(|s| s.table_id == t.table_id).unwrap();
            let n = self.chunk(&mut c, t, st.generation, 0).await.unwrap();
            assert!(!n.existed);
            let n2 = self.chunk(&mut c, t, st.generation, 0).await.unwrap();
            assert!(n2.existed && n2.rows == n.rows);
            let mut s = c.finish_table(FinishTableRequest { session: self.session(), table_id: t.table_id, generation: st.generation, chunks: 1 }).await.unwrap().into_inner();
            while let Some(r) = s.message().await.unwrap() { let r = r.result.unwrap(); if r.outcome() != ObjectOutcome::Created { println!("  {r:?}"); } }
        }
        let open = self.open().await.unwrap();
        assert!(open.schema_applied && open.tables.iter().all(|t| t.phase() == CopyPhase::Ready), "{open:?}");
        assert_eq!(open.checkpoint.unwrap().durable_lsn, begin_lsn);
    }
    async fn chunk(&self, c: &mut DataServiceClient<tonic::transport::Channel>, t: &Table, generation: u32, chunk: u32) -> Result<CopyChunkResponse, Status> {
        let cols: Vec<String> = t.columns.iter().filter(|c| c.generated.is_none()).map(|c| c.name.clone()).collect();
        let list: Vec<String> = cols.iter().map(|c| format!("\"{c}\"")).collect();
        let out = self.src.copy_out(&format!("COPY (SELECT {} FROM ONLY {}) TO STDOUT", list.join(","), strait_postgres::quote::qualified(&t.schema, &t.name))).await.unwrap();
        let mut out = std::pin::pin!(out);
        let mut messages = vec![CopyChunkRequest { message: Some(copy_chunk_request::Message::Header(CopyChunkHeader { session: self.session(), table_id: t.table_id, generation, chunk, columns: cols })) }];
        let mut rows = 0;
        while let Some(b) = out.next().await { rows += 1; messages.push(CopyChunkRequest { message: Some(copy_chunk_request::Message::Data(b.unwrap())) }); }
        messages.push(CopyChunkRequest { message: Some(copy_chunk_request::Message::End(CopyChunkEnd { rows })) });
        c.copy_chunk(tokio_stream::iter(messages)).await.map(|r| r.into_inner())
    }
    /// everything new in the slot as changes; consumes the slot
    async fn fetch(&mut self) {
        let rows = self.src.query("SELECT data FROM pg_logical_slot_get_binary_changes('live', NULL, NULL, 'proto_version','1','publication_names','p','messages','true')", &[]).await.unwrap();
        let by_name: HashMap<(String, String), u32> = self.model.tables.iter().map(|t| ((t.schema.clone(), t.name.clone()), t.table_id)).collect();
        let mut last = 0;
        for r in rows {
            let data: Vec<u8> = r.get(0);
            let m = pgoutput::decode(data.into()).unwrap();
            use change::Change as C;
            let row = |relation_id, op: RowOperation, old: Option<OldTuple>, new: Option<pgoutput::TupleData>| {
                let (full, old) = match old { None => (false, Bytes::new()), Some(OldTuple::Key(t)) => (false, t.as_bytes()), Some(OldTuple::Full(t)) => (true, t.as_bytes()) };
                C::Row(RowChange { relation_id, operation: op.into(), old_tuple: old, old_is_full: full, new_tuple: new.map(|t| t.as_bytes()).unwrap_or_default() })
            };
            let c = match m {
                LogicalMessage::Begin(b) => C::Begin(Begin { commit_lsn: b.final_lsn.0, xid: b.xid, commit_time_us: 0 }),
                LogicalMessage::Commit(c) => { last = c.end_lsn.0; C::Commit(Commit { commit_lsn: c.commit_lsn.0, end_lsn: c.end_lsn.0 }) }
                LogicalMessage::Relation(r) => C::Relation(RelationDefinition { relation_id: r.relation_id, table_id: by_name[&(r.schema.clone(), r.name.clone())], target: Some(TableName::new(r.schema.clone(), r.name.clone())),
                    replica_identity: match r.replica_identity { b'f' => v1::ReplicaIdentity::Full, b'i' => v1::ReplicaIdentity::Index, b'n' => v1::ReplicaIdentity::None, _ if r.columns.iter().any(|c| c.key) => v1::ReplicaIdentity::PrimaryKey, _ => v1::ReplicaIdentity::None }.into(),
                    columns: r.columns.into_iter().map(|c| RelationColumn { name: c.name, key: c.key }).collect() }),
                LogicalMessage::Insert { relation_id, new } => row(relation_id, RowOperation::Insert, None, Some(new)),
                LogicalMessage::Update { relation_id, old, new } => row(relation_id, RowOperation::Update, old, Some(new)),
                LogicalMessage::Delete { relation_id, old } => row(relation_id, RowOperation::Delete, Some(old), None),
                LogicalMessage::Truncate { relation_ids, restart_identity, .. } => C::Truncate(Truncate { restart_identity, relations: relation_ids.into_iter().map(|id| TruncatedRelation { table_id: id, condition: "".into() }).collect() }),
                _ => continue,
            };
            self.pending.push(Change { change: Some(c) });
        }
    }
}

struct StreamHandle { tx: mpsc::Sender<StreamChangesRequest>, state: watch::Receiver<(Option<Ack>, i64, Option<Status>)>, notices: Arc<std::sync::Mutex<Vec<String>>>, objects: Arc<std::sync::Mutex<Vec<ObjectResult>>>, ready: StreamReady, sequence: u64, sent: i64 }
impl StreamHandle {
    async fn start(rig: &Rig) -> Result<StreamHandle, Status> {
        let (tx, rx) = mpsc::channel(4);
        tx.send(StreamChangesRequest { message: Some(stream_changes_request::Message::Open(OpenStream { session: rig.session(), source: Some(rig.identity.clone()) })) }).await.unwrap();
        let mut inbound = rig.client().await.stream_changes(ReceiverStream::new(rx)).await?.into_inner();
        let ready = match inbound.message().await?.and_then(|m| m.message) { Some(stream_changes_response::Message::Ready(r)) => r, other => panic!("{other:?}") };
        let (stx, state) = watch::channel((None, ready.credit_bytes as i64, None));
        let notices: Arc<std::sync::Mutex<Vec<String>>> = Default::default(); let objects: Arc<std::sync::Mutex<Vec<ObjectResult>>> = Default::default();
        let (n, o) = (notices.clone(), objects.clone());
        tokio::spawn(async move {
            loop {
                match inbound.message().await {
                    Ok(Some(m)) => match m.message.unwrap() {
                        stream_changes_response::Message::Ack(a) => { stx.send_modify(|s| s.0 = Some(a)); }
                        stream_changes_response::Message::Credit(c) => { stx.send_modify(|s| s.1 += c.bytes as i64); }
                        stream_changes_response::Message::Notice(x) => n.lock().unwrap().push(x.text),
                        stream_changes_response::Message::Object(x) => o.lock().unwrap().push(x),
                        other => panic!("{other:?}"),
                    },
                    Ok(None) => { stx.send_modify(|s| s.2 = Some(Status::ok("end"))); return }
                    Err(e) => { stx.send_modify(|s| s.2 = Some(e)); return }
                }
            }
        });
        Ok(StreamHandle { tx, state, notices, objects, ready, sequence: 0, sent: 0 })
    }
    async fn send(&mut self, changes: Vec<Change>) -> Result<(), Status> {
        loop { // credit
            let (credit, err) = { let s = self.state.borrow(); (s.1, s.2.clone()) };
            if let Some(e) = err { return Err(e) }
            if credit - self.sent > 0 { break }
            let _ = tokio::time::timeout(Duration::from_secs(60), self.state.changed()).await.expect("credit deadlock");
        }
        self.sequence += 1;
        let f = ChangeFrame { sequence: self.sequence, changes, traceparent: "".into() };
        self.sent += f.encoded_len() as i64;
        if self.tx.send(StreamChangesRequest { message: Some(stream_changes_request::Message::Frame(f)) }).await.is_err() {
            let _ = tokio::time::timeout(Duration::from_secs(5), self.state.wait_for(|s| s.2.is_some())).await;
            return Err(self.state.borrow().2.clone().unwrap_or(Status::unknown("gone")));
        }
        Ok(())
    }
    async fn send_all(&mut self, changes: &[Change], per_frame: usize) -> Result<(), Status> {
        let mut frame = vec![]; let mut bytes = 0;
        for c in changes { bytes += c.encoded_len(); frame.push(c.clone()); if frame.len() >= per_frame || bytes > 1 << 20 { self.send(std::mem::take(&mut frame)).await?; bytes = 0; } }
        if !frame.is_empty() { self.send(frame).await?; }
        Ok(())
    }
    async fn wait(&mut self, f: impl Fn(&Ack) -> bool, secs: u64) -> Result<Ack, Status> {
        let s = tokio::time::timeout(Duration::from_secs(secs), self.state.wait_for(|s| s.2.is_some() || s.0.as_ref().is_some_and(|a| f(a)))).await.expect("ack timeout").unwrap();
        match &s.0 { Some(a) if f(a) => Ok(a.clone()), _ => Err(s.2.clone().unwrap()) }
    }
}
fn last_end(changes: &[Change]) -> u64 { changes.iter().rev().find_map(|c| match &c.change { Some(change::Change::Commit(c)) => Some(c.end_lsn), _ => None }).unwrap_or(0) }
fn failure(s: &Status) -> Failure { Failure::decode(s.details()).unwrap_or_default() }

async fn digest(db: &Db, t: &Table) -> (i64, String) {
    let cols: Vec<String> = t.columns.iter().map(|c| format!("\"{}\"::text", c.name)).collect();
    let expr = if cols.is_empty() { "'x'".into() } else { format!("ROW({})::text", cols.join(",")) };
    let row = db.query_one(&format!("SELECT count(*), coalesce(md5(string_agg({expr}, E'\\n' ORDER BY {expr} COLLATE \"C\")),'') FROM ONLY {} t", strait_postgres::quote::qualified(&t.schema, &t.name)), &[]).await.unwrap();
    (row.get(0), row.get(1))
}
async fn compare(rig: &Rig, what: &str) {
    let mut bad = false;
    for t in &rig.model.tables { let (a, b) = (digest(&rig.src, t).await, digest(&rig.dst, t).await); if a != b { println!("  MISMATCH {what}: {}.{} {a:?} {b:?}", t.schema, t.name); bad = true; } }
    assert!(!bad, "{what}");
}
/// run sql at source, then stream what it made and compare
async fn round(rig: &mut Rig, stream: &mut StreamHandle, what: &str, sqls: &[&str]) {
    for s in sqls { rig.src.batch_execute(s).await.unwrap_or_else(|e| panic!("{s}: {e:?}")); }
    rig.fetch().await;
    let changes = std::mem::take(&mut rig.pending);
    let end = last_end(&changes);
    stream.send_all(&changes, 500).await.unwrap_or_else(|s| panic!("{what}: {s:?} {:?}", failure(&s)));
    let t = Instant::now();
    let before = stream.notices.lock().unwrap().len();
    let ack = stream.wait(|a| a.applied_lsn >= end, 120).await.unwrap_or_else(|s| panic!("{what}: {} {:?}", s.code(), failure(&s)));
    compare(rig, what).await;
    println!("ok   {what}: {} changes in {:?}; conflicts {}", changes.len(), t.elapsed(), ack.conflicts);
    for n in &stream.notices.lock().unwrap()[before..] { println!("       notice: {n}"); }
}
include!("scenarios.in");
