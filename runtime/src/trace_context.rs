//! The W3C trace context of a call: put into its metadata by the client, taken out of it by the server.
//!
//! A trace then follows one piece of work through coordinator and agents. Where no tracing is set up, or a
//! peer sends none, calls go through unchanged.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use opentelemetry::metrics::Histogram;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::{Code, Request, Status};
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::telemetry::names;

const TRACEPARENT: &str = "traceparent";

/// Puts the current span's context into the metadata of an outgoing call.
pub fn inject(metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut IntoMetadata(metadata));
}

/// The context that came with a call; an empty one where none did.
#[must_use]
pub fn extract(metadata: &MetadataMap) -> Context {
    TraceContextPropagator::new().extract(&FromMetadata(metadata))
}

/// The current span as a `traceparent` header's value; `None` outside a traced span.
#[must_use]
pub fn traceparent() -> Option<String> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
    headers.remove(TRACEPARENT)
}

/// Whether the trace that a `traceparent` header's value names is sent.
#[must_use]
pub fn is_sampled(traceparent: &str) -> bool {
    parse(traceparent).is_some_and(|context| context.span().span_context().is_sampled())
}

/// The context that a `traceparent` header's value names; `None` where it is not one. To be given to
/// `OpenTelemetrySpanExt::set_parent`.
#[must_use]
pub fn parse(traceparent: &str) -> Option<Context> {
    let headers = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&headers);
    let is_valid = context.span().span_context().is_valid();
    is_valid.then_some(context)
}

/// Makes a span that has not been entered a child of what a `traceparent` header's value names. Nothing happens where it
/// is none, or where no tracing is set up.
pub fn continue_from(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // Without an OpenTelemetry layer there is no trace to join.
        let _ = span.set_parent(parent);
    }
}

/// A client's interceptor that sends the current span's context along: `XClient::with_interceptor(channel,
/// SendTrace)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendTrace;

impl tonic::service::Interceptor for SendTrace {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        inject(request.metadata_mut());
        Ok(request)
    }
}

/// A server's service that opens a span for each call, under the caller's span, and measures how long the
/// answer took to begin. [`Serve`](crate::serve::Serve) puts it around everything.
#[derive(Clone, Debug)]
pub struct TraceCalls<S> {
    inner: S,
}

impl<S> TraceCalls<S> {
    /// Traces the calls to `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B> Service<http::Request<Body>> for TraceCalls<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        // Probes of health come every few seconds and say nothing.
        if path.starts_with("/grpc.") {
            return Box::pin(self.inner.call(request));
        }
        let span = server_span(&path, request.headers());
        let call = span.in_scope(|| self.inner.call(request));
        let recorded = span.clone();
        let timed = async move {
            let started = Instant::now();
            let result = call.await;
            let code = result.as_ref().map_or(Code::Internal, |response| code(response.headers()));
            recorded.record("rpc.response.status_code", code as i32);
            measure(path, code, started);
            result
        };
        Box::pin(timed.instrument(span))
    }
}

fn server_span(path: &str, headers: &http::HeaderMap) -> Span {
    let span = tracing::info_span!(
        names::SPAN_SERVER_CALL,
        otel.name = path,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = path,
        rpc.response.status_code = field::Empty,
    );
    let parent = TraceContextPropagator::new().extract(&FromHeaders(headers));
    if parent.span().span_context().is_valid() {
        // Without an OpenTelemetry layer there is no trace to join.
        let _ = span.set_parent(parent);
    }
    span
}

/// An error that ends a call before it streams stands in the response's own headers; anything else has begun
/// well.
fn code(headers: &http::HeaderMap) -> Code {
    Status::from_header_map(headers).map_or(Code::Ok, |status| status.code())
}

fn measure(method: String, code: Code, started: Instant) {
    static DURATION: OnceLock<Histogram<f64>> = OnceLock::new();
    let histogram = DURATION.get_or_init(|| {
        opentelemetry::global::meter(names::METER)
            .f64_histogram(names::METRIC_SERVER_CALL_DURATION)
            .with_unit("s")
            .with_description("Until the response began")
            .build()
    });
    let attributes = [
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.method", method),
        KeyValue::new("rpc.response.status_code", i64::from(code as i32)),
    ];
    histogram.record(started.elapsed().as_secs_f64(), &attributes);
}

struct IntoMetadata<'a>(&'a mut MetadataMap);

impl Injector for IntoMetadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        // An empty `tracestate` means the same as none.
        if value.is_empty() {
            return;
        }
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

struct FromMetadata<'a>(&'a MetadataMap);

impl Extractor for FromMetadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct FromHeaders<'a>(&'a http::HeaderMap);

impl Extractor for FromHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traced(test: impl FnOnce()) {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let subscriber =
            tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, test);
    }

    #[test]
    fn what_a_client_sends_a_server_continues() {
        traced(|| {
            let client = tracing::info_span!("client");
            client.set_parent(parse(PARENT).unwrap()).unwrap();
            let mut metadata = MetadataMap::new();
            client.in_scope(|| inject(&mut metadata));

            let server = server_span("/strait.v1.X/Y", &metadata.clone().into_headers());
            let trace_id = |context: &Context| context.span().span_context().trace_id().to_string();
            assert_eq!(trace_id(&server.context()), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(
                extract(&metadata).span().span_context().span_id(),
                client.context().span().span_context().span_id()
            );
        });
    }

    #[test]
    fn the_current_span_prints_as_a_traceparent_that_parses() {
        traced(|| {
            let span = tracing::info_span!("work");
            let text = span.in_scope(traceparent).unwrap();
            let parsed = parse(&text).unwrap();
            assert_eq!(
                parsed.span().span_context().span_id(),
                span.context().span().span_context().span_id()
            );
        });
    }

    #[test]
    fn without_tracing_nothing_is_sent() {
        let mut metadata = MetadataMap::new();
        inject(&mut metadata);
        assert!(metadata.is_empty());
        assert_eq!(traceparent(), None);
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for text in ["", "00", "00-0-0-0", "00-00000000000000000000000000000000-0000000000000000-01"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
