//! `strait-sink-agent`: parse, listen, run, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use strait_runtime::config::{self, CommonOptions};
use strait_runtime::security::{Expected, SecurityOptions};
use strait_runtime::{Shutdown, telemetry};
use strait_sink_agent::Config;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Writes destinations: schema, copied rows and changes
#[derive(Parser)]
#[command(name = "strait-sink-agent", version)]
struct Options {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    security: SecurityOptions,
    /// The name that tasks use
    #[arg(long, env = "STRAIT_AGENT", value_name = "NAME")]
    agent: String,
    /// Where the coordinator is
    #[arg(long, env = "STRAIT_COORDINATOR", value_name = "URI", default_value = "https://127.0.0.1:7400")]
    coordinator: String,
    /// Where to listen for source-agents
    #[arg(long, env = "STRAIT_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    listen: SocketAddr,
    /// Where source-agents reach this agent, where that is not the address it listens on
    #[arg(long, env = "STRAIT_DATA_ADDRESS", value_name = "URI")]
    data_address: Option<String>,
    /// The directory on a disk where transactions are kept until they commit, in files without a name
    #[arg(long, env = "STRAIT_SPOOL", value_name = "DIR", default_value = Config::SPOOL)]
    spool: PathBuf,
    /// Bytes that they may take together; with 0 transactions arrive after their commit only
    #[arg(long, env = "STRAIT_SPOOL_BYTES_MAX", value_name = "BYTES", default_value_t = Config::SPOOL_BYTES_MAX)]
    spool_bytes_max: u64,
    /// Connections that build the keys and indexes of one task at once
    #[arg(long, env = "STRAIT_BUILD_CONNECTIONS", value_name = "N", default_value_t = Config::BUILD_CONNECTIONS,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    build_connections: u16,
}

fn main() -> ExitCode {
    let (options, endpoints, security) = config::load(&["endpoints"], |options: Options, tables| {
        let endpoints = tables.entries("endpoints")?;
        let security = options.security.resolve(&Expected::sink_agent(&options.agent))?;
        Ok((options, endpoints, security))
    });
    let config = Config {
        agent: options.agent,
        coordinator: options.coordinator,
        security,
        endpoints,
        data_address: options.data_address,
        spool: options.spool,
        spool_bytes_max: options.spool_bytes_max,
        build_connections: options.build_connections.into(),
    };
    match run(&options.common, config, options.listen) {
        Ok(code) => code,
        Err(error) => {
            // Telemetry may be what failed.
            eprintln!("strait-sink-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(common: &CommonOptions, config: Config, listen: SocketAddr) -> anyhow::Result<ExitCode> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed already");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let _telemetry =
            telemetry::init(&common.telemetry, "strait-sink-agent").context("set up telemetry")?;
        let shutdown = Shutdown::on_signals().context("listen for signals")?;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        strait_sink_agent::run(config, listener, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}
