//! The assignments that the coordinator made to this agent, and who may use them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use strait_postgres::ConnectionUri;
use strait_proto::{Epoch, TaskId, v1};
use strait_runtime::security::Peer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::session::Session;

/// How long OpenTask waits for an assignment that the source-agent has and this agent has not heard of yet.
const ASSIGNMENT_WAIT: Duration = Duration::from_secs(5);

/// The most that the contract allows.
const LANES_MAX: usize = 64;

/// One assignment of a task.
pub(crate) struct Assignment {
    pub(crate) task_id: TaskId,
    pub(crate) epoch: Epoch,
    /// The task's label, for people.
    pub(crate) name: String,
    /// Transactions that may apply independent keys at once, at least 1.
    pub(crate) lanes: usize,
    pub(crate) uri: ConnectionUri,
    pub(crate) on_error: v1::OnError,
    /// Connections that make keys and indexes at once.
    pub(crate) build_connections: usize,
    pub(crate) stop: CancellationToken,
    token: String,
    /// The only agent that may send for the task.
    source_agent: String,
    /// Held while a session is opened, so that sessions come one after the other.
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    /// The same for the tables that join the task.
    joining: tokio::sync::Mutex<Option<Arc<Session>>>,
}

/// All assignments of this agent.
#[derive(Default)]
pub(crate) struct Registry {
    tasks: Mutex<HashMap<String, Arc<Assignment>>>,
    /// Counts changes of `tasks`.
    changes: watch::Sender<u64>,
}

impl Assignment {
    pub(crate) fn new(
        task_id: TaskId,
        assign: &v1::Assign,
        uri: ConnectionUri,
        build_connections: usize,
        stop: CancellationToken,
    ) -> Self {
        let source_agent = assign.spec.as_ref().and_then(|spec| spec.source.as_ref());
        Self {
            task_id,
            epoch: Epoch(assign.epoch),
            name: assign.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default(),
            lanes: lanes(assign.spec.as_ref()),
            uri,
            on_error: assign.spec.as_ref().map(v1::TaskSpec::on_error).unwrap_or_default(),
            build_connections,
            stop,
            token: assign.token.clone(),
            source_agent: source_agent.map(|source| source.agent.clone()).unwrap_or_default(),
            session: tokio::sync::Mutex::new(None),
            joining: tokio::sync::Mutex::new(None),
        }
    }

    /// Ends whatever runs for the assignment.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        for session in [&self.joining, &self.session] {
            if let Some(session) = session.lock().await.take() {
                session.end().await;
            }
        }
    }

    /// The place of the task's session, or of that of the tables that join it.
    pub(crate) fn session_of(&self, joining: bool) -> &tokio::sync::Mutex<Option<Arc<Session>>> {
        if joining { &self.joining } else { &self.session }
    }

    /// The id that the session's records stand under.
    pub(crate) fn id_of(&self, joining: bool) -> TaskId {
        if joining { self.task_id.joining() } else { self.task_id.clone() }
    }

    /// The open session.
    pub(crate) async fn open_session(&self, joining: bool) -> Result<Arc<Session>, Error> {
        self.session_of(joining).lock().await.clone().ok_or(Error::NotOpen)
    }

    /// `peer` is whom the caller's certificate names; none without TLS.
    fn check(&self, caller: &v1::TaskSession, peer: Option<&Peer>) -> Result<(), Error> {
        let given = Epoch(caller.epoch);
        if given < self.epoch {
            return Err(Error::StaleEpoch { given, current: self.epoch });
        }
        if given > self.epoch {
            return Err(Error::NotAssigned { task_id: caller.task_id.clone(), epoch: given });
        }
        if !equal_in_constant_time(&self.token, &caller.token) {
            return Err(Error::WrongToken);
        }
        if let Some(peer) = peer.filter(|peer| peer.name != self.source_agent) {
            return Err(Error::WrongAgent { given: peer.name.clone(), assigned: self.source_agent.clone() });
        }
        Ok(())
    }
}

impl Registry {
    /// Adds an assignment; an older one of the same task is replaced, and has been stopped before.
    pub(crate) fn insert(&self, assignment: Arc<Assignment>) {
        self.lock().insert(assignment.task_id.to_string(), assignment);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Removes an assignment unless a newer one has taken its place.
    pub(crate) fn remove(&self, assignment: &Arc<Assignment>) {
        let mut tasks = self.lock();
        let key = assignment.task_id.as_str();
        if tasks.get(key).is_some_and(|current| Arc::ptr_eq(current, assignment)) {
            tasks.remove(key);
        }
    }

    /// The assignment that a caller belongs to.
    pub(crate) fn find(
        &self,
        caller: Option<&v1::TaskSession>,
        peer: Option<&Peer>,
    ) -> Result<Arc<Assignment>, Error> {
        let caller = caller.ok_or_else(|| Error::protocol("the call names no session"))?;
        let assignment = self.lock().get(&caller.task_id).cloned();
        let not_assigned =
            || Error::NotAssigned { task_id: caller.task_id.clone(), epoch: Epoch(caller.epoch) };
        let assignment = assignment.ok_or_else(not_assigned)?;
        assignment.check(caller, peer)?;
        Ok(assignment)
    }

    /// The same, but waits a moment for an assignment that is on its way: the coordinator tells both agents
    /// at once.
    pub(crate) async fn wait_for(
        &self,
        caller: Option<&v1::TaskSession>,
        peer: Option<&Peer>,
    ) -> Result<Arc<Assignment>, Error> {
        let mut changes = self.changes.subscribe();
        let found = tokio::time::timeout(ASSIGNMENT_WAIT, async {
            loop {
                match self.find(caller, peer) {
                    Err(Error::NotAssigned { .. }) => {}
                    other => return other,
                }
                if changes.changed().await.is_err() {
                    return Err(Error::Stopped);
                }
            }
        })
        .await;
        found.unwrap_or_else(|_| self.find(caller, peer))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Assignment>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Absent in the specification of a task that was stored before there were lanes.
pub(crate) fn lanes(spec: Option<&v1::TaskSpec>) -> usize {
    let apply = spec.and_then(|spec| spec.apply).unwrap_or_default();
    usize::try_from(apply.lanes).unwrap_or(usize::MAX).clamp(1, LANES_MAX)
}

/// Comparing secrets must not tell how much of a guess was right.
fn equal_in_constant_time(left: &str, right: &str) -> bool {
    let differences = left.bytes().zip(right.bytes()).fold(0, |sum, (left, right)| sum | (left ^ right));
    left.len() == right.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use strait_runtime::security::Role;

    use super::*;

    fn assignment(epoch: u64, token: &str) -> Arc<Assignment> {
        let task_id: TaskId = "abcdefghijkl".parse().unwrap();
        let source = v1::EndpointReference { agent: "eu-1".to_owned(), ..Default::default() };
        let spec = v1::TaskSpec { source: Some(source), ..Default::default() };
        let assign = v1::Assign { epoch, token: token.to_owned(), spec: Some(spec), ..Default::default() };
        let uri: ConnectionUri = "postgres://u@localhost/d".parse().unwrap();
        Arc::new(Assignment::new(task_id, &assign, uri, 1, CancellationToken::new()))
    }

    fn caller(epoch: u64, token: &str) -> v1::TaskSession {
        v1::TaskSession { task_id: "abcdefghijkl".to_owned(), epoch, token: token.to_owned(), joining: false }
    }

    #[test]
    fn only_the_holder_of_the_current_epochs_secret_is_let_in() {
        let registry = Registry::default();
        assert!(matches!(registry.find(Some(&caller(2, "s")), None), Err(Error::NotAssigned { .. })));
        registry.insert(assignment(2, "s"));
        assert!(registry.find(Some(&caller(2, "s")), None).is_ok());
        assert!(matches!(registry.find(Some(&caller(1, "s")), None), Err(Error::StaleEpoch { .. })));
        assert!(matches!(registry.find(Some(&caller(3, "s")), None), Err(Error::NotAssigned { .. })));
        for token in ["", "t", "ss"] {
            assert!(
                matches!(registry.find(Some(&caller(2, token)), None), Err(Error::WrongToken)),
                "{token:?}"
            );
        }
        assert!(matches!(registry.find(None, None), Err(Error::Protocol(_))));
    }

    #[test]
    fn only_the_agent_that_the_coordinator_assigned_is_let_in() {
        let registry = Registry::default();
        registry.insert(assignment(1, "s"));
        let peer = |name: &str| Peer { role: Role::SourceAgent, name: name.to_owned() };
        assert!(registry.find(Some(&caller(1, "s")), Some(&peer("eu-1"))).is_ok());
        let other = registry.find(Some(&caller(1, "s")), Some(&peer("eu-2")));
        assert!(matches!(other, Err(Error::WrongAgent { .. })));
    }

    #[test]
    fn an_older_assignment_does_not_remove_a_newer_one() {
        let registry = Registry::default();
        let (older, newer) = (assignment(1, "a"), assignment(2, "b"));
        registry.insert(Arc::clone(&older));
        registry.insert(Arc::clone(&newer));
        registry.remove(&older);
        assert!(registry.find(Some(&caller(2, "b")), None).is_ok());
        registry.remove(&newer);
        assert!(registry.find(Some(&caller(2, "b")), None).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_for_an_assignment_that_is_on_its_way() {
        let registry = Arc::new(Registry::default());
        let waiting = Arc::clone(&registry);
        let found =
            tokio::spawn(async move { waiting.wait_for(Some(&caller(1, "a")), None).await.map(|_| ()) });
        tokio::task::yield_now().await;
        registry.insert(assignment(1, "a"));
        found.await.unwrap().unwrap();
        let late = registry.wait_for(Some(&caller(2, "a")), None).await;
        assert!(matches!(late, Err(Error::NotAssigned { .. })));
    }
}
