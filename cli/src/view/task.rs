//! A task as a whole.

use serde::Serialize;
use strait_proto::v1::{self, FailureKind, TaskState};

use super::{AlertView, ObjectCounts, ObjectView, PrecheckView, ProgressView, SpecView, known_time, rfc3339};

/// A task. Lists leave `objects` out.
#[derive(Debug, Serialize)]
pub(crate) struct TaskView {
    pub(crate) task_id: String,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    /// Paused, retrying and failed tasks: the phase they return to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) return_to: Option<&'static str>,
    pub(crate) epoch: u64,
    pub(crate) created_at: String,
    pub(crate) state_changed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<RetryView>,
    pub(crate) spec: SpecView,
    pub(crate) progress: ProgressView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) precheck: Option<PrecheckView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) alerts: Vec<AlertView>,
    pub(crate) object_counts: ObjectCounts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<ObjectView>,
}

/// Why something did not work, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FailureView {
    /// connection, other: which retry window counts.
    pub(crate) kind: &'static str,
    /// Trying again cannot help until somebody changes something.
    pub(crate) definite: bool,
    pub(crate) cause: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

/// A task that tries again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RetryView {
    pub(crate) attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt: Option<String>,
    /// When the task fails, if it does not run before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    #[serde(skip)]
    pub(crate) next_attempt_us: i64,
    #[serde(skip)]
    pub(crate) until_us: i64,
}

impl From<&v1::Task> for TaskView {
    fn from(task: &v1::Task) -> Self {
        let spec = SpecView::from(task.spec.as_ref().unwrap_or(&v1::TaskSpec::default()));
        Self {
            task_id: task.task_id.clone(),
            name: spec.name.clone(),
            state: task.state().name(),
            return_to: return_to(task),
            epoch: task.epoch,
            created_at: rfc3339(task.created_at_us),
            state_changed_at: rfc3339(task.state_changed_at_us),
            failure: task.failure.as_ref().map(FailureView::from),
            retry: RetryView::of(task),
            spec,
            progress: task.progress.as_ref().map(ProgressView::from).unwrap_or_default(),
            precheck: PrecheckView::of(&task.precheck),
            alerts: task.alerts.iter().map(AlertView::from).collect(),
            object_counts: ObjectCounts::of(&task.objects),
            objects: task.objects.iter().map(ObjectView::from).collect(),
        }
    }
}

impl From<&v1::Failure> for FailureView {
    fn from(failure: &v1::Failure) -> Self {
        Self {
            kind: match failure.kind() {
                FailureKind::Connection => "connection",
                FailureKind::Other | FailureKind::Unspecified => "other",
            },
            definite: failure.definite,
            cause: failure.cause.clone(),
            remedy: failure.remedy.clone(),
        }
    }
}

impl RetryView {
    pub(crate) fn of(task: &v1::Task) -> Option<Self> {
        let waits = task.attempt != 0 || task.retry_until_us != 0;
        waits.then(|| Self {
            attempt: task.attempt,
            next_attempt: known_time(task.next_attempt_us),
            until: known_time(task.retry_until_us),
            next_attempt_us: task.next_attempt_us,
            until_us: task.retry_until_us,
        })
    }
}

/// The phase that a task returns to, if it has left one.
pub(super) fn return_to(task: &v1::Task) -> Option<&'static str> {
    (task.return_to() != TaskState::Unspecified).then(|| task.return_to().name())
}
