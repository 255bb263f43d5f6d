//! One run of the parts: find or make the task, then ask for the next thing until there is none.

use std::future::pending;
use std::pin::Pin;
use std::time::{Duration, Instant};

use strait_proto::v1::{self, AgentRole, TaskState};
use strait_runtime::Shutdown;

use super::parts::Parts;
use super::state_dir::StateDir;
use super::steps::{self, Call, End, Goal, Situation, Step};
use super::{AGENT, Plan};
use crate::client::{Coordinator, Watch};
use crate::error::Error;
use crate::report::Reporter;

/// How long the agents of this very process may take to reach its coordinator.
const AGENTS_DEADLINE: Duration = Duration::from_secs(15);
const AGENTS_POLL: Duration = Duration::from_millis(20);
/// How long a release may go on before an obstacle ends the wait for it: the other side finishes meanwhile,
/// and what an earlier run met may be mended by now.
const RELEASE_GRACE: Duration = Duration::from_secs(10);
/// How often the situation is looked at where nothing is heard.
const TICK: Duration = Duration::from_secs(1);

/// How a session ended, where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Everything that the task made is gone.
    Released,
    /// The task is paused.
    Paused,
    /// Interrupted where nothing was to be paused.
    Interrupted,
    /// The stored task's life was over already: another one begins in its place.
    StartOver,
}

/// A session with the coordinator of this process.
pub(super) struct Session<'a> {
    plan: &'a Plan,
    state: &'a StateDir,
    interrupt: &'a Shutdown,
    reporter: &'a mut Reporter,
    coordinator: Coordinator,
    watch: Watch,
    task: v1::Task,
    call: Option<CallInFlight>,
    asked: Option<Asked>,
    worked: bool,
    releasing_since: Option<Instant>,
}

type CallInFlight = Pin<Box<dyn Future<Output = Result<v1::Task, Error>> + Send>>;

/// A call, and when the state that it was made in began.
#[derive(Clone, Copy)]
struct Asked {
    call: Call,
    state_changed_at_us: i64,
}

impl<'a> Session<'a> {
    /// Finds the task, or makes it, and begins to watch it.
    pub(super) async fn open(
        plan: &'a Plan,
        state: &'a StateDir,
        parts: &Parts,
        interrupt: &'a Shutdown,
        reporter: &'a mut Reporter,
    ) -> Result<Self, Error> {
        let coordinator = Coordinator::in_process(parts.coordinator_uri()).await?;
        let task_id = plan.task_id.as_str();
        let found = coordinator.find(task_id).await?;
        let mut last_event_id = 0;
        if found.is_some() {
            // What an earlier run has said is not said again.
            last_event_id = coordinator.events(task_id, 0).await?.last().map_or(0, |event| event.event_id);
            reporter.skip_events(last_event_id);
        }
        let task = match found {
            Some(task) if plan.goal == Goal::Release || is_over(&task, plan, state) => task,
            found => find_or_create(plan, state, &coordinator, found).await?,
        };
        reporter.observe(&task, &coordinator.events(task_id, last_event_id).await?)?;
        let mut watch = coordinator.watch(task_id).await?;
        let (task, events) = watch.next().await?.unwrap_or((task, Vec::new()));
        reporter.observe(&task, &events)?;
        agents_connected(&coordinator).await?;
        Ok(Self {
            plan,
            state,
            interrupt,
            reporter,
            coordinator,
            watch,
            releasing_since: (task.state() == TaskState::Releasing).then(Instant::now),
            worked: at_work(task.state()),
            task,
            call: None,
            asked: None,
        })
    }

    /// Asks for the next thing until there is none.
    pub(super) async fn run(mut self, parts: &mut Parts) -> Result<Ending, Error> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            match steps::next(self.situation()) {
                Step::End(end) => return self.ending(end),
                Step::Call(call) => self.ask(call)?,
                Step::Wait => {}
            }
            tokio::select! {
                answer = self.watch.next() => match answer? {
                    Some((task, events)) => self.observe(task, &events)?,
                    None if self.task.state() == TaskState::Released => {}
                    None => return Err(Error::WatchEnded),
                },
                answered = in_flight(&mut self.call) => {
                    self.call = None;
                    answered?;
                }
                error = parts.ended() => return Err(error),
                () = self.interrupt.cancelled(), if !self.interrupt.is_cancelled() => {}
                _ = tick.tick() => {}
            }
        }
    }

    fn situation(&self) -> Situation {
        let awaiting =
            self.asked.is_some_and(|asked| asked.state_changed_at_us == self.task.state_changed_at_us);
        let definite = self.task.failure.as_ref().is_some_and(|failure| failure.definite);
        Situation {
            goal: self.plan.goal,
            state: self.task.state(),
            interrupted: self.interrupt.is_cancelled(),
            asked: self.asked.map(|asked| asked.call),
            awaiting,
            worked: self.worked,
            release_blocked: definite
                && self.releasing_since.is_some_and(|since| since.elapsed() >= RELEASE_GRACE),
            finished: self.state.is_finished(),
        }
    }

    fn ask(&mut self, call: Call) -> Result<(), Error> {
        match (call, self.plan.goal) {
            (Call::Start, Goal::Once) => self.state.set_once()?,
            // Reached by --once alone: what is left after a crash from here on is the release.
            (Call::Release, Goal::Once) => self.state.set_finished()?,
            _ => {}
        }
        let (coordinator, task) = (self.coordinator.clone(), self.task.task_id.clone());
        let once = self.plan.goal == Goal::Once;
        self.call = Some(Box::pin(async move {
            match call {
                Call::Precheck => coordinator.precheck(&task).await,
                Call::Start => coordinator.start(&task, once, false).await,
                Call::Resume => coordinator.resume(&task).await,
                Call::Pause => coordinator.pause(&task).await,
                Call::Release => coordinator.release(&task).await,
            }
        }));
        self.asked = Some(Asked { call, state_changed_at_us: self.task.state_changed_at_us });
        Ok(())
    }

    fn observe(&mut self, task: v1::Task, events: &[v1::TaskEvent]) -> Result<(), Error> {
        self.reporter.observe(&task, events)?;
        let took_effect =
            self.asked.is_some_and(|asked| asked.state_changed_at_us != task.state_changed_at_us);
        if task.state() == TaskState::Releasing {
            self.releasing_since.get_or_insert_with(Instant::now);
        }
        self.worked |= took_effect || at_work(task.state());
        self.task = task;
        Ok(())
    }

    fn ending(&self, end: End) -> Result<Ending, Error> {
        let failure = || Box::new(self.task.failure.clone().unwrap_or_default());
        match end {
            End::Released => Ok(Ending::Released),
            End::Paused => Ok(Ending::Paused),
            End::Interrupted => Ok(Ending::Interrupted),
            End::StartOver => Ok(Ending::StartOver),
            End::Failed => Err(Error::TaskFailed(failure())),
            End::ReleaseFailed => Err(Error::ReleaseFailed(failure())),
            End::PrecheckFailed => Err(Error::precheck_failed(&self.task, self.plan.told)),
        }
    }
}

/// The answer of a call that is under way; never where there is none.
async fn in_flight(call: &mut Option<CallInFlight>) -> Result<v1::Task, Error> {
    match call {
        Some(call) => call.await,
        None => pending().await,
    }
}

/// Whether nothing is left to do for a stored task but to see its release to its end.
fn is_over(task: &v1::Task, plan: &Plan, state: &StateDir) -> bool {
    match task.state() {
        TaskState::Releasing => true,
        TaskState::Released => plan.goal == Goal::Once && state.is_finished(),
        _ => false,
    }
}

/// The task that the command line describes. The coordinator makes it where there is none or it is released,
/// and compares it with the one that is there otherwise.
async fn find_or_create(
    plan: &Plan,
    state: &StateDir,
    coordinator: &Coordinator,
    found: Option<v1::Task>,
) -> Result<v1::Task, Error> {
    let request = v1::CreateTaskRequest {
        spec: Some(plan.spec.clone()),
        client_token: String::new(),
        task_id: plan.task_id.to_string(),
        validate_only: false,
    };
    let task = coordinator.create(request).await.map_err(|error| match error {
        Error::Refused(status) if status.code() == tonic::Code::AlreadyExists => {
            Error::Changed(status.message().to_owned())
        }
        error => error,
    })?;
    let was_started = found.is_some()
        && !matches!(
            task.state(),
            TaskState::Created | TaskState::Prechecking | TaskState::PrecheckFailed | TaskState::Ready
        );
    if !was_started {
        state.forget_start()?;
    } else if state.is_once() != (plan.goal == Goal::Once) {
        return Err(Error::Mode { once: state.is_once() });
    }
    Ok(task)
}

/// Both agents answer to the coordinator.
async fn agents_connected(coordinator: &Coordinator) -> Result<(), Error> {
    let deadline = Instant::now() + AGENTS_DEADLINE;
    loop {
        let agents = coordinator.agents().await?;
        let connected = |role: AgentRole| {
            agents.iter().any(|agent| agent.agent == AGENT && agent.role() == role && agent.connected)
        };
        if connected(AgentRole::Source) && connected(AgentRole::Sink) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Part {
                part: "the agents did not reach the coordinator".to_owned(),
                source: None,
            });
        }
        tokio::time::sleep(AGENTS_POLL).await;
    }
}

fn at_work(state: TaskState) -> bool {
    state == TaskState::Prechecking || steps::is_running(state)
}
