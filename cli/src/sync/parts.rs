//! The three parts, running in this process.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use strait_postgres::EndpointConfig;
use strait_runtime::security::Security;
use strait_runtime::{Shutdown, drain};
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};

use super::{AGENT, DESTINATION_ENDPOINT, SOURCE_ENDPOINT};
use crate::error::Error;

/// How long the agents may take to end their work, and then the coordinator its own.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

const COORDINATOR: &str = "the coordinator";
const SOURCE_AGENT: &str = "the source-agent";
const SINK_AGENT: &str = "the sink-agent";

type Ended = (&'static str, Result<(), Box<dyn StdError + Send + Sync>>);

/// The running parts.
pub(super) struct Parts {
    coordinator_uri: String,
    coordinator: JoinSet<Ended>,
    agents: JoinSet<Ended>,
    stop_coordinator: Shutdown,
    stop_agents: Shutdown,
}

impl Parts {
    /// Starts all three, on loopback and ports that were free. The URIs stay in memory.
    pub(super) async fn start(
        store: PathBuf,
        spool: PathBuf,
        source: &str,
        destination: &str,
    ) -> Result<Self, Error> {
        let (stop_coordinator, stop_agents) = (Shutdown::new(), Shutdown::new());
        let (coordinator_listener, coordinator_uri) = listen(COORDINATOR).await?;
        let (sink_listener, _) = listen(SINK_AGENT).await?;

        let mut coordinator = JoinSet::new();
        let alerts = strait_coordinator::AlertConfig::default();
        let config = strait_coordinator::Config { alerts, store, security: Security::PlainText };
        let run = strait_coordinator::run(config, coordinator_listener, stop_coordinator.clone());
        coordinator.spawn(async { (COORDINATOR, run.await.map_err(Into::into)) });

        let mut agents = JoinSet::new();
        let config = strait_sink_agent::Config {
            agent: AGENT.to_owned(),
            coordinator: coordinator_uri.clone(),
            security: Security::PlainText,
            endpoints: endpoint(DESTINATION_ENDPOINT, destination),
            data_address: None,
            spool,
            spool_bytes_max: strait_sink_agent::Config::SPOOL_BYTES_MAX,
            build_connections: strait_sink_agent::Config::BUILD_CONNECTIONS.into(),
        };
        let run = strait_sink_agent::run(config, sink_listener, stop_agents.clone());
        agents.spawn(async { (SINK_AGENT, run.await.map_err(Into::into)) });

        let config = strait_source_agent::Config {
            agent: AGENT.to_owned(),
            coordinator: coordinator_uri.clone(),
            security: Security::PlainText,
            endpoints: endpoint(SOURCE_ENDPOINT, source),
            compression: strait_source_agent::Compression::Auto,
            listen: None,
            data_address: None,
            copy_connections: strait_source_agent::Config::COPY_CONNECTIONS,
            heartbeat: strait_source_agent::Config::HEARTBEAT,
        };
        let run = strait_source_agent::run(config, stop_agents.clone());
        agents.spawn(async { (SOURCE_AGENT, run.await.map_err(Into::into)) });

        Ok(Self { coordinator_uri, coordinator, agents, stop_coordinator, stop_agents })
    }

    /// Where the coordinator listens.
    pub(super) fn coordinator_uri(&self) -> &str {
        &self.coordinator_uri
    }

    /// Waits until a part ends by itself, which none of them should.
    pub(super) async fn ended(&mut self) -> Error {
        tokio::select! {
            Some(ended) = self.coordinator.join_next() => unasked(ended),
            Some(ended) = self.agents.join_next() => unasked(ended),
            else => Error::Part { part: "every part ended by itself".to_owned(), source: None },
        }
    }

    /// Ends the agents, then the coordinator, so that it hears how their work ended.
    pub(super) async fn stop(mut self) {
        self.stop_agents.trigger();
        drain("the agents", STOP_DEADLINE, ended(&mut self.agents)).await;
        self.stop_coordinator.trigger();
        drain("the coordinator", STOP_DEADLINE, ended(&mut self.coordinator)).await;
    }
}

async fn listen(part: &str) -> Result<(TcpListener, String), Error> {
    let failed = |error: std::io::Error| Error::Part {
        part: format!("listen on a loopback port for {part}"),
        source: Some(Box::new(error)),
    };
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{address}")))
}

fn endpoint(name: &str, uri: &str) -> BTreeMap<String, EndpointConfig> {
    let config = EndpointConfig { uri: uri.to_owned(), password_env: None, password_file: None };
    BTreeMap::from([(name.to_owned(), config)])
}

fn unasked(ended: Result<Ended, JoinError>) -> Error {
    match ended {
        Ok((part, Ok(()))) => Error::Part { part: format!("{part} ended by itself"), source: None },
        Ok((part, Err(error))) => Error::Part { part: format!("run {part}"), source: Some(error) },
        Err(error) => Error::Part { part: "run a part".to_owned(), source: Some(Box::new(error)) },
    }
}

/// Waits for all of them. What went wrong while ending is logged: there is nothing left to do about it.
async fn ended(parts: &mut JoinSet<Ended>) {
    while let Some(ended) = parts.join_next().await {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((part, Err(error))) => tracing::warn!(part, %error, "did not end in order"),
            Err(error) => tracing::warn!(%error, "a part did not end in order"),
        }
    }
}
