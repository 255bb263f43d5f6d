//! States that fall between two answers of the coordinator.
//!
//! A state may last shorter than the way of an answer. Where the life of a task knows only one way from one
//! state to another, the states between are known, and they are said: scripts wait for them.

use strait_proto::v1::TaskState;

/// What a task passes on its way, when nothing goes wrong.
const WAY: [TaskState; 9] = [
    TaskState::Created,
    TaskState::Prechecking,
    TaskState::Ready,
    TaskState::SchemaSync,
    TaskState::FullSync,
    TaskState::Incremental,
    TaskState::Finished,
    TaskState::Releasing,
    TaskState::Released,
];

/// The states that a task must have passed between two that were seen. None where several ways are possible.
pub(super) fn between(from: TaskState, to: TaskState) -> &'static [TaskState] {
    let releases = to == TaskState::Released && from != TaskState::Releasing && from != TaskState::Released;
    if to == TaskState::PrecheckFailed && from == TaskState::Created {
        return &WAY[1..2];
    }
    let (Some(start), Some(end)) = (place(from), place(to)) else {
        return if releases { &WAY[7..8] } else { &[] };
    };
    // A task can be released from every state: only what came last is certain.
    if releases && from != TaskState::Finished {
        return &WAY[7..8];
    }
    if to == TaskState::Releasing || end <= start { &[] } else { &WAY[start + 1..end] }
}

/// Whether an event says no more than what has lines of its own: that the state changed, or how a precheck
/// ended. It goes by the coordinator's wording; if that changes, a person reads some lines twice.
pub(super) fn is_told(event: &str) -> bool {
    let is_state =
        |text: &str| (1..).map_while(|number| TaskState::try_from(number).ok()).any(|s| s.name() == text);
    if event.starts_with("precheck passed: ") || event.starts_with("precheck failed: ") {
        return true;
    }
    let Some((from, rest)) = event.split_once(" → ") else { return false };
    let to = rest.split([',', ':']).next().unwrap_or(rest);
    is_state(from) && is_state(to)
}

fn place(state: TaskState) -> Option<usize> {
    WAY.iter().position(|&one| one == state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_repeat_what_has_a_line_of_its_own_are_told_apart() {
        for event in [
            "created → prechecking",
            "ready → schema-sync, epoch 1",
            "full-sync → retrying: it broke",
            "precheck failed: x: y",
        ] {
            assert!(is_told(event), "{event}");
        }
        for event in ["pausing", "created as x", "a → b", "public.t: DEFAULT → FULL", "unspecified → ready"]
        {
            assert!(!is_told(event), "{event}");
        }
    }

    #[test]
    fn only_what_is_certain_is_filled_in() {
        use TaskState::*;
        let cases: [(TaskState, TaskState, &[TaskState]); 14] = [
            (Created, Prechecking, &[]),
            (Created, Ready, &[Prechecking]),
            (Created, PrecheckFailed, &[Prechecking]),
            (Ready, FullSync, &[SchemaSync]),
            (Ready, Finished, &[SchemaSync, FullSync, Incremental]),
            (SchemaSync, Incremental, &[FullSync]),
            (FullSync, Finished, &[Incremental]),
            (Finished, Released, &[Releasing]),
            (Paused, Incremental, &[]),
            (Incremental, Retrying, &[]),
            (Incremental, FullSync, &[]),
            (Created, Releasing, &[]),
            (FullSync, Released, &[Releasing]),
            (Failed, Released, &[Releasing]),
        ];
        for (from, to, expected) in cases {
            assert_eq!(between(from, to), expected, "{from} to {to}");
        }
    }
}
