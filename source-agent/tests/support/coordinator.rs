//! A coordinator that says what the test tells it to.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_postgres::EndpointConfig;
use strait_proto::v1::control_service_server::{ControlService, ControlServiceServer};
use strait_proto::v1::data_service_server::DataServiceServer;
use strait_proto::v1::{self, agent_message, coordinator_message, report::Report};
use strait_runtime::Shutdown;
use strait_source_agent::Config;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::eventually;
use super::postgres::Server;
use super::sink::{Sink, SinkService};

pub(crate) const TASK: &str = "abcdefghij12";

/// Both peers of one agent, and the agent.
pub(crate) struct World {
    pub(crate) sink: Arc<Sink>,
    pub(crate) reports: Arc<Mutex<Vec<Report>>>,
    results: Arc<Mutex<Vec<v1::CommandResult>>>,
    hellos: Arc<AtomicUsize>,
    orders: broadcast::Sender<coordinator_message::Message>,
    address: String,
    shutdown: Shutdown,
    agent: tokio::task::JoinHandle<()>,
    spec: v1::TaskSpec,
    config: Config,
}

#[derive(Clone)]
struct Control {
    orders: broadcast::Sender<coordinator_message::Message>,
    reports: Arc<Mutex<Vec<Report>>>,
    results: Arc<Mutex<Vec<v1::CommandResult>>>,
    hellos: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl ControlService for Control {
    type SessionStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut messages = request.into_inner();
        let (sender, receiver) = mpsc::channel(100);
        let mut orders = self.orders.subscribe();
        let control = self.clone();
        let say = |message| Ok(v1::CoordinatorMessage { message: Some(message) });
        let welcome = coordinator_message::Message::Welcome(v1::Welcome { version: "test".into() });
        sender.send(say(welcome)).await.unwrap();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Ok(order) = orders.recv() => { let _ = sender.send(say(order)).await; }
                    message = messages.message() => match message {
                        Ok(Some(message)) => control.note(message),
                        _ => return,
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl Control {
    fn note(&self, message: v1::AgentMessage) {
        match message.message.unwrap() {
            agent_message::Message::Report(report) => {
                self.reports.lock().unwrap().push(report.report.unwrap())
            }
            agent_message::Message::Result(result) => self.results.lock().unwrap().push(result),
            agent_message::Message::Hello(_) => drop(self.hellos.fetch_add(1, Ordering::SeqCst)),
        }
    }
}

impl World {
    pub(crate) async fn start(server: &Server, database: &str) -> Self {
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (orders, _) = broadcast::channel(100);
        let control = Control {
            orders: orders.clone(),
            reports: Arc::default(),
            results: Arc::default(),
            hellos: Arc::default(),
        };
        let (reports, results) = (Arc::clone(&control.reports), Arc::clone(&control.results));
        let hellos = Arc::clone(&control.hellos);
        let sink = Arc::new(Sink::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let max = strait_proto::DATA_MESSAGE_BYTES_MAX;
        let services =
            tonic::transport::Server::builder().add_service(ControlServiceServer::new(control)).add_service(
                DataServiceServer::new(SinkService(Arc::clone(&sink))).max_decoding_message_size(max),
            );
        tokio::spawn(services.serve_with_incoming(TcpListenerStream::new(listener)));
        let endpoint = EndpointConfig { uri: server.uri(database), password_env: None, password_file: None };
        let config = Config {
            agent: "a".into(),
            coordinator: address.clone(),
            security: strait_runtime::security::Security::PlainText,
            endpoints: BTreeMap::from([("e".to_owned(), endpoint)]),
            compression: strait_source_agent::Compression::Auto,
            listen: None,
            data_address: None,
            copy_connections: 3,
            heartbeat: Duration::from_millis(500),
        };
        let source =
            v1::EndpointReference { agent: "a".into(), endpoint: "e".into(), database: String::new() };
        let spec = v1::TaskSpec { source: Some(source), ..Default::default() };
        let (agent, shutdown) = start_agent(&config);
        Self { sink, reports, results, hellos, orders, address, shutdown, agent, spec, config }
    }

    /// Ends the agent as a crash would: nothing is said.
    pub(crate) async fn kill_agent(&mut self) {
        self.agent.abort();
        let _ = (&mut self.agent).await;
        let hellos = self.hellos.load(Ordering::SeqCst);
        (self.agent, self.shutdown) = start_agent(&self.config);
        eventually("a new session", async || self.hellos.load(Ordering::SeqCst) > hellos).await;
    }

    /// Connects to the source as another role from now on.
    pub(crate) async fn use_role(&mut self, role: &str) {
        let endpoint = self.config.endpoints.get_mut("e").unwrap();
        endpoint.uri = endpoint.uri.replace("postgres@", &format!("{role}@"));
        self.kill_agent().await;
    }

    pub(crate) async fn assign(&self, epoch: u64, once: bool) {
        self.order(coordinator_message::Message::Assign(v1::Assign {
            task_id: TASK.into(),
            epoch,
            spec: Some(self.spec.clone()),
            token: "secret".into(),
            data_address: self.address.clone(),
            once,
        }))
        .await;
    }

    pub(crate) async fn revoke(&self, epoch: u64) {
        self.order(coordinator_message::Message::Revoke(v1::Revoke { task_id: TASK.into(), epoch })).await;
        self.reported("stopped", |report| matches!(report, Report::Stopped(_))).await;
    }

    pub(crate) async fn precheck(&self) -> v1::PrecheckResult {
        let command =
            v1::PrecheckCommand { task_id: TASK.into(), spec: Some(self.spec.clone()), source: None };
        match self.command(v1::command::Command::Precheck(command)).await {
            v1::command_result::Result::Precheck(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn release(&self) -> v1::command_result::Result {
        let command = v1::ReleaseCommand { task_id: TASK.into(), spec: Some(self.spec.clone()) };
        self.command(v1::command::Command::Release(command)).await
    }

    async fn command(&self, command: v1::command::Command) -> v1::command_result::Result {
        let request_id = format!("{:?}", std::time::Instant::now());
        let order = v1::Command { request_id: request_id.clone(), command: Some(command) };
        self.order(coordinator_message::Message::Command(order)).await;
        let find = || {
            let results = self.results.lock().unwrap();
            results.iter().find(|result| result.request_id == request_id).cloned()
        };
        eventually("an answer", async || find().is_some()).await;
        find().unwrap().result.unwrap()
    }

    async fn order(&self, message: coordinator_message::Message) {
        eventually("a session", async || self.hellos.load(Ordering::SeqCst) > 0).await;
        self.orders.send(message).unwrap();
    }

    pub(crate) async fn reported(&self, what: &str, is: impl Fn(&Report) -> bool) {
        eventually(what, async || {
            let reports = self.reports.lock().unwrap();
            if let Some(Report::Failed(failure)) = reports.last()
                && !is(reports.last().unwrap())
            {
                panic!("{what}: {failure:?}");
            }
            reports.iter().any(&is)
        })
        .await;
    }

    pub(crate) async fn incremental(&self) {
        self.reported(
            "incremental",
            |report| matches!(report, Report::Phase(phase) if phase.phase() == v1::TaskState::Incremental),
        )
        .await;
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        let reports = self.reports.lock().unwrap();
        let text = |report: &Report| match report {
            Report::Notice(notice) => Some(notice.text.clone()),
            _ => None,
        };
        reports.iter().filter_map(text).collect()
    }

    pub(crate) fn failure(&self) -> Option<v1::Failure> {
        let reports = self.reports.lock().unwrap();
        reports.iter().find_map(|report| match report {
            Report::Failed(failure) => Some(failure.clone()),
            _ => None,
        })
    }

    pub(crate) fn last_progress(&self) -> Option<v1::StreamProgress> {
        let reports = self.reports.lock().unwrap();
        reports.iter().rev().find_map(|report| match report {
            Report::Progress(progress) => progress.stream.clone(),
            _ => None,
        })
    }
}

fn start_agent(config: &Config) -> (tokio::task::JoinHandle<()>, Shutdown) {
    let shutdown = Shutdown::new();
    let agent = tokio::spawn({
        let (config, shutdown) = (config.clone(), shutdown.clone());
        async move { strait_source_agent::run(config, shutdown).await.unwrap() }
    });
    (agent, shutdown)
}
