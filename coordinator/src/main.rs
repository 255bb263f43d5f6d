//! The coordinator as a process: reads its options, sets telemetry up, runs the library until a signal.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use strait_coordinator::{AlertConfig, Config, Secret, WebhookUrl};
use strait_runtime::config::{self, CommonOptions, ConfigError};
use strait_runtime::security::{Expected, SecurityOptions};
use strait_runtime::{Shutdown, telemetry};
use tokio::net::TcpListener;

/// Keeps the tasks and decides what the agents do.
#[derive(Debug, clap::Parser)]
#[command(name = "strait-coordinator", version)]
struct Options {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    security: SecurityOptions,
    /// Where operators and agents reach it; without TLS only loopback addresses are accepted
    #[arg(long, value_name = "ADDRESS", env = "STRAIT_LISTEN", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// The SQLite file that holds the tasks [default: coordinator.sqlite in $STATE_DIRECTORY, or in
    /// ~/.local/state/strait]
    #[arg(long, value_name = "FILE", env = "STRAIT_STORE")]
    store: Option<PathBuf>,
    /// Where notices about every task are posted, signed: https://… or http://…
    #[arg(long, value_name = "URL", env = "STRAIT_WEBHOOK")]
    webhook: Option<WebhookUrl>,
    /// The file with the secret that notices are signed with [default: the secret is in $STRAIT_WEBHOOK_SECRET]
    #[arg(long, value_name = "FILE", env = "STRAIT_WEBHOOK_SECRET_FILE")]
    webhook_secret_file: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (options, config) = config::load(&[], |options: Options, _| {
        let store = options.store.clone().or_else(default_store);
        let store =
            store.ok_or_else(|| ConfigError::invalid("store", "is required where HOME is not set"))?;
        let security = options.security.resolve(&Expected::coordinator())?;
        let secret = webhook_secret(options.webhook_secret_file.as_deref())?;
        if options.webhook.is_some() && secret.is_none() {
            let message = "needs a secret to sign with: webhook-secret-file, or STRAIT_WEBHOOK_SECRET";
            return Err(ConfigError::invalid("webhook", message));
        }
        let alerts = AlertConfig { webhook: options.webhook.clone(), secret };
        Ok((options, Config { alerts, store, security }))
    });
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(run(&options, config))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(options: &Options, config: Config) -> anyhow::Result<()> {
    let _telemetry = telemetry::init(&options.common.telemetry, "strait-coordinator")?;
    let shutdown = Shutdown::on_signals().context("install the signal handlers")?;
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("listen on {}", options.listen))?;
    strait_coordinator::run(config, listener, shutdown).await?;
    Ok(())
}

fn webhook_secret(file: Option<&Path>) -> Result<Option<Secret>, ConfigError> {
    let Some(file) = file else {
        return Ok(std::env::var("STRAIT_WEBHOOK_SECRET").ok().as_deref().and_then(Secret::new));
    };
    let invalid = |message: String| ConfigError::invalid("webhook-secret-file", message);
    let text = std::fs::read_to_string(file)
        .map_err(|error| invalid(format!("read {}: {error}", file.display())))?;
    Secret::new(&text).map(Some).ok_or_else(|| invalid(format!("{} is empty", file.display())))
}

/// systemd names the service's directory; elsewhere it is the user's.
fn default_store() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("STATE_DIRECTORY")
        .or_else(|| Some(set("XDG_STATE_HOME")?.join("strait")))
        .or_else(|| Some(set("HOME")?.join(".local/state/strait")))?;
    Some(directory.join("coordinator.sqlite"))
}
