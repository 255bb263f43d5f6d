//! Which agents there are and the sessions they keep open.
//!
//! The registry knows agents, not tasks. Whoever works on a task follows the two agents' sessions through
//! [`Registry::follow`] and talks to them through [`Session`].

mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strait_proto::v1::{self, AgentInfo};
use tokio::sync::{mpsc, watch};

pub(crate) use session::{Session, SessionEnd, SessionEnded, StopError};

use crate::clock::{micros, now_us};
use crate::task::Side;

/// How many agents may be connected, and how many are remembered after they left.
pub(crate) const SESSIONS_MAX: usize = 1000;

/// An agent as tasks refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AgentKey {
    pub(crate) side: Side,
    pub(crate) name: String,
}

/// Follows which session of an agent is the current one; None while it is not connected.
pub(crate) type Sessions = watch::Receiver<Option<Arc<Session>>>;

/// Every agent that is connected, was connected, or is waited for.
#[derive(Debug)]
pub(crate) struct Registry {
    agents: Mutex<Agents>,
    started_us: i64,
}

impl Default for Registry {
    fn default() -> Self {
        Self { agents: Mutex::default(), started_us: now_us() }
    }
}

#[derive(Debug, Default)]
struct Agents {
    by_key: HashMap<AgentKey, Agent>,
    sessions: u64,
}

#[derive(Debug)]
struct Agent {
    /// What it said of itself last; None while it is only waited for.
    hello: Option<v1::Hello>,
    last_seen_us: i64,
    current: watch::Sender<Option<Arc<Session>>>,
}

/// Another session is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SESSIONS_MAX} agents are connected, which is the limit")]
pub(crate) struct TooManySessions;

impl Registry {
    /// Makes a session the current one of its agent; an older one is told so and ends. The receiver is what
    /// the session has to send to the agent.
    pub(crate) fn connect(
        &self,
        key: AgentKey,
        hello: v1::Hello,
    ) -> Result<(Arc<Session>, mpsc::Receiver<v1::CoordinatorMessage>), TooManySessions> {
        let mut agents = self.lock();
        let connected = agents.by_key.values().filter(|agent| agent.current.borrow().is_some()).count();
        let replaces = agents.by_key.get(&key).is_some_and(|agent| agent.current.borrow().is_some());
        if connected >= SESSIONS_MAX && !replaces {
            return Err(TooManySessions);
        }
        agents.sessions += 1;
        let (session, outbox) = Session::new(agents.sessions, key.clone(), hello.clone());
        let session = Arc::new(session);
        let agent = agents.by_key.entry(key).or_insert_with(Agent::unknown);
        agent.hello = Some(hello);
        agent.last_seen_us = now_us();
        if let Some(older) = agent.current.send_replace(Some(session.clone())) {
            tracing::warn!(
                agent = %older.key().name, role = %older.key().side,
                "a newer session replaces an older one; if this goes on, two agents use the same name"
            );
            older.end(SessionEnd::Replaced);
        }
        agents.forget_oldest();
        Ok((session, outbox))
    }

    /// Takes an ended session out, unless a newer one took its place already.
    pub(crate) fn disconnect(&self, session: &Session) {
        session.end(SessionEnd::Closed);
        let mut agents = self.lock();
        if let Some(agent) = agents.by_key.get_mut(session.key()) {
            agent.last_seen_us = agent.last_seen_us.max(session.last_seen_us());
            agent.current.send_if_modified(|current| {
                let is_current = current.as_ref().is_some_and(|current| current.id() == session.id());
                if is_current {
                    *current = None;
                }
                is_current
            });
        }
    }

    /// Follows an agent that need not have been seen yet.
    pub(crate) fn follow(&self, key: &AgentKey) -> Sessions {
        self.lock().by_key.entry(key.clone()).or_insert_with(Agent::unknown).current.subscribe()
    }

    /// Whether an agent has not been there for `patience`. One that never came has been away since the coordinator started.
    pub(crate) fn is_gone(&self, key: &AgentKey, patience: Duration) -> bool {
        let agents = self.lock();
        let away_since_us = match agents.by_key.get(key) {
            Some(agent) if agent.current.borrow().is_some() => return false,
            Some(agent) => agent.last_seen_us.max(self.started_us),
            None => self.started_us,
        };
        now_us().saturating_sub(away_since_us) >= micros(patience)
    }

    /// Every agent that was seen since the coordinator started, by name.
    pub(crate) fn list(&self) -> Vec<AgentInfo> {
        let agents = self.lock();
        let mut seen: Vec<_> = agents
            .by_key
            .iter()
            .filter_map(|(key, agent)| agent.hello.as_ref().map(|hello| (key, agent, hello)))
            .collect();
        seen.sort_by(|(left, ..), (right, ..)| (&left.name, left.side).cmp(&(&right.name, right.side)));
        seen.into_iter().map(|(key, agent, hello)| agent.info(key, hello)).collect()
    }

    /// A panic while the lock was held leaves nothing half done: every change is a single assignment.
    fn lock(&self) -> MutexGuard<'_, Agents> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agents {
    /// Agents that left and that no task follows are remembered for people only, and not for ever.
    fn forget_oldest(&mut self) {
        if self.by_key.len() <= 2 * SESSIONS_MAX {
            return;
        }
        let idle = |agent: &Agent| agent.current.borrow().is_none() && agent.current.receiver_count() == 0;
        let oldest =
            self.by_key.iter().filter(|(_, agent)| idle(agent)).min_by_key(|(_, agent)| agent.last_seen_us);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.by_key.remove(&key);
        }
    }
}

impl Agent {
    fn unknown() -> Self {
        Self { hello: None, last_seen_us: 0, current: watch::Sender::new(None) }
    }

    fn info(&self, key: &AgentKey, hello: &v1::Hello) -> AgentInfo {
        let session = self.current.borrow();
        AgentInfo {
            agent: key.name.clone(),
            role: key.side.role().into(),
            version: hello.version.clone(),
            connected: session.is_some(),
            last_seen_us: session.as_ref().map_or(self.last_seen_us, |session| session.last_seen_us()),
            endpoints: hello.endpoints.clone(),
            data_address: hello.data_address.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
