//! Agents and the databases that they offer.

use serde::Serialize;
use strait_proto::v1;

use super::endpoint::role;
use super::known_time;

/// An agent that the coordinator knows.
#[derive(Debug, Serialize)]
pub(crate) struct AgentView {
    pub(crate) agent: String,
    /// source, sink.
    pub(crate) role: &'static str,
    pub(crate) version: String,
    pub(crate) connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_seen: Option<String>,
    /// Sink-agents: where source-agents reach it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) data_address: String,
    pub(crate) endpoints: Vec<OfferedView>,
    #[serde(skip)]
    pub(crate) last_seen_us: i64,
}

/// A database that an agent offers.
#[derive(Debug, Serialize)]
pub(crate) struct OfferedView {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) database: String,
}

/// A database, with the agent that offers it.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointView {
    pub(crate) agent: String,
    /// source, sink.
    pub(crate) role: &'static str,
    pub(crate) connected: bool,
    pub(crate) endpoint: String,
    pub(crate) address: String,
    pub(crate) database: String,
}

impl From<&v1::AgentInfo> for AgentView {
    fn from(agent: &v1::AgentInfo) -> Self {
        Self {
            agent: agent.agent.clone(),
            role: role(agent.role()),
            version: agent.version.clone(),
            connected: agent.connected,
            last_seen: known_time(agent.last_seen_us),
            data_address: agent.data_address.clone(),
            endpoints: agent
                .endpoints
                .iter()
                .map(|endpoint| OfferedView {
                    name: endpoint.name.clone(),
                    address: endpoint.address.clone(),
                    database: endpoint.database.clone(),
                })
                .collect(),
            last_seen_us: agent.last_seen_us,
        }
    }
}

impl EndpointView {
    /// Every database of an agent.
    pub(crate) fn of(agent: &v1::AgentInfo) -> impl Iterator<Item = Self> {
        agent.endpoints.iter().map(|endpoint| Self {
            agent: agent.agent.clone(),
            role: role(agent.role()),
            connected: agent.connected,
            endpoint: endpoint.name.clone(),
            address: endpoint.address.clone(),
            database: endpoint.database.clone(),
        })
    }
}
