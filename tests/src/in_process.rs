//! The three parts as libraries inside the test's own process: the same code as the programs, quicker to start.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use strait_postgres::EndpointConfig;
use strait_runtime::Shutdown;
use strait_runtime::security::Role;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::layout::{ENDPOINT, Layout, SINK_AGENT, SOURCE_AGENT};
use crate::wait::patience;

/// The running parts. They end in order at [`InProcess::stop`], and are dropped with their runtime otherwise.
#[derive(Debug)]
pub struct InProcess {
    shutdown: Shutdown,
    parts: Vec<(&'static str, JoinHandle<Result<()>>)>,
    // Holds the coordinator's store.
    _directory: TempDir,
}

impl InProcess {
    /// Starts all three.
    pub async fn start(layout: &Layout) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("strait-in-process-").tempdir()?;
        let shutdown = Shutdown::new();
        let mut parts = Vec::new();

        let config = strait_coordinator::Config {
            store: directory.path().join("coordinator.sqlite"),
            alerts: Default::default(),
            security: layout.security(Role::Coordinator)?,
        };
        let run = strait_coordinator::run(config, listen(layout.coordinator_port).await?, shutdown.clone());
        parts.push(("coordinator", tokio::spawn(async move { run.await.context("run the coordinator") })));

        let config = strait_sink_agent::Config {
            agent: SINK_AGENT.to_owned(),
            coordinator: layout.address(layout.sink_to_coordinator),
            security: layout.security(Role::SinkAgent)?,
            endpoints: endpoints(&layout.destination_uri),
            data_address: Some(layout.address(layout.source_to_sink)),
            spool: layout.spool.clone(),
            spool_bytes_max: layout.spool_bytes_max,
            build_connections: 4,
        };
        let run = strait_sink_agent::run(config, listen(layout.sink_port).await?, shutdown.clone());
        parts.push(("sink-agent", tokio::spawn(async move { run.await.context("run the sink-agent") })));

        let config = strait_source_agent::Config {
            agent: SOURCE_AGENT.to_owned(),
            coordinator: layout.address(layout.source_to_coordinator),
            security: layout.security(Role::SourceAgent)?,
            endpoints: endpoints(&layout.source_uri),
            compression: layout.compression,
            listen: layout.source_listen.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            data_address: layout.sink_to_source.map(|port| layout.address(port)),
            copy_connections: 4,
            heartbeat: layout.heartbeat,
        };
        let run = strait_source_agent::run(config, shutdown.clone());
        parts.push(("source-agent", tokio::spawn(async move { run.await.context("run the source-agent") })));
        Ok(Self { shutdown, parts, _directory: directory })
    }

    /// Ends all three in order and waits for them.
    pub async fn stop(mut self) -> Result<()> {
        self.shutdown.trigger();
        for (name, part) in self.parts.drain(..) {
            tokio::time::timeout(patience(), part)
                .await
                .with_context(|| format!("the {name} does not end"))???;
        }
        Ok(())
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

fn endpoints(uri: &str) -> BTreeMap<String, EndpointConfig> {
    let config = EndpointConfig { uri: uri.to_owned(), password_env: None, password_file: None };
    BTreeMap::from([(ENDPOINT.to_owned(), config)])
}

async fn listen(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))
}
