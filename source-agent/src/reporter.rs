//! What a run tells the coordinator.
//!
//! After an interruption the phase is reported again only once something has moved: an attempt that reconnects and fails
//! at the very same change must not look as if the task ran, or its retry window would never close.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strait_proto::v1::{self, TaskState, report::Report};
use strait_runtime::agent::Reports;

use crate::metrics::TaskMetrics;

/// The most results in one report.
pub(crate) const RESULTS_MAX: usize = 200;

/// Lines that are remembered as told; a run does not have more to say of this kind.
const TOLD_MAX: usize = 1000;

/// Where a run says how it goes. Clones tell the same coordinator.
#[derive(Clone)]
pub(crate) struct Reporter {
    reports: Reports,
    phase: Arc<Mutex<Phase>>,
    told: Arc<Mutex<HashSet<String>>>,
    metrics: Arc<TaskMetrics>,
    /// Its phases, progress and ends are not the task's: nobody is told of them.
    aside: bool,
}

#[derive(Debug, Default)]
struct Phase {
    current: Option<TaskState>,
    reported: Option<TaskState>,
    /// Broken off, and nothing has moved since.
    interrupted: bool,
}

impl Phase {
    /// The phase to report now, if one is due.
    fn due(&mut self) -> Option<TaskState> {
        if self.interrupted || self.current == self.reported {
            return None;
        }
        self.reported = self.current;
        self.current
    }
}

impl Reporter {
    pub(crate) fn new(reports: Reports, task_id: &str) -> Self {
        let metrics = Arc::new(TaskMetrics::new(task_id));
        Self { reports, phase: Arc::default(), told: Arc::default(), metrics, aside: false }
    }

    /// For work beside the task's own, which is told of in events and results alone.
    pub(crate) fn aside(&self) -> Self {
        Self { phase: Arc::default(), aside: true, ..self.clone() }
    }

    /// The attempt works on this phase now.
    pub(crate) async fn enter(&self, phase: TaskState) {
        self.update(|state| state.current = Some(phase)).await;
    }

    /// Something has become durable at the destination. Cheap where nothing is due.
    pub(crate) async fn moved(&self) {
        self.update(|state| state.interrupted = false).await;
    }

    /// Whether nothing has moved since the last interruption.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).interrupted
    }

    /// The attempt broke off; another one follows.
    pub(crate) async fn interrupted(&self, failure: v1::Failure, attempt: u32, retry_in: Duration) {
        tracing::warn!(attempt, ?retry_in, cause = failure.cause, "interrupted");
        self.update(|state| (state.interrupted, state.reported) = (true, None)).await;
        if self.aside {
            return;
        }
        self.metrics.interrupted();
        let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
        let interrupted = v1::Interrupted { failure: Some(failure), attempt, retry_in_ms };
        self.reports.send(Report::Interrupted(interrupted)).await;
    }

    /// The run ends, a person is needed.
    pub(crate) async fn failed(&self, failure: v1::Failure) {
        tracing::error!(cause = failure.cause, remedy = failure.remedy, "failed");
        self.reports.send(Report::Failed(failure)).await;
    }

    /// `once` is fulfilled.
    pub(crate) async fn finished(&self) {
        tracing::info!("finished");
        self.reports.send(Report::Finished(v1::Finished {})).await;
    }

    /// A line for the task's events.
    pub(crate) async fn notice(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::info!(notice = text);
        self.reports.send(Report::Notice(v1::TaskNotice { text })).await;
    }

    /// A line that may come up at every attempt, told once a run.
    pub(crate) async fn notice_once(&self, text: String) {
        let is_new = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.len() < TOLD_MAX && told.insert(text.clone())
        };
        if is_new {
            self.notice(text).await;
        }
    }

    /// What became of objects.
    pub(crate) async fn objects(&self, results: Vec<v1::ObjectResult>) {
        let mut rest = results;
        if self.aside {
            // Found again is what the task has made itself.
            rest.retain(|result| result.outcome() != v1::ObjectOutcome::Existed);
        }
        while !rest.is_empty() {
            let next = rest.split_off(rest.len().min(RESULTS_MAX));
            self.reports.send(Report::Objects(v1::ObjectResults { results: rest })).await;
            rest = next;
        }
    }

    pub(crate) async fn progress(&self, progress: v1::TaskProgress) {
        if !self.aside {
            self.metrics.record(&progress);
            self.reports.send(Report::Progress(progress)).await;
        }
    }

    async fn update(&self, change: impl FnOnce(&mut Phase)) {
        let due = {
            let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut phase);
            phase.due()
        };
        if let Some(phase) = due.filter(|_| !self.aside) {
            tracing::info!(%phase, "running");
            self.reports.send(Report::Phase(v1::PhaseReached { phase: phase.into() })).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_due_once_and_after_an_interruption_only_when_something_moved() {
        let mut phase = Phase { current: Some(TaskState::FullSync), ..Phase::default() };
        assert_eq!(phase.due(), Some(TaskState::FullSync));
        assert_eq!(phase.due(), None);

        (phase.interrupted, phase.reported) = (true, None);
        assert_eq!(phase.due(), None, "nothing has moved");
        phase.current = Some(TaskState::Incremental);
        assert_eq!(phase.due(), None, "reconnecting is not moving");
        phase.interrupted = false;
        assert_eq!(phase.due(), Some(TaskState::Incremental));
    }
}
