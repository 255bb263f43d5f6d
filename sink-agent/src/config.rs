//! What a sink-agent has to know before it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use strait_postgres::EndpointConfig;
use strait_runtime::security::Security;

/// The configuration of a sink-agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that tasks use.
    pub agent: String,
    /// Where the coordinator is: `https://host:port`.
    pub coordinator: String,
    /// How the other parts are spoken with.
    pub security: Security,
    /// The databases that this agent writes, by the names that tasks use.
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// Where source-agents reach this agent, `https://host:port`; none: the listener's own address.
    pub data_address: Option<String>,
    /// The directory where transactions are kept that have not committed, in files without a name. On a disk.
    pub spool: PathBuf,
    /// Bytes that they may take together; 0 keeps none, and they arrive after their commit only.
    pub spool_bytes_max: u64,
    /// Connections that build the keys and indexes of one task at once, beside those that copy. At least 1.
    pub build_connections: usize,
}

impl Config {
    /// The default of [`spool`](Self::spool): on most systems the temporary directory that is not in memory.
    pub const SPOOL: &str = "/var/tmp";
    /// The default of [`spool_bytes_max`](Self::spool_bytes_max): 64 GiB.
    pub const SPOOL_BYTES_MAX: u64 = 64 << 30;
    /// The default of [`build_connections`](Self::build_connections).
    pub const BUILD_CONNECTIONS: u16 = 4;
}
