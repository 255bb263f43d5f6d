//! Carries out what the coordinator asks: starts and supervises runs, and answers commands.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use strait_proto::v1::coordinator_message::Message;
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{
    Adjust, Assign, Command, CommandResult, Failure, FailureKind, Report, Revoke, Stopped, command_result,
};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::Worker;
use super::assignments::Start;
use super::desk::{Desk, Reports};
use crate::telemetry::names;

/// How many commands are carried out at once.
const COMMANDS_AT_ONCE: usize = 16;
/// How many commands are taken in, running or waiting their turn.
const COMMANDS_MAX: usize = 256;
/// How often a run that is slow to stop is complained about.
const SLOW_STOP: Duration = Duration::from_secs(10);

/// One agent's work.
pub(super) struct Hub<W> {
    worker: Arc<W>,
    desk: Arc<Desk>,
    /// Runs and commands.
    tracker: TaskTracker,
    turns: Semaphore,
    /// The agent shuts down: commands are given up.
    closing: CancellationToken,
    /// Runs are given up too.
    aborting: CancellationToken,
}

impl<W: Worker> Hub<W> {
    pub(super) fn new(worker: Arc<W>) -> Arc<Self> {
        Arc::new(Self {
            worker,
            desk: Arc::new(Desk::new()),
            tracker: TaskTracker::new(),
            turns: Semaphore::new(COMMANDS_AT_ONCE),
            closing: CancellationToken::new(),
            aborting: CancellationToken::new(),
        })
    }

    pub(super) fn worker(&self) -> &W {
        &self.worker
    }

    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Carries out one message, or begins to.
    pub(super) fn handle(self: &Arc<Self>, message: Option<Message>) {
        match message {
            Some(Message::Assign(assign)) => self.assign(assign),
            Some(Message::Revoke(revoke)) => self.revoke(&revoke),
            Some(Message::Command(command)) => self.command(command),
            Some(Message::Adjust(adjust)) => self.adjust(&adjust),
            Some(Message::Welcome(_)) => tracing::warn!("the coordinator welcomed this agent twice"),
            None => tracing::warn!("the coordinator sent what this version does not know"),
        }
    }

    /// Asks every run to stop and gives commands up; nothing new starts.
    pub(super) fn stop_all(&self) {
        self.closing.cancel();
        self.desk.change(|state| state.assignments.stop_all());
        self.tracker.close();
    }

    /// Waits until nothing runs, after [`stop_all`](Self::stop_all).
    pub(super) async fn ended_all(&self) {
        self.tracker.wait().await;
    }

    pub(super) fn still_running(&self) -> Vec<String> {
        self.desk.change(|state| state.assignments.unended())
    }

    /// Aborts what still runs.
    pub(super) fn abort(&self) {
        self.aborting.cancel();
    }

    /// Nothing outlives this guard.
    pub(super) fn abort_on_drop(&self) -> (DropGuard, DropGuard) {
        (self.closing.clone().drop_guard(), self.aborting.clone().drop_guard())
    }

    fn assign(self: &Arc<Self>, assign: Assign) {
        let (task_id, epoch) = (assign.task_id.clone(), assign.epoch);
        tracing::info!(task = task_id, epoch, "assigned");
        if let Some(start) = self.desk.change(|state| state.assignments.assign(assign)) {
            self.start(start);
        }
    }

    fn revoke(&self, revoke: &Revoke) {
        tracing::info!(task = revoke.task_id, epoch = revoke.epoch, "revoked");
        self.desk.change(|state| {
            if state.assignments.revoke(&revoke.task_id, revoke.epoch) {
                state.outbox.push_report(stopped(&revoke.task_id, revoke.epoch));
            }
        });
    }

    fn adjust(&self, adjust: &Adjust) {
        tracing::info!(task = adjust.task_id, epoch = adjust.epoch, throttle = ?adjust.throttle, "adjusted");
        self.desk.change(|state| state.assignments.adjust(adjust));
    }

    fn start(self: &Arc<Self>, start: Start) {
        let span = tracing::info_span!(
            names::SPAN_RUN,
            strait.task.id = start.assign.task_id,
            strait.task.epoch = start.assign.epoch
        );
        self.tracker.spawn(Arc::clone(self).supervise(start).instrument(span));
    }

    async fn supervise(self: Arc<Self>, Start { assign, stop, throttle }: Start) {
        let (task_id, epoch) = (assign.task_id.clone(), assign.epoch);
        let reports = Reports::new(Arc::clone(&self.desk), &task_id, epoch);
        let worker = Arc::clone(&self.worker);
        let token = stop.clone();
        // In a task of its own, so that a panic ends this run and not the supervision.
        let run =
            tokio::spawn(async move { worker.run(assign, reports, throttle, token).await }.in_current_span());
        let ended = tokio::select! {
            ended = abortable(run, &self.aborting) => ended,
            never = complain_when_slow(&stop) => match never {},
        };
        let panicked = ended.err().filter(JoinError::is_panic).map(panic_text);
        self.ended(&task_id, epoch, panicked);
    }

    /// Runs that end are reported and replaced in one step, so that the coordinator never sees a gap between
    /// the two.
    fn ended(self: &Arc<Self>, task_id: &str, epoch: u64, panicked: Option<String>) {
        match &panicked {
            Some(message) => tracing::error!(panic = message, "the run ended in a panic"),
            None => tracing::info!("the run has ended"),
        }
        let start = self.desk.change(|state| {
            let ended = state.assignments.ended(task_id, epoch);
            for epoch in ended.stopped {
                state.outbox.push_report(stopped(task_id, epoch));
            }
            if ended.unexplained {
                let failed = Kind::Failed(unexplained(panicked));
                state.assignments.remember(task_id, epoch, &failed);
                state.outbox.push_report(Report { task_id: task_id.to_owned(), epoch, report: Some(failed) });
            }
            ended.start
        });
        if let Some(start) = start {
            self.start(start);
        }
    }

    fn command(self: &Arc<Self>, Command { request_id, command }: Command) {
        enum Intake {
            New,
            Running,
            TooMany,
        }
        let intake = self.desk.change(|state| {
            if state.commands.contains(&request_id) {
                Intake::Running
            } else if state.commands.len() >= COMMANDS_MAX {
                Intake::TooMany
            } else {
                state.commands.insert(request_id.clone());
                Intake::New
            }
        });
        match (intake, command) {
            // Asked in an earlier session: its answer will do.
            (Intake::Running, _) => {}
            (Intake::New, Some(command)) => {
                let span = tracing::info_span!(names::SPAN_COMMAND, strait.request.id = request_id);
                self.tracker.spawn(Arc::clone(self).carry_out(request_id, command).instrument(span));
            }
            (Intake::New, None) => self.refuse(
                request_id,
                "the agent does not know this command",
                "Update the agent to the coordinator's version.",
                true,
            ),
            (Intake::TooMany, _) => {
                self.refuse(request_id, "the agent has too many commands to carry out", "", false);
            }
        }
    }

    async fn carry_out(self: Arc<Self>, request_id: String, command: strait_proto::v1::command::Command) {
        let answer = async {
            // The semaphore is never closed, so an error cannot come; without a turn the command just goes
            // ahead.
            let _turn = self.turns.acquire().await.ok();
            let worker = Arc::clone(&self.worker);
            let work = tokio::spawn(async move { worker.command(command).await }.in_current_span());
            abortable(work, &self.closing).await
        };
        let result = match answer.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                let cause =
                    format!("the agent's work on the command ended in a panic: {}", panic_text(error));
                command_result::Result::Failure(failure(&cause, "", true))
            }
            // Given up at the shutdown: the coordinator asks again when the agent is back.
            Err(_) => return,
        };
        self.desk.answer(CommandResult { request_id, result: Some(result) });
    }

    fn refuse(&self, request_id: String, cause: &str, remedy: &str, definite: bool) {
        tracing::warn!(request = request_id, cause, "refused a command");
        let result = Some(command_result::Result::Failure(failure(cause, remedy, definite)));
        self.desk.answer(CommandResult { request_id, result });
    }
}

/// Waits for a task, and aborts it when the token is cancelled first, or with this future.
async fn abortable<T>(task: JoinHandle<T>, token: &CancellationToken) -> Result<T, JoinError> {
    struct AbortOnDrop<T>(JoinHandle<T>);
    impl<T> Drop for AbortOnDrop<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = AbortOnDrop(task);
    tokio::select! {
        result = &mut task.0 => return result,
        () = token.cancelled() => task.0.abort(),
    }
    (&mut task.0).await
}

async fn complain_when_slow(stop: &CancellationToken) -> Infallible {
    stop.cancelled().await;
    let asked = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(SLOW_STOP).await;
        tracing::warn!(waiting_s = asked.elapsed().as_secs(), "the run was asked to stop and still goes on");
    }
}

fn stopped(task_id: &str, epoch: u64) -> Report {
    Report { task_id: task_id.to_owned(), epoch, report: Some(Kind::Stopped(Stopped {})) }
}

fn unexplained(panicked: Option<String>) -> Failure {
    let cause = panicked.map_or_else(
        || "the agent's work on the task ended without a reason".to_owned(),
        |message| format!("the agent's work on the task ended in a panic: {message}"),
    );
    failure(
        &cause,
        "Resume the task. If it happens again, it is a defect: report it with the agent's log.",
        true,
    )
}

fn failure(cause: &str, remedy: &str, definite: bool) -> Failure {
    Failure { kind: FailureKind::Other.into(), definite, cause: cause.to_owned(), remedy: remedy.to_owned() }
}

fn panic_text(error: JoinError) -> String {
    let payload = error.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
