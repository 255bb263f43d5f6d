//! One control session of one agent, as seen from what talks to the agent.
//!
//! Nothing here waits for a slow agent: what cannot be queued ends the session, and the next one starts from
//! what the agent then says it is running.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use strait_proto::v1::coordinator_message::Message;
use strait_proto::v1::{self, command, command_result};
use strait_proto::{Epoch, TaskId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::AgentKey;
use crate::clock::now_us;

/// How many messages may wait for an agent to read them: an assignment and a few questions for each of a
/// thousand tasks.
const OUTBOX_MAX: usize = 4096;

/// A session that is or was the current one of its agent.
#[derive(Debug)]
pub(crate) struct Session {
    id: u64,
    key: AgentKey,
    hello: v1::Hello,
    outbox: mpsc::Sender<v1::CoordinatorMessage>,
    ended: CancellationToken,
    end: OnceLock<SessionEnd>,
    last_seen_us: AtomicI64,
    open: Mutex<Open>,
}

/// What is not settled yet.
#[derive(Debug, Default)]
struct Open {
    /// What the agent ran when the session began, and has not stopped since.
    running: HashMap<String, Epoch>,
    commands: HashMap<String, oneshot::Sender<command_result::Result>>,
    stops: Vec<Stop>,
}

#[derive(Debug)]
struct Stop {
    task_id: String,
    epoch: Epoch,
    stopped: oneshot::Sender<()>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionEnd {
    /// The agent left.
    #[error("the agent closed the session")]
    Closed,
    /// The same agent, or another one of that name, opened a newer session.
    #[error("a newer session of an agent with this name and role replaced this one")]
    Replaced,
    /// The agent does not read what it is sent.
    #[error("the agent does not read its messages: {OUTBOX_MAX} are waiting")]
    Stalled,
    /// The coordinator ends. The agent goes on with what it runs and dials again.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

/// The session ended before there was an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session ended")]
pub(crate) struct SessionEnded;

/// The agent did not say that a task is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopError {
    /// It left.
    Ended,
    /// It is there and did not answer in time.
    Unanswered,
}

impl Session {
    pub(super) fn new(
        id: u64,
        key: AgentKey,
        hello: v1::Hello,
    ) -> (Self, mpsc::Receiver<v1::CoordinatorMessage>) {
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        let running =
            hello.running.iter().map(|running| (running.task_id.clone(), Epoch(running.epoch))).collect();
        let session = Self {
            id,
            key,
            hello,
            outbox,
            ended: CancellationToken::new(),
            end: OnceLock::new(),
            last_seen_us: AtomicI64::new(now_us()),
            open: Mutex::new(Open { running, ..Open::default() }),
        };
        (session, messages)
    }

    /// Tells sessions of one coordinator apart.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    pub(crate) const fn key(&self) -> &AgentKey {
        &self.key
    }

    /// What the agent said at the start.
    pub(crate) const fn hello(&self) -> &v1::Hello {
        &self.hello
    }

    /// The epoch under which the agent worked on the task when the session began; None once it has stopped.
    pub(crate) fn running(&self, task_id: &TaskId) -> Option<Epoch> {
        self.open().running.get(task_id.as_str()).copied()
    }

    /// When the agent was last heard of, microseconds since the Unix epoch.
    pub(crate) fn last_seen_us(&self) -> i64 {
        self.last_seen_us.load(Ordering::Relaxed)
    }

    /// The agent was heard of.
    pub(crate) fn seen(&self) {
        self.last_seen_us.store(now_us(), Ordering::Relaxed);
    }

    /// Queues a message; ends the session where the agent has left thousands unread.
    ///
    /// # Errors
    /// When the session has ended.
    pub(crate) fn send(&self, message: Message) -> Result<(), SessionEnded> {
        if self.ended.is_cancelled() {
            return Err(SessionEnded);
        }
        match self.outbox.try_send(v1::CoordinatorMessage { message: Some(message) }) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.end(SessionEnd::Stalled);
                Err(SessionEnded)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SessionEnded),
        }
    }

    /// Asks the agent something and waits for the answer. An agent that still works on a request of this id,
    /// from an earlier session, answers with that work's result.
    ///
    /// # Errors
    /// When the session ends first.
    pub(crate) async fn ask(
        &self,
        request_id: &str,
        command: command::Command,
    ) -> Result<command_result::Result, SessionEnded> {
        let request_id = request_id.to_owned();
        let (answered, answer) = oneshot::channel();
        self.open().commands.insert(request_id.clone(), answered);
        self.send(Message::Command(v1::Command { request_id, command: Some(command) }))?;
        tokio::select! {
            answer = answer => answer.map_err(|_| SessionEnded),
            () = self.ended.cancelled() => Err(SessionEnded),
        }
    }

    /// Revokes a task and waits until nothing of it runs at the agent any more.
    ///
    /// # Errors
    /// When the session ends first, or the agent does not answer within `patience`.
    pub(crate) async fn stop(
        &self,
        task_id: &TaskId,
        epoch: Epoch,
        patience: Duration,
    ) -> Result<(), StopError> {
        let (stopped, answer) = oneshot::channel();
        {
            let mut open = self.open();
            open.stops.retain(|stop| !stop.stopped.is_closed());
            open.stops.push(Stop { task_id: task_id.to_string(), epoch, stopped });
        }
        self.revoke(task_id, epoch).map_err(|SessionEnded| StopError::Ended)?;
        tokio::select! {
            answer = answer => answer.map_err(|_| StopError::Ended),
            () = self.ended.cancelled() => Err(StopError::Ended),
            () = tokio::time::sleep(patience) => Err(StopError::Unanswered),
        }
    }

    /// Tells the agent to stop working on a task, under whichever epoch up to this one.
    ///
    /// # Errors
    /// When the session has ended.
    pub(crate) fn revoke(&self, task_id: &TaskId, epoch: Epoch) -> Result<(), SessionEnded> {
        let epoch = self.running(task_id).map_or(epoch, |running| running.max(epoch));
        self.send(Message::Revoke(v1::Revoke { task_id: task_id.to_string(), epoch: epoch.0 }))
    }

    /// The agent answered a command.
    pub(crate) fn answered(&self, result: v1::CommandResult) {
        let waiting = self.open().commands.remove(&result.request_id);
        match (waiting, result.result) {
            // A caller that left does not need the answer any more.
            (Some(waiting), Some(answer)) => drop(waiting.send(answer)),
            (Some(_), None) => tracing::warn!(request_id = %result.request_id, "an answer without content"),
            (None, _) => tracing::debug!(request_id = %result.request_id, "an answer that nobody waits for"),
        }
    }

    /// The agent says that nothing of the task runs there any more, up to this epoch.
    pub(crate) fn stopped(&self, task_id: &str, epoch: Epoch) {
        let mut open = self.open();
        if open.running.get(task_id).is_some_and(|running| *running <= epoch) {
            open.running.remove(task_id);
        }
        let (done, rest) = std::mem::take(&mut open.stops)
            .into_iter()
            .partition(|stop| stop.task_id == task_id && stop.epoch <= epoch);
        open.stops = rest;
        for Stop { stopped, .. } in done {
            // As above.
            let _ = stopped.send(());
        }
    }

    /// Ends the session; the first reason counts.
    pub(crate) fn end(&self, end: SessionEnd) {
        if self.end.set(end).is_ok() {
            self.ended.cancel();
            // Whoever waits for an answer learns that none will come.
            *self.open() = Open::default();
        }
    }

    /// Waits for the end and says why.
    pub(crate) async fn ended(&self) -> SessionEnd {
        self.ended.cancelled().await;
        self.end.get().copied().unwrap_or(SessionEnd::Closed)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// A panic while the lock was held leaves nothing half done.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
