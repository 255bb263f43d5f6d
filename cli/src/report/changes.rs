//! States that fall between two answers of the coordinator.
//!
//! A state may last shorter than the way of an answer. Where the life of a task knows only one way from one state to
//! another, the states between are known, and they are said: scripts wait for them.

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

fn place(state: TaskState) -> Option<usize> {
    WAY.iter().position(|&one| one == state)
}

#[cfg(test)]
mod tests {
    use super::*;

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
