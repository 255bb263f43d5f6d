//! What a running task says, one object a line: the contract that scripts read from `strait sync --output
//! json` and `strait task watch --output json`.

use serde::Serialize;
use strait_proto::v1::{self, TaskState};

use super::task::return_to;
use super::{
    CopyView, FailureView, PrecheckItemView, ProgressView, RateView, RetryView, StreamView, rfc3339,
};

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Line {
    /// The task has changed its state.
    State(StateLine),
    /// How far it is.
    Progress(Box<ProgressLine>),
    /// One check of the precheck.
    Precheck(PrecheckItemView),
    /// Something happened.
    Event(EventView),
}

/// A change of state.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StateLine {
    pub(crate) state: &'static str,
    pub(crate) task_id: String,
    pub(crate) at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) return_to: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<RetryView>,
    #[serde(skip)]
    pub(crate) at_us: i64,
}

/// Progress; only the tables in work are listed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProgressLine {
    pub(crate) task_id: String,
    pub(crate) at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) copy: Option<CopyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<RateView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<StreamView>,
    #[serde(skip)]
    pub(crate) at_us: i64,
}

/// An entry of the task's history.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventView {
    pub(crate) event_id: u64,
    pub(crate) task_id: String,
    pub(crate) at: String,
    pub(crate) text: String,
    #[serde(skip)]
    pub(crate) at_us: i64,
}

impl StateLine {
    /// The state that a task is in.
    pub(crate) fn of(task: &v1::Task) -> Self {
        Self {
            state: task.state().name(),
            task_id: task.task_id.clone(),
            at: rfc3339(task.state_changed_at_us),
            return_to: return_to(task),
            failure: task.failure.as_ref().map(FailureView::from),
            retry: RetryView::of(task),
            at_us: task.state_changed_at_us,
        }
    }

    /// A state that the task has passed through on its way to the one it is in.
    pub(crate) fn passed(task: &v1::Task, state: TaskState) -> Self {
        Self {
            state: state.name(),
            task_id: task.task_id.clone(),
            at: rfc3339(task.state_changed_at_us),
            return_to: None,
            failure: None,
            retry: None,
            at_us: task.state_changed_at_us,
        }
    }
}

impl ProgressLine {
    /// The progress of a task, if it has made any.
    pub(crate) fn of(task: &v1::Task, rate: Option<RateView>, at_us: i64) -> Option<Self> {
        let ProgressView { copy, stream } = task.progress.as_ref().map(ProgressView::from)?;
        if copy.is_none() && stream.is_none() {
            return None;
        }
        Some(Self {
            task_id: task.task_id.clone(),
            at: rfc3339(at_us),
            copy: copy.map(CopyView::in_work),
            rate,
            stream,
            at_us,
        })
    }
}

impl From<&v1::TaskEvent> for EventView {
    fn from(event: &v1::TaskEvent) -> Self {
        Self {
            event_id: event.event_id,
            task_id: event.task_id.clone(),
            at: rfc3339(event.at_us),
            text: event.text.clone(),
            at_us: event.at_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> v1::Task {
        v1::Task {
            task_id: "0123456789ab".to_owned(),
            state: TaskState::Incremental.into(),
            state_changed_at_us: 1_000_000,
            ..v1::Task::default()
        }
    }

    fn json(line: &Line) -> String {
        serde_json::to_string(line).unwrap()
    }

    #[test]
    fn a_state_line_begins_as_the_contract_says() {
        assert_eq!(
            json(&Line::State(StateLine::of(&task()))),
            concat!(
                r#"{"type":"state","state":"incremental","task_id":"0123456789ab","#,
                r#""at":"1970-01-01T00:00:01.000000Z"}"#
            )
        );
    }

    #[test]
    fn a_state_line_carries_the_reason_and_the_countdown() {
        let mut task = task();
        task.set_state(TaskState::Retrying);
        task.set_return_to(TaskState::FullSync);
        task.attempt = 2;
        task.next_attempt_us = 2_000_000;
        task.failure = Some(v1::Failure {
            kind: v1::FailureKind::Connection.into(),
            definite: false,
            cause: "connection refused".to_owned(),
            remedy: String::new(),
        });
        let line: serde_json::Value =
            serde_json::from_str(&json(&Line::State(StateLine::of(&task)))).unwrap();
        assert_eq!(line["state"], "retrying");
        assert_eq!(line["return_to"], "full-sync");
        assert_eq!(line["failure"]["kind"], "connection");
        assert_eq!(line["failure"]["cause"], "connection refused");
        assert_eq!(line["retry"]["attempt"], 2);
        assert_eq!(line["retry"]["next_attempt"], "1970-01-01T00:00:02.000000Z");
        assert!(line["retry"].get("until").is_none());
    }

    #[test]
    fn a_progress_line_prints_positions_as_postgresql_does_and_lists_the_tables_in_work() {
        let table = |name: &str, state: &str| v1::TableProgress {
            table: Some(v1::TableName::new("public", name)),
            state: state.to_owned(),
            ..v1::TableProgress::default()
        };
        let mut task = task();
        assert!(ProgressLine::of(&task, None, 0).is_none());
        task.progress = Some(v1::TaskProgress {
            copy: Some(v1::CopyProgress {
                tables: vec![table("a", "ready"), table("b", "copying"), table("c", "waiting")],
                ..v1::CopyProgress::default()
            }),
            stream: Some(v1::StreamProgress {
                applied_lsn: 0x16_B374_D848,
                latency_us: 1500,
                ..v1::StreamProgress::default()
            }),
        });
        let line = Line::Progress(Box::new(ProgressLine::of(&task, None, 0).unwrap()));
        assert!(json(&line).starts_with(r#"{"type":"progress","task_id":"0123456789ab","#));
        let line: serde_json::Value = serde_json::from_str(&json(&line)).unwrap();
        assert_eq!(line["stream"]["applied_lsn"], "16/B374D848");
        assert!(line["stream"].get("durable_lsn").is_none());
        assert_eq!(line["stream"]["latency_us"], 1500);
        assert_eq!(line["copy"]["tables_total"], 3);
        assert_eq!(line["copy"]["tables_ready"], 1);
        assert_eq!(line["copy"]["tables"].as_array().unwrap().len(), 1);
        assert_eq!(line["copy"]["tables"][0]["table"], "b");
    }

    #[test]
    fn a_precheck_line_is_an_item() {
        let item = v1::PrecheckItem {
            name: "source.wal_level".to_owned(),
            outcome: v1::PrecheckOutcome::Failed.into(),
            detail: "replica".to_owned(),
            cause: "c".to_owned(),
            remedy: "r".to_owned(),
            confirmed: false,
        };
        assert_eq!(
            json(&Line::Precheck(PrecheckItemView::from(&item))),
            concat!(
                r#"{"type":"precheck","name":"source.wal_level","outcome":"failed","#,
                r#""detail":"replica","cause":"c","remedy":"r"}"#
            )
        );
    }
}
