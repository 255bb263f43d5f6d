//! `strait-source-agent`: reads its configuration, then runs the library until a signal comes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use strait_postgres::{ConnectionUri, EndpointConfig};
use strait_runtime::config::{self, CommonOptions, ConfigError, parse_duration};
use strait_runtime::security::{Expected, SecurityOptions};
use strait_runtime::{Shutdown, telemetry};
use strait_source_agent::{Compression, Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Captures PostgreSQL databases for Strait: schema, snapshot and change stream.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    security: SecurityOptions,
    /// The name that tasks use for this agent
    #[arg(long, env = "STRAIT_AGENT", value_name = "NAME")]
    agent: String,
    /// Where the coordinator listens
    #[arg(long, env = "STRAIT_COORDINATOR", value_name = "URI", default_value = "https://127.0.0.1:7400")]
    coordinator: String,
    /// Connections that one task copies tables with
    #[arg(long, env = "STRAIT_COPY_CONNECTIONS", value_name = "COUNT", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    copy_connections: u16,
    /// Where to listen for sink-agents that this agent cannot dial
    #[arg(long, env = "STRAIT_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where they reach this agent, where that is not the address it listens on
    #[arg(long, env = "STRAIT_DATA_ADDRESS", value_name = "URI", requires = "listen")]
    data_address: Option<String>,
    /// Whether rows and changes are compressed on their way to the sink-agent
    #[arg(long, env = "STRAIT_COMPRESSION", value_name = "HOW", value_enum, default_value_t)]
    compression: Compression,
    /// How often a message is written to the source's log, to measure latency and let an idle slot advance
    #[arg(long, env = "STRAIT_HEARTBEAT", value_name = "DURATION", default_value = "5s", value_parser = heartbeat)]
    heartbeat: Duration,
}

fn heartbeat(text: &str) -> Result<Duration, String> {
    let period = parse_duration(text)?;
    if period < Duration::from_millis(100) {
        return Err("expected at least 100ms".to_owned());
    }
    Ok(period)
}

fn main() -> anyhow::Result<ExitCode> {
    let (telemetry, config) = config::load(&["endpoints"], |options: Options, tables| {
        let endpoints: BTreeMap<String, EndpointConfig> = tables.entries("endpoints")?;
        for (name, endpoint) in &endpoints {
            endpoint.uri.parse::<ConnectionUri>().map_err(|error| {
                ConfigError::invalid(format!("endpoints.{name}.uri"), format!("is wrong: {error}"))
            })?;
        }
        let security = options.security.resolve(&Expected::source_agent(&options.agent))?;
        let config = Config {
            agent: options.agent,
            coordinator: options.coordinator,
            security,
            compression: options.compression,
            listen: options.listen,
            data_address: options.data_address,
            endpoints,
            copy_connections: options.copy_connections.into(),
            heartbeat: options.heartbeat,
        };
        Ok((options.common.telemetry, config))
    });
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a cryptography provider is installed already"))?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        let _telemetry = telemetry::init(&telemetry, "strait-source-agent")?;
        let shutdown = Shutdown::on_signals().context("install the signal handlers")?;
        strait_source_agent::run(config, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}
