//! Who reaches whom: the addresses that a deployment of the three parts is started with.
//!
//! Every address can be led through a [`Proxy`](crate::proxy::Proxy), so that any one connection can be cut.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use strait_proto::v1;
use strait_runtime::security::{Role, Security};
use strait_source_agent::Compression;

use crate::certificates::Certificates;
use crate::database::Database;
use crate::processes::Part;
use crate::server::free_port;

/// The name of the source-agent in tasks.
pub const SOURCE_AGENT: &str = "source";
/// The name of the sink-agent in tasks.
pub const SINK_AGENT: &str = "sink";
/// The name of either agent's only endpoint.
pub const ENDPOINT: &str = "main";

/// Addresses and the few options that scenarios change.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The source's URI as the source-agent knows it.
    pub source_uri: String,
    /// The destination's URI as the sink-agent knows it.
    pub destination_uri: String,
    /// Where the coordinator listens.
    pub coordinator_port: u16,
    /// Where the sink-agent listens.
    pub sink_port: u16,
    /// Where the source-agent dials the coordinator.
    pub source_to_coordinator: u16,
    /// Where the sink-agent dials the coordinator.
    pub sink_to_coordinator: u16,
    /// Where the source-agent dials the sink-agent.
    pub source_to_sink: u16,
    /// How often the source-agent measures latency and moves an idle database's slot.
    pub heartbeat: Duration,
    /// Where the sink-agent keeps transactions in progress.
    pub spool: PathBuf,
    /// How many bytes of them.
    pub spool_bytes_max: u64,
    /// What the parts are known to each other by; none: they speak in plain text.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether what is sent between the agents is compressed, where they run in this process.
    pub compression: Compression,
    /// Where the source-agent listens for the sink-agent, where it does and runs in this process.
    pub source_listen: Option<u16>,
    /// Where the sink-agent dials it then.
    pub sink_to_source: Option<u16>,
    /// Where processes send telemetry.
    pub otlp: Option<String>,
    /// Where processes serve their metrics.
    pub metrics: Vec<(Part, u16)>,
    /// What the agents are told to log in at the servers with, which ask for none.
    pub password: Option<String>,
}

impl Layout {
    /// Everybody reaches everybody directly.
    pub fn between(source: &Database, destination: &Database) -> Result<Self> {
        let (coordinator_port, sink_port) = (free_port()?, free_port()?);
        Ok(Self {
            source_uri: source.uri(),
            destination_uri: destination.uri(),
            coordinator_port,
            sink_port,
            source_to_coordinator: coordinator_port,
            sink_to_coordinator: coordinator_port,
            source_to_sink: sink_port,
            heartbeat: Duration::from_millis(500),
            spool: std::env::temp_dir(),
            spool_bytes_max: strait_sink_agent::Config::SPOOL_BYTES_MAX,
            certificates: None,
            compression: Compression::Auto,
            source_listen: None,
            sink_to_source: None,
            otlp: None,
            metrics: Vec::new(),
            password: None,
        })
    }

    /// Where operators reach the coordinator.
    pub fn coordinator_uri(&self) -> String {
        self.address(self.coordinator_port)
    }

    /// A port of loopback, as it is dialled.
    pub(crate) fn address(&self, port: u16) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}")
    }

    /// How a part, or an operator, speaks.
    pub fn security(&self, role: Role) -> Result<Security> {
        match &self.certificates {
            Some(certificates) => certificates.security(role),
            None => Ok(Security::PlainText),
        }
    }

    /// A task from the one endpoint to the other, for all of the source.
    pub fn task(&self) -> v1::TaskSpec {
        let endpoint = |agent: &str| v1::EndpointReference {
            agent: agent.to_owned(),
            endpoint: ENDPOINT.to_owned(),
            database: String::new(),
        };
        v1::TaskSpec {
            source: Some(endpoint(SOURCE_AGENT)),
            destination: Some(endpoint(SINK_AGENT)),
            ..v1::TaskSpec::default()
        }
    }
}
