//! Where work and the session meet: the assignments and the outbox, under one lock that nobody holds across a
//! wait.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, UpDownCounter};
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{AgentMessage, CommandResult, Report, RunningTask};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::assignments::Assignments;
use super::outbox::{Offer, Outbox};
use crate::telemetry::names;

/// How long a report waits for a session that sends nothing before that session counts as broken.
const STALL_DEADLINE: Duration = Duration::from_secs(10);

/// Shared by the session and all runs.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Something waits to be sent.
    outgoing: Notify,
    /// Something was sent, or nothing will be.
    space: Notify,
    stall_deadline: Duration,
    dropped: Counter<u64>,
    sessions: UpDownCounter<i64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) assignments: Assignments,
    pub(super) outbox: Outbox,
    /// The requests that are being carried out.
    pub(super) commands: HashSet<String>,
    /// Cancelled when the open session is to end.
    session: Option<CancellationToken>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with_stall_deadline(STALL_DEADLINE)
    }

    fn with_stall_deadline(stall_deadline: Duration) -> Self {
        let meter = opentelemetry::global::meter(names::METER);
        Self {
            state: Mutex::default(),
            outgoing: Notify::new(),
            space: Notify::new(),
            stall_deadline,
            dropped: meter.u64_counter(names::METRIC_REPORTS_DROPPED).build(),
            sessions: meter.i64_up_down_counter(names::METRIC_CONTROL_SESSIONS).build(),
        }
    }

    /// Changes the state; whatever that puts into the outbox is on its way.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.outgoing.notify_one();
        changed
    }

    pub(super) fn running(&self) -> Vec<RunningTask> {
        self.lock().assignments.running()
    }

    /// Opens the outbox for a session, which lasts until the guard is dropped; the session has to end when
    /// the token is cancelled.
    pub(super) fn open(self: &Arc<Self>) -> (OpenSession, CancellationToken) {
        let token = CancellationToken::new();
        self.change(|state| {
            let states = state.assignments.last_reports();
            state.outbox.open(states);
            state.session = Some(token.clone());
        });
        self.sessions.add(1, &[]);
        (OpenSession(Arc::clone(self)), token)
    }

    /// Waits until there is something to send.
    pub(super) async fn outgoing(&self) {
        loop {
            let notified = self.outgoing.notified();
            if !self.lock().outbox.is_empty() {
                return;
            }
            notified.await;
        }
    }

    pub(super) fn pop(&self) -> Option<AgentMessage> {
        let message = self.lock().outbox.pop();
        self.space.notify_waiters();
        message
    }

    /// A command is done.
    pub(super) fn answer(&self, result: CommandResult) {
        self.change(|state| {
            state.commands.remove(&result.request_id);
            state.outbox.push_result(result);
        });
    }

    fn offer(&self, report: &Report) -> Offer {
        self.change(|state| {
            if !state.assignments.is_current(&report.task_id, report.epoch) {
                tracing::debug!(task = report.task_id, epoch = report.epoch, "a report of a replaced epoch");
                return Offer::Taken;
            }
            if let Some(kind) = &report.report {
                state.assignments.remember(&report.task_id, report.epoch, kind);
            }
            state.outbox.offer(report.clone())
        })
    }

    fn close(&self) {
        let session = self.change(|state| {
            state.outbox.close();
            state.session.take()
        });
        if let Some(session) = session {
            session.cancel();
        }
        self.space.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is never left half changed by what can panic under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outbox is open as long as this is there.
#[derive(Debug)]
pub(super) struct OpenSession(Arc<Desk>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.close();
        self.0.sessions.add(-1, &[]);
    }
}

/// Where a run says how it goes: one for each epoch of a task. Clones report for the same epoch.
#[derive(Clone, Debug)]
pub struct Reports {
    desk: Arc<Desk>,
    task_id: Arc<str>,
    epoch: u64,
}

impl Reports {
    pub(super) fn new(desk: Arc<Desk>, task_id: &str, epoch: u64) -> Self {
        Self { desk, task_id: task_id.into(), epoch }
    }

    /// Reports to the coordinator.
    ///
    /// Of `phase`, `interrupted`, `failed` and `finished` the last one is kept and said again after each
    /// reconnect. `progress` is dropped where there is no session or no room. `objects` and `notice` wait in
    /// a bounded queue; one that is on its way when the session breaks may be lost. Once a higher epoch was
    /// assigned, nothing of this one is sent. `stopped` is said by the session itself.
    ///
    /// Returns at once unless the queue is full while there is a session, and then after ten seconds at most.
    /// Safe to drop.
    pub async fn send(&self, report: Kind) {
        let report = Report { task_id: self.task_id.to_string(), epoch: self.epoch, report: Some(report) };
        let deadline = Instant::now() + self.desk.stall_deadline;
        loop {
            let space = self.desk.space.notified();
            match self.desk.offer(&report) {
                Offer::Taken => return,
                Offer::Dropped(kind) => return self.dropped(kind),
                Offer::Full if timeout_at(deadline, space).await.is_err() => {
                    tracing::warn!(
                        task = &*self.task_id,
                        "the coordinator takes no reports: ending the session"
                    );
                    self.desk.close();
                }
                Offer::Full => {}
            }
        }
    }

    fn dropped(&self, kind: &'static str) {
        self.desk.dropped.add(1, &[KeyValue::new("strait.report.kind", kind)]);
        if kind != "progress" {
            tracing::warn!(
                task = &*self.task_id,
                kind,
                "no coordinator for too long: dropped the oldest report"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{Assign, Finished, TaskNotice};

    use super::super::outbox::REPORTS_MAX;
    use super::*;

    fn desk(stall_deadline: Duration) -> (Arc<Desk>, Reports) {
        let desk = Arc::new(Desk::with_stall_deadline(stall_deadline));
        let assign = Assign { task_id: "t".into(), epoch: 1, ..Assign::default() };
        desk.change(|state| state.assignments.assign(assign)).unwrap();
        let reports = Reports::new(Arc::clone(&desk), "t", 1);
        (desk, reports)
    }

    async fn fill(reports: &Reports) {
        for _ in 0..REPORTS_MAX {
            reports.send(Kind::Notice(TaskNotice::default())).await;
        }
    }

    #[tokio::test]
    async fn a_report_waits_for_room() {
        let (desk, reports) = desk(STALL_DEADLINE);
        let (_open, token) = desk.open();
        fill(&reports).await;
        let waiting = tokio::spawn(async move { reports.send(Kind::Finished(Finished {})).await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        desk.pop();
        waiting.await.unwrap();
        assert!(!token.is_cancelled());
    }

    #[tokio::test]
    async fn a_session_that_sends_nothing_is_given_up_and_work_goes_on() {
        let (desk, reports) = desk(Duration::from_millis(20));
        let (open, token) = desk.open();
        fill(&reports).await;
        reports.send(Kind::Finished(Finished {})).await;
        assert!(token.is_cancelled());
        drop(open);
        let (_open, token) = desk.open();
        assert!(!token.is_cancelled());
        let first = desk.pop().unwrap();
        assert!(format!("{first:?}").contains("Finished"), "{first:?}");
    }

    #[tokio::test]
    async fn without_a_session_reports_never_wait() {
        let (_desk, reports) = desk(STALL_DEADLINE);
        fill(&reports).await;
        reports.send(Kind::Notice(TaskNotice::default())).await;
        reports.send(Kind::Finished(Finished {})).await;
    }
}
