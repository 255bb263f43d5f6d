//! Logs to stderr; traces and metrics to an OpenTelemetry collector, where one is configured.
//!
//! Stdout belongs to what a program was asked for, so logs never go there. Without a collector nothing is
//! sent and nothing is kept; a collector that is down or slow costs telemetry, never replication.

mod export;
mod format;
pub mod names;
mod sampling;
mod scrape;

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

pub(crate) use scrape::server_ends;

/// Variables outside `STRAIT_…` that mean an option: its id and the variable. They win over the file.
pub(crate) const STANDARD_ENVIRONMENT: [(&str, &str); 2] =
    [("log_level", LOG_LEVEL_ENVIRONMENT), ("otlp_endpoint", OTLP_ENDPOINT_ENVIRONMENT)];
const LOG_LEVEL_ENVIRONMENT: &str = "RUST_LOG";
const OTLP_ENDPOINT_ENVIRONMENT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The options' place in `--help`.
const HELP_HEADING: &str = "Telemetry";
/// What is logged where nothing else is asked for.
const LOG_LEVEL_DEFAULT: &str = "info";
/// How long the last telemetry may take to leave when the process ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);

/// Options of every program that logs; to be flattened into its own.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryOptions {
    /// How log lines look on stderr
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_enum, value_name = "FORMAT", env = "STRAIT_LOG_FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,strait_sink_agent=debug` [env: RUST_LOG]
    /// [default: info]
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "LEVEL", env = "STRAIT_LOG_LEVEL", value_parser = check_log_level)]
    pub log_level: Option<String>,
    /// Send traces and metrics to the OpenTelemetry collector at this URI, by gRPC [env:
    /// OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "URI", env = "STRAIT_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// Serve metrics at /metrics for Prometheus, and health at /healthz, by plain HTTP on this address
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "ADDRESS", env = "STRAIT_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// The share of traces that start here to send, from 0 to 1, of pieces of a change stream five a second at most; one that
    /// started elsewhere is followed as it was begun
    #[arg(help_heading = HELP_HEADING)]
    #[arg(long, value_name = "RATIO", env = "STRAIT_TRACE_RATIO")]
    #[arg(default_value_t = 1.0, value_parser = check_ratio)]
    pub trace_ratio: f64,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            log_format: LogFormat::default(),
            log_level: None,
            otlp_endpoint: None,
            metrics_listen: None,
            trace_ratio: 1.0,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line, with trace_id and span_id.
    Json,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives of `RUST_LOG` or `--log-level` cannot be read.
    #[error("what to log, {directives:?}, is neither a level nor a list of directives")]
    LogLevel {
        /// The text.
        directives: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The collector's address or one of the `OTEL_…` variables cannot be used.
    #[error("set up the OpenTelemetry exporter for {endpoint:?}")]
    Exporter {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The exporter needs the runtime whose connections it uses.
    #[error("set up the OpenTelemetry exporter outside a Tokio runtime")]
    NoRuntime,
    /// The metrics' address is taken, or is none of this machine's.
    #[error("serve metrics on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The metrics cannot be read for Prometheus.
    #[error("set up metrics for Prometheus")]
    Prometheus(#[source] opentelemetry_sdk::error::OTelSdkError),
    /// The process has its subscriber already.
    #[error("set up logging twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets logging, tracing and metrics up for the whole process. `service_name` is what the collector shows,
/// for instance `strait-sink-agent`; `OTEL_SERVICE_NAME` overrides it. To be kept in `main` until the end.
///
/// # Errors
/// When an option cannot be used, or the process has been set up already.
pub fn init(
    options: &TelemetryOptions,
    service_name: &'static str,
) -> Result<TelemetryGuard, TelemetryError> {
    let filter = filter(options)?;
    let endpoint = options.otlp_endpoint.clone().or_else(|| environment(OTLP_ENDPOINT_ENVIRONMENT));
    let scraped = options.metrics_listen.map(scrape::serve).transpose()?;
    let guard = match &endpoint {
        Some(endpoint) => export::providers(endpoint, service_name, options.trace_ratio, scraped)?,
        // Lines of JSON carry trace ids, so that the logs of several processes can be joined without a
        // collector.
        None => TelemetryGuard {
            tracer: (options.log_format == LogFormat::Json)
                .then(|| export::tracer_without_exporter(options.trace_ratio)),
            meter: scraped.map(|scraped| export::meter(service_name, scraped)),
        },
    };
    let spans = guard.tracer.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer(service_name)).with_location(false)
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(spans)
        .with(lines(options.log_format))
        .try_init()
        .map_err(TelemetryError::Twice)?;
    guard.install();
    Ok(guard)
}

/// Sends what is still there when it goes out of scope, or on [`shutdown`](Self::shutdown), within a
/// deadline.
#[derive(Debug)]
#[must_use = "telemetry ends when the guard is dropped"]
pub struct TelemetryGuard {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
}

impl TelemetryGuard {
    /// Sends the last traces and metrics and ends telemetry. Takes three seconds at most; blocks the thread
    /// meanwhile.
    pub fn shutdown(mut self) {
        self.flush();
    }

    fn install(&self) {
        if let Some(meter) = &self.meter {
            opentelemetry::global::set_meter_provider(meter.clone());
        }
    }

    fn flush(&mut self) {
        let (tracer, meter) = (self.tracer.take(), self.meter.take());
        if meter.is_none() {
            // Without an exporter there is nothing to send.
            return;
        }
        let (done, finished) = mpsc::sync_channel(1);
        // The SDK's own deadlines do not cover all of its shutdown, so it gets a thread that may be left
        // behind.
        std::thread::spawn(move || {
            let traces = tracer.map(|provider| provider.shutdown_with_timeout(FLUSH_DEADLINE));
            let metrics = meter.map(|provider| provider.shutdown_with_timeout(FLUSH_DEADLINE));
            let failed = [traces, metrics].into_iter().flatten().find_map(Result::err);
            // The receiver is gone when the deadline has passed.
            let _ = done.send(failed);
        });
        match finished.recv_timeout(FLUSH_DEADLINE) {
            Ok(None) => {}
            Ok(Some(error)) => tracing::warn!(%error, "could not send the last telemetry"),
            Err(_) => tracing::warn!(
                deadline_s = FLUSH_DEADLINE.as_secs(),
                "the last telemetry did not leave in time"
            ),
        }
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

fn filter(options: &TelemetryOptions) -> Result<EnvFilter, TelemetryError> {
    let directives = options
        .log_level
        .clone()
        .or_else(|| environment(LOG_LEVEL_ENVIRONMENT))
        .unwrap_or_else(|| LOG_LEVEL_DEFAULT.to_owned());
    EnvFilter::try_new(&directives).map_err(|source| TelemetryError::LogLevel { directives, source })
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn lines<S>(log_format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(io::stderr);
    match log_format {
        LogFormat::Text => layer.with_ansi(coloured()).boxed(),
        LogFormat::Json => layer
            .fmt_fields(fmt::format::JsonFields::new())
            .event_format(format::JsonWithTrace::default())
            .with_ansi(false)
            .boxed(),
    }
}

/// Colours only where a person sees them and did not decline (no-color.org).
fn coloured() -> bool {
    io::stderr().is_terminal() && environment("NO_COLOR").is_none()
}

fn check_log_level(directives: &str) -> Result<String, String> {
    EnvFilter::try_new(directives).map(|_| directives.to_owned()).map_err(|_| {
        "expected error, warn, info, debug or trace, or directives such as info,strait=debug".to_owned()
    })
}

fn check_ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests;
