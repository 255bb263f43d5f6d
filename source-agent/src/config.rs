//! What the agent is told before it starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use strait_postgres::EndpointConfig;
use strait_runtime::security::Security;

use crate::Compression;

/// The configuration of a source-agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that tasks use.
    pub agent: String,
    /// Where the coordinator listens, `https://host:port`.
    pub coordinator: String,
    /// How the other parts are spoken with.
    pub security: Security,
    /// Where sink-agents may dial this agent; none: it dials them.
    pub listen: Option<SocketAddr>,
    /// Where they reach it, `https://host:port`, where that is not the address it listens on.
    pub data_address: Option<String>,
    /// Whether what goes to sink-agents is compressed.
    pub compression: Compression,
    /// The databases that this agent offers, by name.
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// Connections that one task copies tables with; also how many tables' indexes are built at once. At least 1.
    pub copy_connections: usize,
    /// How often a message is written to the source's log: the resolution of the latency, and what lets the slot of an idle
    /// database advance.
    pub heartbeat: Duration,
}

impl Config {
    /// The default of `copy_connections`.
    pub const COPY_CONNECTIONS: usize = 4;
    /// The default of `heartbeat`.
    pub const HEARTBEAT: Duration = Duration::from_secs(5);
}
