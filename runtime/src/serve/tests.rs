use std::sync::Arc;

use strait_proto::v1::control_service_client::ControlServiceClient;
use strait_proto::v1::control_service_server::{ControlService, ControlServiceServer};
use strait_proto::v1::{AgentMessage, CoordinatorMessage};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::security::Expected;

const SERVICE: &str = "strait.v1.ControlService";
const DEADLINE: Duration = Duration::from_secs(10);

/// Streams nothing and never ends; tells when a call came and when its response was dropped.
#[derive(Clone, Default)]
struct Silent {
    called: Arc<Notify>,
    dropped: Arc<Notify>,
}

#[tonic::async_trait]
impl ControlService for Silent {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn session(
        &self,
        _: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let dropped = Arc::clone(&self.dropped);
        tokio::spawn(async move {
            sender.closed().await;
            dropped.notify_one();
        });
        self.called.notify_one();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

struct Running {
    uri: String,
    service: Silent,
    shutdown: Shutdown,
    served: JoinHandle<Result<(), ServeError>>,
}

async fn start(drain_deadline: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let (service, shutdown) = (Silent::default(), Shutdown::new());
    let serve = Serve::new(Security::PlainText)
        .add_service(ControlServiceServer::new(service.clone()), Access::operators())
        .drain_deadline(drain_deadline);
    let served = tokio::spawn(serve.run(listener, shutdown.clone()));
    Running { uri, service, shutdown, served }
}

fn channel(uri: &str) -> Channel {
    Dial::new(uri, &Security::PlainText, Expected::coordinator()).unwrap().connect_lazy()
}

async fn health(uri: &str, service: &str) -> Result<i32, Status> {
    let mut client = HealthClient::new(channel(uri));
    let request = HealthCheckRequest { service: service.into() };
    client.check(request).await.map(|response| response.into_inner().status)
}

#[tokio::test]
async fn health_is_told_for_the_server_and_each_service() {
    let running = start(DEADLINE).await;
    for service in ["", SERVICE] {
        assert_eq!(health(&running.uri, service).await.unwrap(), 1, "{service:?}");
    }
    assert_eq!(health(&running.uri, "unknown").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_names_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

    let running = start(DEADLINE).await;
    let mut client = ServerReflectionClient::new(channel(&running.uri));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut responses =
        client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let response = responses.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = response else { panic!("{response:?}") };
    assert!(list.service.contains(&ServiceResponse { name: SERVICE.into() }), "{list:?}");
}

#[tokio::test]
async fn an_idle_server_ends_at_once() {
    let running = start(DEADLINE).await;
    health(&running.uri, "").await.unwrap();
    running.shutdown.trigger();
    tokio::time::timeout(DEADLINE / 2, running.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_at_the_deadline() {
    let running = start(Duration::from_millis(50)).await;
    let mut client = ControlServiceClient::new(channel(&running.uri));
    let mut stream = client.session(tokio_stream::pending()).await.unwrap().into_inner();
    running.service.called.notified().await;
    running.shutdown.trigger();
    tokio::time::timeout(DEADLINE, running.served).await.unwrap().unwrap().unwrap();
    tokio::time::timeout(DEADLINE, stream.message()).await.unwrap().unwrap_err();
    tokio::time::timeout(DEADLINE, running.service.dropped.notified()).await.unwrap();
}

#[tokio::test]
async fn only_loopback_is_served_without_tls() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = Serve::new(Security::PlainText).run(listener, Shutdown::new()).await.unwrap_err();
    assert!(matches!(error, ServeError::NotLoopback { .. }));
    assert!(error.to_string().contains("without TLS"), "{error}");
}

#[tokio::test]
async fn addresses_are_checked_before_they_are_dialled() {
    let dial = |uri: &str| Dial::new(uri, &Security::PlainText, Expected::coordinator());
    assert!(dial("http://localhost:7400").is_ok());
    assert!(matches!(dial("https://localhost:7400"), Err(ChannelError::Tls { .. })));
    for uri in ["", "localhost:7400", "localhost", "/path", "ftp://h:1", "http://", "http://localhost"] {
        assert!(matches!(dial(uri), Err(ChannelError::Address { .. })), "{uri}");
    }
}
