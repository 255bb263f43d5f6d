//! One task's life: takes what happens to it, one thing after the other, and carries out what follows.
//!
//! ```text
//!   operators ──Asked──┐                          ┌─► store (first)
//!   agents ──Reported──┼─► mailbox ─► transition ─┼─► agents (then): assign, revoke, commands
//!   contacts, timers ──┘       ▲                  └─► view: watches, lists
//!                              └── Done ── work beside it: precheck, stop, release
//! ```
//!
//! The actor waits for nothing but the store, so the mailbox always moves on. What does not fit into an
//! agent's queue ends that agent's session instead of blocking here.

mod effects;
mod inbox;
mod reconcile;

use std::sync::Arc;
use std::time::Duration;

use strait_proto::Epoch;
use strait_proto::v1::{self, TaskSpec, report};
use strait_runtime::Backoff;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::contact::Contact;
use super::work::Done;
use super::{Objects, StartOptions, Supervisor, TaskView, lines};
use crate::clock::now_us;
use crate::error::RequestError;
use crate::registry::AgentKey;
use crate::store::{LoadedTask, StoreError};
use crate::task::precheck::Precheck;
use crate::task::{Command, Event, Operation, Side, State, TaskRecord, transition};

/// How long the actor sleeps where nothing is due.
const IDLE: Duration = Duration::from_secs(3600);
/// The pause after work panicked, so that a defect does not spin.
const AFTER_DEFECT: Duration = Duration::from_secs(5);

/// What reaches an actor from outside.
#[derive(Debug)]
pub(super) enum Message {
    /// An operator wants something; answered once it is stored, or refused.
    Asked { operation: Operation, options: StartOptions, reply: oneshot::Sender<Result<(), RequestError>> },
    /// An operator accepts these warnings, or all; answered like the above.
    Confirmed { items: Vec<String>, reply: oneshot::Sender<Result<(), RequestError>> },
    /// An operator wants the task to be like this; answered like the above.
    Updated { spec: Box<TaskSpec>, reply: oneshot::Sender<Result<(), RequestError>> },
    /// Objects were tried again; answered once their results are taken in.
    Retried { results: Vec<v1::ObjectResult>, reply: oneshot::Sender<()> },
    /// A line for the task's events.
    Noted { line: String },
    /// An agent of the task says something.
    Reported { side: Side, epoch: Epoch, report: Box<report::Report> },
}

pub(super) struct Actor {
    supervisor: Arc<Supervisor>,
    record: Arc<TaskRecord>,
    objects: Arc<Objects>,
    progress: Option<Arc<v1::TaskProgress>>,
    /// When the progress in memory is to be stored; None where it is.
    progress_due: Option<Instant>,
    last_event_id: u64,
    revision: u64,
    source: Contact,
    sink: Contact,
    work: JoinSet<Done>,
    is_prechecking: bool,
    release_pauses: [Backoff; 2],
    /// No retry window closes before: the agents have not had the time to come back yet.
    patient_until: Instant,
    mailbox: mpsc::Receiver<Message>,
    view: watch::Sender<TaskView>,
}

/// A change of the task: what happened, and what else is to be stored with it.
struct Change {
    event: Event,
    once: Option<bool>,
    spec: Option<Box<TaskSpec>>,
    precheck: Option<Precheck>,
    /// Lines for the events.
    news: Vec<String>,
}

impl From<Event> for Change {
    fn from(event: Event) -> Self {
        Self { event, once: None, spec: None, precheck: None, news: Vec::new() }
    }
}

impl Actor {
    /// An actor for a task that was just created, or was read from the store when the coordinator started.
    pub(super) fn new(
        supervisor: Arc<Supervisor>,
        task: LoadedTask,
        is_restored: bool,
        mailbox: mpsc::Receiver<Message>,
    ) -> (Self, watch::Receiver<TaskView>) {
        let LoadedTask { record, objects, last_event_id } = task;
        let (record, objects) = (Arc::new(record), Arc::new(Objects::new(objects)));
        let progress = record.progress.clone().map(Arc::new);
        let timings = supervisor.timings;
        let first_grace = if is_restored { timings.restart_grace } else { timings.contact_grace };
        let contact = |side| contact(&supervisor, &record, side, first_grace);
        let (source, sink) = (contact(Side::Source), contact(Side::Sink));
        let view = TaskView {
            record: record.clone(),
            progress: progress.clone(),
            objects: objects.clone(),
            last_event_id,
            revision: 0,
            busy: record.state.is_passing(),
        };
        let (view, seen) = watch::channel(view);
        let (first, cap) = timings.release_pauses;
        let actor = Self {
            record,
            objects,
            progress,
            progress_due: None,
            last_event_id,
            revision: 0,
            source,
            sink,
            work: JoinSet::new(),
            is_prechecking: false,
            release_pauses: [Backoff::new(first, cap), Backoff::new(first, cap)],
            patient_until: Instant::now() + first_grace,
            mailbox,
            view,
            supervisor,
        };
        (actor, seen)
    }

    /// Looks to the agents that the task names now.
    fn follow_agents(&mut self) {
        let grace = self.supervisor.timings.contact_grace;
        for followed in [&mut self.source, &mut self.sink] {
            if followed.agent() != self.record.agent(followed.side()) {
                *followed = contact(&self.supervisor, &self.record, followed.side(), grace);
            }
        }
    }

    /// Works until the task is released or the coordinator ends. The agents are left running: whoever starts next picks the task up from the store.
    pub(super) async fn run(mut self) {
        let stop = self.supervisor.stop.clone();
        self.apply_surely(Event::Restored.into()).await;
        while self.record.state != State::Released && self.reconcile().await {
            let wake = self.next_wake();
            tokio::select! {
                () = stop.cancelled() => break,
                message = self.mailbox.recv() => match message {
                    Some(message) => self.received(message).await,
                    None => break,
                },
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done).await,
                    Err(error) => self.broke_off(&error).await,
                },
                () = self.source.changed() => {}
                () = self.sink.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
        self.save_progress().await;
    }

    /// Stores what an event makes of the task, then carries out what follows.
    async fn apply(&mut self, change: &Change) -> Result<(), RequestError> {
        let mut next = TaskRecord::clone(&self.record);
        if let Some(spec) = &change.spec {
            next.spec = TaskSpec::clone(spec);
            next.name_generated &= next.spec.name == self.record.spec.name;
        }
        let outcome = transition(&self.record.state, &change.event, &self.context(&next))?;
        if next.state.shown() != outcome.state.shown() {
            next.state_changed_at_us = now_us();
        }
        next.state = outcome.state;
        if outcome.commands.contains(&Command::Assign) {
            // An agent that knows a later epoch than the store, because that was restored, has to be
            // outnumbered too.
            let held =
                [&self.source, &self.sink].into_iter().filter_map(Contact::holds).max().unwrap_or_default();
            next.epoch = next.epoch.max(held).next();
            next.assigned = true;
        }
        next.once = change.once.unwrap_or(next.once);
        if next.state == State::Created {
            // It was of another specification.
            next.precheck.clear();
        }
        if let Some(precheck) = &change.precheck {
            next.precheck.clone_from(&precheck.items);
        }
        let mut news = change.news.clone();
        news.extend(lines::describe(&self.record, &next, &change.event));
        if next != *self.record || !news.is_empty() {
            self.save(next, news).await?;
        }
        for command in outcome.commands {
            self.carry_out(command);
        }
        self.publish();
        Ok(())
    }

    /// For what happened whether it can be stored or not: tries until it is stored. False when the coordinator
    /// ends before that; the agents will say it again to whoever starts next.
    async fn apply_surely(&mut self, change: Change) -> bool {
        let mut backoff = Backoff::default();
        while let Err(error) = self.apply(&change).await {
            match &error {
                RequestError::Store(StoreError::Closed) => return false,
                RequestError::Store(_) => {}
                _ => {
                    // Only operators are refused: a defect, and nothing to try again.
                    tracing::error!(task = %self.record.task_id, %error, "an event was refused");
                    return false;
                }
            }
            let error = chain(&error);
            tracing::error!(task = %self.record.task_id, error, "could not store an event; trying again");
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.supervisor.stop.cancelled() => return false,
            }
        }
        true
    }

    async fn save(&mut self, mut next: TaskRecord, news: Vec<String>) -> Result<(), StoreError> {
        next.progress = self.progress.as_deref().cloned();
        self.last_event_id = self.supervisor.store.save_task(&next, news.clone()).await?;
        for line in news {
            tracing::info!(task = %next.task_id, name = next.spec.name, "{line}");
        }
        self.record = Arc::new(next);
        self.progress_due = None;
        self.revision += 1;
        Ok(())
    }

    fn publish(&self) {
        self.view.send_replace(TaskView {
            record: self.record.clone(),
            progress: self.progress.clone(),
            objects: self.objects.clone(),
            last_event_id: self.last_event_id,
            revision: self.revision,
            busy: self.is_prechecking || self.record.state.is_passing(),
        });
    }
}

fn contact(supervisor: &Supervisor, record: &TaskRecord, side: Side, first_grace: Duration) -> Contact {
    let key = AgentKey { side, name: record.agent(side).to_owned() };
    let grace = supervisor.timings.contact_grace;
    Contact::new(&supervisor.registry, &record.task_id, key, first_grace, grace)
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
