//! The tasks that are not released: an actor for each, and the way to it for operators and agents.

mod actor;
mod ask;
mod contact;
mod create;
mod lines;
mod plan;
mod retry;
mod token;
mod view;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use strait_proto::v1::{self, TaskEvent};
use strait_proto::{Epoch, TaskId};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use view::{Objects, TaskView};

use crate::clock::micros;
use crate::error::RequestError;
use crate::registry::{AgentKey, Registry};
use crate::store::{LoadedTask, Store, StoreError};
use crate::task::spec;
use crate::task::{Operation, Refused, State, TaskRecord, Windows};
use crate::timings::Timings;
use actor::{Actor, Message};

/// How many tasks there may be that are not released.
const TASKS_MAX: usize = 10_000;
/// How many messages may wait for one task's actor.
const MAILBOX_MAX: usize = 256;
/// How many events one answer holds at most, and how many where nothing is said.
const EVENTS_MAX: u32 = 1000;

/// All tasks.
pub(crate) struct Supervisor {
    store: Store,
    registry: Arc<Registry>,
    timings: Timings,
    stop: CancellationToken,
    live: RwLock<HashMap<TaskId, Handle>>,
    /// Held while it is decided whether a task is there already.
    creating: Mutex<()>,
    actors: TaskTracker,
}

/// The way to a task's actor.
#[derive(Clone, Debug)]
struct Handle {
    mailbox: mpsc::Sender<Message>,
    view: watch::Receiver<TaskView>,
}

/// A task that an operator named.
enum Found {
    Live(Handle),
    Released(Box<LoadedTask>),
}

/// A task to be watched.
pub(crate) enum Watched {
    /// It changes.
    Live(watch::Receiver<TaskView>),
    /// It stays as it is.
    Released(Box<v1::Task>),
}

impl Supervisor {
    /// Picks every task up where the store says it was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn start(
        store: Store,
        registry: Arc<Registry>,
        timings: Timings,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let tasks = store.load_live().await?;
        tracing::info!(tasks = tasks.len(), "tasks loaded");
        let supervisor = Arc::new(Self {
            store,
            registry,
            timings,
            stop,
            live: RwLock::default(),
            creating: Mutex::default(),
            actors: TaskTracker::new(),
        });
        for task in tasks {
            supervisor.spawn(task, true);
        }
        Ok(supervisor)
    }

    /// Waits until every actor has ended after `stop` was cancelled.
    pub(crate) async fn ended(&self) {
        self.actors.close();
        self.actors.wait().await;
    }

    /// Carries out what an operator asks for and answers with the task as it then is. Prechecks, starts and
    /// pauses are waited for, releases are not.
    pub(crate) async fn operate(
        &self,
        task: &str,
        operation: Operation,
        once: bool,
    ) -> Result<v1::Task, RequestError> {
        let mut handle = match self.find(task).await? {
            Found::Live(handle) => handle,
            Found::Released(released) => return on_released(&released, operation),
        };
        let (reply, answer) = oneshot::channel();
        // Where the actor has ended meanwhile, there is no answer either.
        let _ = handle.mailbox.send(Message::Asked { operation, once, reply }).await;
        let Ok(answer) = answer.await else {
            return match self.find(task).await? {
                Found::Released(released) => on_released(&released, operation),
                Found::Live(_) => Err(RequestError::ShuttingDown),
            };
        };
        answer?;
        if matches!(operation, Operation::Precheck | Operation::Start | Operation::Pause) {
            let settled = handle.view.wait_for(|view| !view.busy).await;
            settled.map_err(|_| RequestError::ShuttingDown)?;
        }
        let view = handle.view.borrow().clone();
        Ok(view.task())
    }

    /// Changes what may change of a task, and answers with the task as it then is.
    pub(crate) async fn update(
        &self,
        task: &str,
        spec: Option<v1::TaskSpec>,
    ) -> Result<v1::Task, RequestError> {
        let spec = spec.ok_or_else(|| RequestError::invalid("spec", "is required"))?;
        let spec = Box::new(spec::normalise(spec).map_err(RequestError::Invalid)?);
        let handle = match self.find(task).await? {
            Found::Live(handle) => handle,
            Found::Released(released) => return on_released(&released, Operation::Update),
        };
        let (reply, answer) = oneshot::channel();
        // As for operations.
        let _ = handle.mailbox.send(Message::Updated { spec, reply }).await;
        answer.await.map_err(|_| RequestError::ShuttingDown)??;
        Ok(handle.latest().task())
    }

    /// Every task, oldest first, without the objects.
    pub(crate) async fn list(&self, include_released: bool) -> Result<Vec<v1::Task>, RequestError> {
        let released = if include_released { self.store.list_released().await? } else { Vec::new() };
        let mut tasks: HashMap<String, v1::Task> =
            released.iter().map(|record| (record.task_id.to_string(), record.to_task(Vec::new()))).collect();
        // One that was released a moment ago may be in both.
        let live =
            self.views().into_iter().filter(|view| include_released || view.record.state != State::Released);
        tasks.extend(live.map(|view| (view.record.task_id.to_string(), view.summary())));
        let mut tasks: Vec<_> = tasks.into_values().collect();
        tasks.sort_by(|left, right| {
            (left.created_at_us, &left.task_id).cmp(&(right.created_at_us, &right.task_id))
        });
        Ok(tasks)
    }

    /// One task, with everything.
    pub(crate) async fn get(&self, task: &str) -> Result<v1::Task, RequestError> {
        Ok(match self.find(task).await? {
            Found::Live(handle) => handle.latest().task(),
            Found::Released(released) => to_task(&released),
        })
    }

    /// A task to follow.
    pub(crate) async fn watch(&self, task: &str) -> Result<Watched, RequestError> {
        Ok(match self.find(task).await? {
            Found::Live(handle) => Watched::Live(handle.view),
            Found::Released(released) => Watched::Released(Box::new(to_task(&released))),
        })
    }

    /// What happened to a task, oldest first.
    pub(crate) async fn events(
        &self,
        task: &str,
        after_event_id: u64,
        limit: u32,
    ) -> Result<Vec<TaskEvent>, RequestError> {
        let task_id = match self.find(task).await? {
            Found::Live(handle) => handle.latest().record.task_id.clone(),
            Found::Released(released) => released.record.task_id,
        };
        let limit = if limit == 0 { EVENTS_MAX } else { limit.min(EVENTS_MAX) };
        Ok(self.store.events_after(&task_id, after_event_id, limit).await?)
    }

    /// The store, for what a watch reads of it.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) const fn timings(&self) -> &Timings {
        &self.timings
    }

    /// Passes an agent's report on to the task it is about. Waits where the task is behind, and with it the
    /// agent.
    pub(crate) async fn report(&self, agent: &AgentKey, report: v1::Report) {
        let v1::Report { task_id, epoch, report: Some(report) } = report else {
            return tracing::warn!(agent = agent.name, role = %agent.side, "a report without content");
        };
        let handle = task_id.parse().ok().and_then(|task_id: TaskId| self.live_task(&task_id));
        let Some(handle) = handle.filter(|handle| handle.latest().record.agent(agent.side) == agent.name)
        else {
            let (agent, role) = (&agent.name, agent.side);
            return tracing::debug!(task = task_id, agent, %role, "a report on no task of this agent");
        };
        let reported = Message::Reported { side: agent.side, epoch: Epoch(epoch), report: Box::new(report) };
        // An actor that has ended does not need it: the task is released, or the coordinator ends.
        let _ = handle.mailbox.send(reported).await;
    }

    /// Says so where an agent runs tasks that this coordinator does not know; they are not this coordinator's
    /// to stop.
    pub(crate) fn note_strangers(&self, agent: &AgentKey, hello: &v1::Hello) {
        let is_known =
            |task_id: &str| task_id.parse().is_ok_and(|task_id: TaskId| self.live_task(&task_id).is_some());
        for running in hello.running.iter().filter(|running| !is_known(&running.task_id)) {
            tracing::warn!(
                task = running.task_id, epoch = running.epoch, agent = agent.name, role = %agent.side,
                "an agent runs a task that this coordinator does not know"
            );
        }
    }

    /// The retry windows of a task: the shortest among the tasks that are at work on one of its endpoints.
    fn windows(&self, task: &TaskRecord) -> Windows {
        let others = self.views();
        let sharing = others
            .iter()
            .filter(|other| other.record.state.wants_agents() && other.record.shares_endpoint(task))
            .map(|other| self.own_windows(&other.record));
        sharing.fold(self.own_windows(task), Windows::min)
    }

    fn own_windows(&self, task: &TaskRecord) -> Windows {
        let retry = task.spec.retry.unwrap_or_default();
        let window = |minutes: u32| micros(self.timings.retry_minute).saturating_mul(minutes.into());
        Windows { connection_us: window(retry.connection_minutes), other_us: window(retry.other_minutes) }
    }

    fn spawn(self: &Arc<Self>, task: LoadedTask, is_restored: bool) -> Handle {
        let task_id = task.record.task_id.clone();
        let (mailbox, messages) = mpsc::channel(MAILBOX_MAX);
        let (actor, view) = Actor::new(self.clone(), task, is_restored, messages);
        let handle = Handle { mailbox, view };
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(task_id.clone(), handle.clone());
        let (supervisor, mailbox) = (self.clone(), handle.mailbox.clone());
        self.actors.spawn(async move {
            actor.run().await;
            supervisor.forget(&task_id, &mailbox);
        });
        handle
    }

    /// Takes an ended actor out, unless the task was created anew meanwhile.
    fn forget(&self, task_id: &TaskId, mailbox: &mpsc::Sender<Message>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.get(task_id).is_some_and(|handle| handle.mailbox.same_channel(mailbox)) {
            live.remove(task_id);
        }
    }

    fn live_task(&self, task_id: &TaskId) -> Option<Handle> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(task_id).cloned()
    }

    fn views(&self) -> Vec<TaskView> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.values().map(Handle::latest).collect()
    }

    /// By id; otherwise by name, where released tasks count only if no other has it.
    async fn find(&self, task: &str) -> Result<Found, RequestError> {
        if let Ok(task_id) = task.parse()
            && let Some(found) = self.find_id(&task_id).await?
        {
            return Ok(found);
        }
        let named = self.views().into_iter().filter(|view| view.record.spec.name == task);
        let mut ids: Vec<_> = named.map(|view| view.record.task_id.clone()).collect();
        if ids.is_empty() {
            ids = self.store.released_by_name(task).await?;
        }
        ids.sort();
        match ids.as_slice() {
            [] => Err(RequestError::NotFound(task.to_owned())),
            [task_id] => self.find_id(task_id).await?.ok_or_else(|| RequestError::NotFound(task.to_owned())),
            _ => Err(RequestError::Ambiguous { name: task.to_owned(), ids }),
        }
    }

    async fn find_id(&self, task_id: &TaskId) -> Result<Option<Found>, RequestError> {
        let live = self.live_task(task_id).filter(|handle| handle.latest().record.state != State::Released);
        if let Some(handle) = live {
            return Ok(Some(Found::Live(handle)));
        }
        match self.store.find_task(task_id).await? {
            // Its actor has ended, because the coordinator does.
            Some(stored) if stored.record.state != State::Released => Err(RequestError::ShuttingDown),
            stored => Ok(stored.map(|stored| Found::Released(Box::new(stored)))),
        }
    }
}

impl Handle {
    fn latest(&self) -> TaskView {
        self.view.borrow().clone()
    }
}

fn on_released(task: &LoadedTask, operation: Operation) -> Result<v1::Task, RequestError> {
    if operation == Operation::Release {
        return Ok(to_task(task));
    }
    Err(Refused { operation, state: task.record.state.shown(), allowed: operation.allowed() }.into())
}

fn to_task(task: &LoadedTask) -> v1::Task {
    task.record.to_task(task.objects.clone())
}
