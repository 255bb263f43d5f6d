//! `/metrics` for Prometheus and `/healthz` for whoever restarts programs, on an address of their own.
//!
//! The metrics are the same that go to a collector. Plain HTTP, without certificates: names of tasks and numbers, never a
//! value of a row; and whoever opens the address to other machines says so.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::net::TcpListener;

use super::TelemetryError;

/// Servers of this process that do not serve any more.
static ENDING: AtomicUsize = AtomicUsize::new(0);

/// A server of this process ends: the process is not to be sent anything new.
pub(crate) fn server_ends() {
    ENDING.fetch_add(1, Ordering::Relaxed);
}

/// Serves on `address` for as long as the process lives. What is returned reads the metrics.
pub(super) fn serve(address: SocketAddr) -> Result<PrometheusExporter, TelemetryError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let failed = |source| TelemetryError::Listen { address, source };
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .build()
        .map_err(TelemetryError::Prometheus)?;
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let routes = Router::new()
        .route("/metrics", get(move || async move { metrics(&registry) }))
        .route("/healthz", get(health));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::warn!(%address, %error, "metrics are not served any more");
        }
    });
    Ok(exporter)
}

fn metrics(registry: &Registry) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&registry.gather(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn health() -> (StatusCode, &'static str) {
    match ENDING.load(Ordering::Relaxed) {
        0 => (StatusCode::OK, "serving\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "ending\n"),
    }
}
