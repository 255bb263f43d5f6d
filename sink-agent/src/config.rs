//! What a sink-agent has to know before it runs.

use std::collections::BTreeMap;

use strait_postgres::EndpointConfig;

/// The configuration of a sink-agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that tasks use.
    pub agent: String,
    /// Where the coordinator is: `http://host:port`.
    pub coordinator: String,
    /// The databases that this agent writes, by the names that tasks use.
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// Where source-agents reach this agent, `http://host:port`; none: the listener's own address.
    pub data_address: Option<String>,
}
