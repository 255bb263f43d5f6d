//! When a task needs somebody's attention: a pure function of what is known of it.

use std::time::Duration;

use strait_proto::TaskId;
use strait_proto::v1::{self, Alert, AlertSeverity, PrecheckOutcome, SlotInfo};

use super::span;
use crate::supervise::TaskView;
use crate::task::spec::alerts_of;
use crate::task::{Phase, SideRelease, State};

/// The part of a retry window after which it counts as nearly spent, percent.
const WINDOW_PERCENT: i64 = 75;
/// Catalog rows of more transactions than that cannot be cleaned up: half of where PostgreSQL begins to freeze by force.
const XMIN_AGE: u64 = 100_000_000;

/// Every kind of alert.
pub(super) const KINDS: [&str; 10] =
    [FAILURE, RETRY, LATENCY, RETENTION, SLOT, XMIN, AGENT, PAUSED, PRECHECK, RELEASE];
const FAILURE: &str = "failure";
const RETRY: &str = "retry";
const LATENCY: &str = "latency";
const RETENTION: &str = "retention";
const SLOT: &str = "slot";
const XMIN: &str = "xmin";
const AGENT: &str = "agent";
const PAUSED: &str = "paused";
const PRECHECK: &str = "precheck";
const RELEASE: &str = "release";

/// What is known beside the task itself.
pub(super) struct Facts<'a> {
    pub(super) now_us: i64,
    /// The task's agents that have been away for long.
    pub(super) gone: Vec<String>,
    /// The task's slot as the source's server has it; None where it was not looked at or is not there.
    pub(super) slot: Option<&'a SlotInfo>,
    /// How long a task may be paused without a word.
    pub(super) paused_long: Duration,
}

/// What is wrong with a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: &'static str,
    severity: AlertSeverity,
    cause: String,
    remedy: String,
}

impl Finding {
    pub(super) fn alert(&self, task_id: &TaskId, since_us: i64) -> Alert {
        Alert {
            task_id: task_id.to_string(),
            kind: self.kind.to_owned(),
            severity: self.severity.into(),
            cause: self.cause.clone(),
            remedy: self.remedy.clone(),
            since_us,
            resolved_us: 0,
        }
    }
}

/// Everything that is wrong with a task now.
pub(super) fn findings(view: &TaskView, facts: &Facts<'_>) -> Vec<Finding> {
    use AlertSeverity::{Critical, Warning};
    const RESUME_OR_RELEASE: &str =
        "resume the task, or release it: until then its slot keeps log at the source";

    let record = &view.record;
    let policy = alerts_of(&record.spec);
    let mut found = Vec::new();
    let mut say = |kind, severity, cause: String, remedy: &str| {
        found.push(Finding { kind, severity, cause, remedy: remedy.to_owned() });
    };
    match &record.state {
        State::Failed { failure, .. } if policy.on_failure() => {
            say(FAILURE, Critical, failure.cause.clone(), &failure.remedy);
        }
        State::Retrying(retry) => {
            let (window, spent) = (retry.until_us - retry.since_us, facts.now_us - retry.since_us);
            if spent.saturating_mul(100) >= window.saturating_mul(WINDOW_PERCENT) {
                let left = duration(retry.until_us - facts.now_us);
                let failure = retry.failure();
                say(
                    RETRY,
                    Warning,
                    format!("the task fails in {}: {}", span(left), failure.cause),
                    &failure.remedy,
                );
            }
        }
        State::Paused { .. } => {
            let paused = duration(facts.now_us - record.state_changed_at_us);
            if paused >= facts.paused_long {
                say(PAUSED, Warning, format!("paused for {}", span(paused)), RESUME_OR_RELEASE);
            }
        }
        State::Releasing { source, sink } => {
            for (side, release) in [("source", source), ("destination", sink)] {
                if let SideRelease::Blocked(failure) = release {
                    let cause = format!("the release waits at the {side}: {}", failure.cause);
                    say(RELEASE, Warning, cause, &failure.remedy);
                    break;
                }
            }
        }
        _ => {}
    }
    let is_over = matches!(record.state, State::Finished | State::Releasing { .. } | State::Released);
    if !record.assigned || is_over {
        return found;
    }
    let mut say = |kind, severity, cause: String, remedy: &str| {
        found.push(Finding { kind, severity, cause, remedy: remedy.to_owned() });
    };
    let stream = view.progress.as_ref().and_then(|progress| progress.stream.as_ref());
    if let (State::Running { phase: Phase::Incremental }, Some(stream)) = (&record.state, stream) {
        let latency = Duration::from_micros(stream.latency_us.max(stream.oldest_heartbeat_us));
        if policy.latency_above_ms > 0 && latency > Duration::from_millis(policy.latency_above_ms) {
            let cause = format!("latency is {}", span(latency));
            say(LATENCY, Warning, cause, "`strait task show` says on which hop the time goes");
        }
    }
    if !facts.gone.is_empty() {
        let cause = format!("out of contact: {}", facts.gone.join(", "));
        say(AGENT, Warning, cause, "start the agent again, and see that it reaches the coordinator");
    }
    let reported = stream.map_or(0, |stream| stream.retained_bytes);
    let retained = facts.slot.map_or(reported, |slot| slot.retained_bytes);
    if retained > policy.slot_retained_above_bytes {
        let cause = format!("the slot keeps {} of log at the source", bytes(retained));
        say(RETENTION, Warning, cause, RESUME_OR_RELEASE);
    }
    if let Some(slot) = facts.slot {
        match slot.wal_status.as_str() {
            "lost" => say(
                SLOT,
                Critical,
                format!("the server has dropped log that slot {} needs", slot.name),
                "release the task and start it again: what is gone cannot be read any more",
            ),
            "unreserved" => {
                let left =
                    slot.safe_wal_bytes.map(|left| format!(", {left} bytes from that")).unwrap_or_default();
                let cause = format!("the server is about to drop log that slot {} needs{left}", slot.name);
                say(
                    SLOT,
                    Critical,
                    cause,
                    "ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf(); and resume the task",
                );
            }
            _ => {}
        }
        if slot.xmin_age > XMIN_AGE {
            let cause = format!(
                "the slot keeps catalog rows of {} transactions from being cleaned up",
                slot.xmin_age
            );
            say(XMIN, Warning, cause, RESUME_OR_RELEASE);
        }
    }
    let failed = record.precheck.iter().filter(|item| item.outcome() == PrecheckOutcome::Failed);
    let failed: Vec<&v1::PrecheckItem> = failed.collect();
    if let Some(first) = failed.first() {
        let names: Vec<&str> = failed.iter().map(|item| item.name.as_str()).collect();
        say(PRECHECK, Warning, format!("the last precheck failed in {}", names.join(", ")), &first.remedy);
    }
    found
}

fn duration(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut rest, mut unit) = (bytes, 0);
    while rest >= 10 * 1024 && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    format!("{rest} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strait_proto::Epoch;
    use strait_proto::v1::{AlertPolicy, PrecheckItem, StreamProgress, TaskProgress, TaskSpec};

    use super::*;
    use crate::supervise::Objects;
    use crate::task::{Interruption, Retry, RetryReason, TaskRecord};

    fn view(state: State, stream: StreamProgress) -> TaskView {
        let alerts = AlertPolicy {
            latency_above_ms: 5_000,
            slot_retained_above_bytes: 1000,
            ..AlertPolicy::default()
        };
        let record = TaskRecord {
            task_id: "aaaaaaaaaaaa".parse().unwrap(),
            spec: TaskSpec { alerts: Some(alerts), ..TaskSpec::default() },
            name_generated: false,
            client_token: String::new(),
            state,
            epoch: Epoch(1),
            assigned: true,
            once: false,
            created_at_us: 0,
            state_changed_at_us: 0,
            precheck: vec![],
            progress: None,
        };
        TaskView {
            record: Arc::new(record),
            progress: Some(Arc::new(TaskProgress { copy: None, stream: Some(stream) })),
            objects: Arc::new(Objects::default()),
            last_event_id: 0,
            revision: 0,
            busy: false,
        }
    }

    fn kinds(view: &TaskView, now_s: i64, slot: Option<&SlotInfo>, gone: &[&str]) -> Vec<&'static str> {
        let gone = gone.iter().map(|name| (*name).to_owned()).collect();
        let facts = Facts { now_us: now_s * 1_000_000, gone, slot, paused_long: Duration::from_secs(86_400) };
        findings(view, &facts).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn each_trouble_has_its_alert_and_a_healthy_task_none() {
        let running = State::Running { phase: Phase::Incremental };
        let return_to = Phase::Incremental;
        let healthy = StreamProgress { latency_us: 1000, retained_bytes: 10, ..StreamProgress::default() };
        let slot = |retained_bytes, wal_status: &str, xmin_age| SlotInfo {
            retained_bytes,
            wal_status: wal_status.to_owned(),
            xmin_age,
            ..SlotInfo::default()
        };
        let is = |state: &State, stream: StreamProgress, now_s| {
            kinds(&view(state.clone(), stream), now_s, None, &[])
        };
        assert_eq!(is(&running, healthy.clone(), 100), [""; 0]);
        assert_eq!(is(&running, StreamProgress { latency_us: 6_000_000, ..healthy.clone() }, 0), [LATENCY]);
        assert_eq!(
            is(&running, StreamProgress { oldest_heartbeat_us: 6_000_000, ..healthy.clone() }, 0),
            [LATENCY]
        );
        assert_eq!(is(&running, StreamProgress { retained_bytes: 1001, ..healthy.clone() }, 0), [RETENTION]);
        let failure = v1::Failure::default();
        assert_eq!(is(&State::Failed { return_to, failure: failure.clone() }, healthy.clone(), 0), [FAILURE]);
        let interruption = Interruption { failure: failure.clone(), attempt: 1, next_attempt_us: 0 };
        let retry = Retry {
            return_to,
            since_us: 0,
            until_us: 100_000_000,
            reason: RetryReason::Interrupted(interruption),
        };
        assert_eq!(is(&State::Retrying(retry.clone()), healthy.clone(), 74), [""; 0]);
        assert_eq!(is(&State::Retrying(retry), healthy.clone(), 75), [RETRY]);
        assert_eq!(is(&State::Paused { return_to }, healthy.clone(), 86_399), [""; 0]);
        assert_eq!(is(&State::Paused { return_to }, healthy.clone(), 86_400), [PAUSED]);
        let blocked = State::Releasing { source: SideRelease::Blocked(failure), sink: SideRelease::Done };
        assert_eq!(is(&blocked, StreamProgress { retained_bytes: 1 << 40, ..healthy.clone() }, 0), [RELEASE]);

        let paused = view(State::Paused { return_to }, healthy.clone());
        for (slot, expected) in [
            (slot(500, "reserved", 5), vec![]),
            (slot(2000, "extended", 5), vec![RETENTION]),
            (slot(0, "unreserved", 5), vec![SLOT]),
            (slot(0, "lost", 5), vec![SLOT]),
            (slot(0, "reserved", 200_000_000), vec![XMIN]),
        ] {
            assert_eq!(kinds(&paused, 0, Some(&slot), &[]), expected, "{slot:?}");
        }
        assert_eq!(kinds(&paused, 0, None, &["source-agent eu-1"]), [AGENT]);

        let mut unchecked = view(running, healthy);
        let item = PrecheckItem { outcome: PrecheckOutcome::Failed.into(), ..PrecheckItem::default() };
        Arc::get_mut(&mut unchecked.record).unwrap().precheck = vec![item];
        assert_eq!(kinds(&unchecked, 0, None, &[]), [PRECHECK]);
    }

    #[test]
    fn whoever_does_not_want_to_hear_of_failures_does_not() {
        let mut view = view(
            State::Failed { return_to: Phase::FullSync, failure: v1::Failure::default() },
            StreamProgress::default(),
        );
        let record = Arc::get_mut(&mut view.record).unwrap();
        record.spec.alerts = Some(AlertPolicy { on_failure: Some(false), ..AlertPolicy::default() });
        assert_eq!(kinds(&view, 0, None, &[]), [""; 0]);
    }
}
