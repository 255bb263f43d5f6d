//! One of a task's two agents, as its actor sees it.

use std::sync::Arc;
use std::time::Duration;

use strait_proto::v1::coordinator_message::Message;
use strait_proto::{Epoch, TaskId};
use tokio::time::Instant;

use crate::registry::{AgentKey, Registry, Session, SessionEnded, Sessions};
use crate::task::Side;

/// Whether the agent is there, and under which epoch it works on the task.
#[derive(Debug)]
pub(super) struct Contact {
    task_id: TaskId,
    key: AgentKey,
    sessions: Sessions,
    session: Option<Arc<Session>>,
    /// What the agent works on, by its own word or because it was assigned in this session.
    holds: Option<Epoch>,
    /// The agent may not know what was changed of its assignment.
    is_outdated: bool,
    /// Counts while there is no session.
    absent_since: Instant,
    grace: Duration,
    grace_after_contact: Duration,
}

impl Contact {
    /// An agent that may be there or not; it has `first_grace` to come, and `grace` whenever it leaves later.
    pub(super) fn new(
        registry: &Registry,
        task_id: &TaskId,
        key: AgentKey,
        first_grace: Duration,
        grace: Duration,
    ) -> Self {
        let mut contact = Self {
            task_id: task_id.clone(),
            sessions: registry.follow(&key),
            key,
            session: None,
            holds: None,
            is_outdated: false,
            absent_since: Instant::now(),
            grace: first_grace,
            grace_after_contact: grace,
        };
        contact.refresh();
        contact
    }

    pub(super) const fn side(&self) -> Side {
        self.key.side
    }

    pub(super) fn agent(&self) -> &str {
        &self.key.name
    }

    /// For work that follows the agent over several sessions.
    pub(super) fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }

    /// Waits until the agent comes or goes. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.sessions.changed().await.is_err() {
            // The registry outlives every task; without it nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Takes over what the registry knows now.
    pub(super) fn refresh(&mut self) {
        let current = self.sessions.borrow_and_update().clone();
        let id = |session: &Option<Arc<Session>>| session.as_ref().map(|session| session.id());
        if id(&current) == id(&self.session) {
            return;
        }
        match &current {
            Some(session) => {
                self.holds = session.running(&self.task_id);
                self.is_outdated = self.holds.is_some();
            }
            None => {
                self.holds = None;
                self.absent_since = Instant::now();
                self.grace = self.grace_after_contact;
            }
        }
        self.session = current;
    }

    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref().filter(|session| !session.is_ended())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.session().is_some()
    }

    /// The epoch under which the agent works on the task.
    pub(super) const fn holds(&self) -> Option<Epoch> {
        self.holds
    }

    /// When the agent will have been away for too long; None while it has a session, even one that is ending.
    pub(super) fn overdue_at(&self) -> Option<Instant> {
        self.session.is_none().then(|| self.absent_since + self.grace)
    }

    pub(super) fn assign(&mut self, epoch: Epoch, message: Message) {
        match self.session().map(|session| session.send(message)) {
            Some(Ok(())) => {
                self.holds = Some(epoch);
                self.is_outdated = false;
            }
            // The session is ending; the agent's next one starts from what it runs then.
            Some(Err(SessionEnded)) | None => self.holds = None,
        }
    }

    /// What the agent knows of its assignment does not hold any more.
    pub(super) const fn outdated(&mut self) {
        self.is_outdated = true;
    }

    /// Tells the agent what holds now, where it works under this epoch and may not know.
    pub(super) fn adjust(&mut self, epoch: Epoch, message: impl FnOnce() -> Message) {
        if self.is_outdated
            && self.holds == Some(epoch)
            && let Some(session) = self.session()
        {
            // Where the session is ending, the agent's next one begins as outdated.
            self.is_outdated = session.send(message()).is_err();
        }
    }

    /// Tells the agent to stop, where it may be working on the task.
    pub(super) fn revoke(&mut self, epoch: Epoch) {
        if let (Some(session), Some(held)) = (self.session(), self.holds) {
            // A session that is ending needs no revocation: the next one is looked at afresh.
            let _ = session.revoke(&self.task_id, epoch.max(held));
        }
        self.holds = None;
    }

    /// The agent said in this session that it has stopped.
    pub(super) fn stopped_in(&mut self, session_id: u64) {
        if self.session.as_ref().is_some_and(|session| session.id() == session_id) {
            self.holds = None;
        }
    }
}
