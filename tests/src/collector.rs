//! An OpenTelemetry collector of a test: takes what the parts export over OTLP, and keeps it to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

/// The collector; it ends with its value.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    arrived: Arrived,
    _serving: AbortOnDropHandle<()>,
}

/// A span as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArrivedSpan {
    /// The process, by its service's name.
    pub service: String,
    /// The span's name.
    pub name: String,
}

#[derive(Clone, Debug, Default)]
struct Arrived(Arc<Mutex<Everything>>);

#[derive(Debug, Default)]
struct Everything {
    /// By trace.
    spans: BTreeMap<Vec<u8>, BTreeSet<ArrivedSpan>>,
    metrics: BTreeSet<String>,
    /// All of it, as text.
    text: String,
}

impl Collector {
    /// Listens on a free port of loopback.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for telemetry")?;
        let address = listener.local_addr()?;
        let arrived = Arrived::default();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(arrived.clone()))
            .add_service(MetricsServiceServer::new(arrived.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move {
            if let Err(error) = server.await {
                eprintln!("the collector ended: {error}");
            }
        });
        Ok(Self { address, arrived, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Where it takes telemetry.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of each trace.
    pub fn traces(&self) -> Vec<BTreeSet<ArrivedSpan>> {
        self.arrived.lock().spans.values().cloned().collect()
    }

    /// The names of the metrics.
    pub fn metrics(&self) -> BTreeSet<String> {
        self.arrived.lock().metrics.clone()
    }

    /// Everything that arrived, attributes included, as text.
    pub fn text(&self) -> String {
        self.arrived.lock().text.clone()
    }
}

impl Arrived {
    fn lock(&self) -> std::sync::MutexGuard<'_, Everything> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for Arrived {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        let mut everything = self.lock();
        everything.text.push_str(&format!("{request:?}\n"));
        for resource in request.resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = service.map(|attribute| format!("{:?}", attribute.value)).unwrap_or_default();
            let service = service.split('"').nth(1).unwrap_or_default().to_owned();
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let arrived = ArrivedSpan { service: service.clone(), name: span.name };
                everything.spans.entry(span.trace_id).or_default().insert(arrived);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Arrived {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let request = request.into_inner();
        let mut everything = self.lock();
        everything.text.push_str(&format!("{request:?}\n"));
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        everything.metrics.extend(scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
