use std::io::Write;
use std::sync::{Arc, Mutex};

use clap::Parser;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::Tracer as _;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    telemetry: TelemetryOptions,
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The lines that `log` writes as JSON, with a tracer but no exporter.
fn json_lines(log: impl FnOnce()) -> String {
    let captured = Captured::default();
    let provider = export::tracer_without_exporter(1.0);
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")))
        .with(
            fmt::layer()
                .fmt_fields(fmt::format::JsonFields::new())
                .event_format(format::JsonWithTrace::default())
                .with_writer(captured.clone()),
        );
    tracing::subscriber::with_default(subscriber, log);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_line_of_json_inside_a_span_names_its_trace() {
    let line = json_lines(|| {
        let span = tracing::info_span!("work", task = "t1");
        span.in_scope(|| tracing::info!(rows = 3, "copied"));
    });
    assert!(line.starts_with('{') && line.ends_with("\"}\n"), "{line}");
    for part in
        [r#""rows":3"#, r#""message":"copied""#, r#""task":"t1""#, r#""trace_id":""#, r#""span_id":""#]
    {
        assert!(line.contains(part), "{line} lacks {part}");
    }
    let id = line.split(r#""trace_id":""#).nth(1).unwrap();
    assert!(id[..32].bytes().all(|b| b.is_ascii_hexdigit()) && id[..32] != "0".repeat(32));
}

#[test]
fn a_line_of_json_outside_a_span_is_whole() {
    let line = json_lines(|| tracing::info!("alone"));
    assert!(line.ends_with("}\n") && !line.contains("trace_id"), "{line}");
    assert_eq!(line.matches('\n').count(), 1);
}

#[test]
fn options_check_their_values() {
    let parse = |args: &[&str]| Options::try_parse_from(["test"].iter().chain(args));
    for refused in ["--log-level===", "--log-format=xml", "--trace-ratio=2", "--trace-ratio=NaN"] {
        assert!(parse(&[refused]).is_err(), "{refused}");
    }
    let options = parse(&["--log-level=info,strait=debug", "--trace-ratio=0.5"]).unwrap().telemetry;
    assert_eq!((options.trace_ratio, options.log_format), (0.5, LogFormat::Text));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_collector_does_not_hold_the_end_up() {
    // A port that was free a moment ago: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let guard = export::providers(&format!("http://127.0.0.1:{port}"), "test", 1.0, None).unwrap();
    let started = std::time::Instant::now();
    guard.shutdown();
    assert!(started.elapsed() < FLUSH_DEADLINE + Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_and_metrics_reach_the_collector() {
    let (collector, mut calls) = collector().await;
    let guard = export::providers(&collector, "test", 1.0, None).unwrap();
    drop(guard.tracer.as_ref().unwrap().tracer("test").start("work"));
    guard.meter.as_ref().unwrap().meter("test").u64_counter("rows").build().add(1, &[]);
    guard.shutdown();
    let mut received = [calls.recv().await.unwrap(), calls.recv().await.unwrap()];
    received.sort();
    assert_eq!(
        received,
        [
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        ]
    );
}

/// Something that takes every gRPC call, answers with an empty message and passes the path on.
async fn collector() -> (String, tokio::sync::mpsc::Receiver<String>) {
    use tonic::codegen::http;
    use tonic::service::{AxumBody, AxumRouter, Routes};

    let (called, calls) = tokio::sync::mpsc::channel(8);
    let answer = move |request: http::Request<AxumBody>| {
        let called = called.clone();
        async move {
            called.send(request.uri().path().to_owned()).await.unwrap();
            let empty_message = vec![0; 5];
            let headers = [("content-type", "application/grpc"), ("grpc-status", "0")];
            let response = headers.into_iter().fold(http::Response::builder(), |b, (k, v)| b.header(k, v));
            response.body(AxumBody::from(empty_message)).unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let routes = Routes::from(AxumRouter::new().fallback(answer));
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming));
    (uri, calls)
}

#[test]
fn exporting_outside_a_runtime_is_an_error() {
    assert!(matches!(
        export::providers("http://127.0.0.1:1", "test", 1.0, None),
        Err(TelemetryError::NoRuntime)
    ));
}
