//! The tasks that are not released: an actor for each, and the way to it for operators and agents.

mod actor;
mod ask;
mod contact;
mod create;
mod inspect;
mod lines;
mod list;
mod plan;
mod retry;
mod token;
mod view;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

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
use crate::task::spec::{self, Effect};
use crate::task::{Operation, Refused, Side, State, TaskRecord, Windows};
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
    /// Whether notices can be signed: only then are they posted.
    signs: bool,
    /// Those that hold, of the tasks that have some.
    alerts: RwLock<BTreeMap<TaskId, Vec<v1::Alert>>>,
}

/// The way to a task's actor.
#[derive(Clone, Debug)]
struct Handle {
    mailbox: mpsc::Sender<Message>,
    view: watch::Receiver<TaskView>,
}

/// What a start asks for; means nothing to other operations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StartOptions {
    /// End where all that was committed before the full copy ended is applied.
    pub(crate) once: bool,
    /// Not while there is a warning that nobody has confirmed.
    pub(crate) confirmed: bool,
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
        signs: bool,
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
            signs,
            alerts: RwLock::default(),
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
        options: StartOptions,
    ) -> Result<v1::Task, RequestError> {
        let mut handle = match self.find(task).await? {
            Found::Live(handle) => handle,
            Found::Released(released) => return on_released(&released, operation),
        };
        let (reply, answer) = oneshot::channel();
        // Where the actor has ended meanwhile, there is no answer either.
        let _ = handle.mailbox.send(Message::Asked { operation, options, reply }).await;
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

    /// Records that warnings of the last precheck are accepted: those that are named, or all.
    pub(crate) async fn confirm(&self, task: &str, items: Vec<String>) -> Result<v1::Task, RequestError> {
        let handle = match self.find(task).await? {
            Found::Live(handle) => handle,
            Found::Released(released) => return on_released(&released, Operation::Precheck),
        };
        let (reply, answer) = oneshot::channel();
        // As for operations.
        let _ = handle.mailbox.send(Message::Confirmed { items, reply }).await;
        answer.await.map_err(|_| RequestError::ShuttingDown)??;
        Ok(handle.latest().task())
    }

    /// Changes what may change of a task, and answers with the task as it then is.
    pub(crate) async fn update(
        &self,
        task: &str,
        spec: Option<v1::TaskSpec>,
    ) -> Result<v1::Task, RequestError> {
        let spec = spec.ok_or_else(|| RequestError::invalid("spec", "is required"))?;
        let spec = Box::new(self.checked(spec)?);
        let handle = match self.find(task).await? {
            Found::Live(handle) => handle,
            Found::Released(released) => return on_released(&released, Operation::Update(Effect::Live)),
        };
        let (reply, answer) = oneshot::channel();
        // As for operations.
        let _ = handle.mailbox.send(Message::Updated { spec, reply }).await;
        answer.await.map_err(|_| RequestError::ShuttingDown)??;
        Ok(handle.latest().task())
    }

    /// The specification with its defaults, where it can be carried out here.
    fn checked(&self, spec: v1::TaskSpec) -> Result<v1::TaskSpec, RequestError> {
        let spec = spec::normalise(spec).map_err(RequestError::Invalid)?;
        if !self.signs && !spec::alerts_of(&spec).webhook.is_empty() {
            let message =
                "the coordinator has no secret to sign notices with: start it with --webhook-secret-file";
            return Err(RequestError::invalid("alerts.webhook", message));
        }
        Ok(spec)
    }

    /// One task, with everything.
    pub(crate) async fn get(&self, task: &str) -> Result<v1::Task, RequestError> {
        Ok(match self.find(task).await? {
            Found::Live(handle) => self.with_alerts(handle.latest().task()),
            Found::Released(released) => to_task(&released),
        })
    }

    /// The alerts that hold, the oldest first: of one task, or of all.
    pub(crate) async fn alerts(&self, task: &str) -> Result<Vec<v1::Alert>, RequestError> {
        let only = if task.is_empty() { None } else { Some(self.get(task).await?.task_id) };
        let alerts = self.alerts.read().unwrap_or_else(PoisonError::into_inner);
        let mut alerts: Vec<_> = alerts.values().flatten().cloned().collect();
        alerts.retain(|alert| only.as_ref().is_none_or(|only| alert.task_id == *only));
        alerts.sort_by_key(|alert| alert.since_us);
        Ok(alerts)
    }

    /// Replaces what is known of alerts.
    pub(crate) fn set_alerts(&self, alerts: BTreeMap<TaskId, Vec<v1::Alert>>) {
        *self.alerts.write().unwrap_or_else(PoisonError::into_inner) = alerts;
    }

    /// The task with the alerts that hold.
    pub(crate) fn with_alerts(&self, mut task: v1::Task) -> v1::Task {
        let alerts = self.alerts.read().unwrap_or_else(PoisonError::into_inner);
        let task_id: Option<TaskId> = task.task_id.parse().ok();
        task.alerts = task_id.and_then(|task_id| alerts.get(&task_id).cloned()).unwrap_or_default();
        task
    }

    /// A line for the events of a task that is not released.
    pub(crate) async fn note(&self, task_id: &str, line: String) {
        if let Some(handle) = task_id.parse().ok().and_then(|task_id| self.live_task(&task_id)) {
            // An actor that has ended does not need it: the task is released, or the coordinator ends.
            let _ = handle.mailbox.send(Message::Noted { line }).await;
        }
    }

    /// A task that is not released, as it is stored.
    pub(crate) fn record_of(&self, task_id: &TaskId) -> Option<Arc<TaskRecord>> {
        self.live_task(task_id).map(|handle| handle.latest().record)
    }

    /// The agents of a task that have been away for longer than `patience`, for people.
    pub(crate) fn agents_gone(&self, record: &TaskRecord, patience: Duration) -> Vec<String> {
        let gone = Side::BOTH.into_iter().filter(|side| {
            let key = AgentKey { side: *side, name: record.agent(*side).to_owned() };
            self.registry.is_gone(&key, patience)
        });
        gone.map(|side| format!("{side} {}", record.agent(side))).collect()
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
            .filter(|other| other.record.task_id != task.task_id)
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

    pub(crate) fn views(&self) -> Vec<TaskView> {
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
