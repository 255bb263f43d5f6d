//! The OpenTelemetry SDK, set up for export by OTLP over gRPC.

use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, TracerProviderBuilder};

use super::sampling::Roots;
use super::{TelemetryError, TelemetryGuard, environment};

/// Providers that send to the collector at `endpoint`, in batches, from threads of their own.
pub(super) fn providers(
    endpoint: &str,
    service_name: &'static str,
    trace_ratio: f64,
    scraped: Option<PrometheusExporter>,
) -> Result<TelemetryGuard, TelemetryError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let exporter =
        |source: ExporterBuildError| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source };
    let spans = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().map_err(exporter)?;
    let metrics = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build().map_err(exporter)?;
    let resource = resource(service_name);
    let tracer = sampled(trace_ratio).with_resource(resource.clone()).with_batch_exporter(spans).build();
    let meter = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(metrics);
    let meter = match scraped {
        Some(scraped) => meter.with_reader(scraped).build(),
        None => meter.build(),
    };
    Ok(TelemetryGuard { tracer: Some(tracer), meter: Some(meter) })
}

/// A provider whose metrics are fetched, and sent nowhere.
pub(super) fn meter(service_name: &'static str, scraped: PrometheusExporter) -> SdkMeterProvider {
    SdkMeterProvider::builder().with_resource(resource(service_name)).with_reader(scraped).build()
}

/// A provider that gives spans their ids and sends nothing.
pub(super) fn tracer_without_exporter(trace_ratio: f64) -> SdkTracerProvider {
    sampled(trace_ratio).build()
}

/// A trace that began elsewhere is sent exactly if it was sampled there, so that no trace is sent in part.
fn sampled(trace_ratio: f64) -> TracerProviderBuilder {
    SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(Roots::new(trace_ratio))))
}

fn resource(service_name: &'static str) -> Resource {
    let resource = Resource::builder();
    // The SDK reads OTEL_SERVICE_NAME by itself.
    match environment("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name(service_name).build(),
    }
}
