//! What a replication uses while it is measured: CPU time of both servers and of the agents, memory of the agents.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use strait_tests::pair::Pair;
use strait_tests::processes::{Part, Processes};

use crate::subject::AGENTS;

/// CPU seconds so far, to be subtracted.
pub(crate) struct Meter {
    source: Duration,
    destination: Duration,
    agents: Option<[Duration; 2]>,
}

/// CPU seconds, user and system.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Used {
    /// All processes of the source's server.
    pub(crate) source_cpu_seconds: f64,
    /// All processes of the destination's server.
    pub(crate) destination_cpu_seconds: f64,
    /// The agents, where there are any.
    pub(crate) agents: Option<Agents>,
}

/// What the two agents use.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Agents {
    /// CPU seconds.
    pub(crate) source_agent_cpu_seconds: f64,
    /// CPU seconds.
    pub(crate) sink_agent_cpu_seconds: f64,
    /// The most that it held in memory at any time (VmHWM).
    pub(crate) source_agent_memory_mib: f64,
    /// The most that it held in memory at any time (VmHWM).
    pub(crate) sink_agent_memory_mib: f64,
}

impl Used {
    /// A figure of the agents, 0 where there are none.
    pub(crate) fn of_agents(&self, figure: fn(&Agents) -> f64) -> f64 {
        self.agents.as_ref().map_or(0.0, figure)
    }
}

impl Meter {
    /// Begins to count: the servers, and Strait's agents where it is theirs.
    pub(crate) fn start(pair: &Pair, mut processes: Option<&mut Processes>) -> Result<Self> {
        if let Some(processes) = &mut processes {
            for agent in AGENTS {
                // Where the system cannot forget, the peak is that of the agent's whole life, which is no less.
                processes.forget_memory_peak(agent)?;
            }
        }
        Self::read(pair, processes)
    }

    /// What was used since.
    pub(crate) fn stop(self, pair: &Pair, mut processes: Option<&mut Processes>) -> Result<Used> {
        let now = Self::read(pair, processes.as_deref_mut())?;
        let seconds = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64();
        let agents = match (processes, now.agents, self.agents) {
            (Some(processes), Some(now), Some(then)) => Some(Agents {
                source_agent_cpu_seconds: seconds(now[0], then[0]),
                sink_agent_cpu_seconds: seconds(now[1], then[1]),
                source_agent_memory_mib: mebibytes(processes.memory_peak(Part::SourceAgent)?),
                sink_agent_memory_mib: mebibytes(processes.memory_peak(Part::SinkAgent)?),
            }),
            _ => None,
        };
        Ok(Used {
            source_cpu_seconds: seconds(now.source, self.source),
            destination_cpu_seconds: seconds(now.destination, self.destination),
            agents,
        })
    }

    fn read(pair: &Pair, processes: Option<&mut Processes>) -> Result<Self> {
        let agents = match processes {
            Some(processes) => {
                Some([processes.cpu_time(Part::SourceAgent)?, processes.cpu_time(Part::SinkAgent)?])
            }
            None => None,
        };
        Ok(Self { source: pair.source.cpu_time()?, destination: pair.destination.cpu_time()?, agents })
    }
}

/// A process's memory is far below 2⁵³ bytes.
#[allow(clippy::cast_precision_loss)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
