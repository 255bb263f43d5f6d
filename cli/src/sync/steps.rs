//! What to do next: a pure function of what was asked for and where the task stands.

use strait_proto::v1::TaskState;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Synchronise until interrupted, then pause.
    Follow,
    /// Synchronise until `once` is fulfilled, then release.
    Once,
    /// Release.
    Release,
}

/// A call to the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Precheck,
    Start,
    Resume,
    Pause,
    Release,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing but to wait for the next answer.
    Wait,
    /// Ask the coordinator.
    Call(Call),
    /// This session is over.
    End(End),
}

/// How a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Released,
    Paused,
    /// Interrupted where there was nothing to pause.
    Interrupted,
    PrecheckFailed,
    Failed,
    /// A release that waits for somebody to mend something.
    ReleaseFailed,
    /// The stored task's life is over: begin with a new one.
    StartOver,
}

/// Where things stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) goal: Goal,
    pub(super) state: TaskState,
    /// A signal asked for the end.
    pub(super) interrupted: bool,
    /// The last call of this session.
    pub(super) asked: Option<Call>,
    /// That call has not shown in the task's state yet: what the state says is older than the call.
    pub(super) awaiting: bool,
    /// The task was at work in this session, so that a failure is news and not what an earlier run left.
    pub(super) worked: bool,
    /// A release waits for something that trying again cannot mend.
    pub(super) release_blocked: bool,
    /// `--once` was fulfilled, in this session or an earlier one.
    pub(super) finished: bool,
}

/// Decides.
pub(super) fn next(situation: Situation) -> Step {
    let Situation { goal, state, interrupted, .. } = situation;
    if situation.awaiting && !(interrupted && is_running(state)) {
        return Step::Wait;
    }
    match (goal, state) {
        (Goal::Once, TaskState::Released) if situation.finished => Step::End(End::Released),
        (Goal::Release, TaskState::Released) => Step::End(End::Released),
        (_, TaskState::Releasing) if situation.release_blocked => Step::End(End::ReleaseFailed),
        _ if interrupted => stop(situation),
        (_, TaskState::Releasing) => Step::Wait,
        (Goal::Release, _) => Step::Call(Call::Release),
        (Goal::Follow | Goal::Once, _) => forward(situation),
    }
}

/// Whether the agents are working on a task in this state.
pub(super) fn is_running(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::SchemaSync | TaskState::FullSync | TaskState::Incremental | TaskState::Retrying
    )
}

fn forward(situation: Situation) -> Step {
    match situation.state {
        TaskState::Created => Step::Call(Call::Precheck),
        TaskState::PrecheckFailed if situation.worked => Step::End(End::PrecheckFailed),
        TaskState::PrecheckFailed => Step::Call(Call::Precheck),
        TaskState::Ready => Step::Call(Call::Start),
        TaskState::Paused => Step::Call(Call::Resume),
        TaskState::Failed if situation.worked => Step::End(End::Failed),
        TaskState::Failed => Step::Call(Call::Resume),
        TaskState::Finished => Step::Call(Call::Release),
        TaskState::Released => Step::End(End::StartOver),
        _ => Step::Wait,
    }
}

fn stop(situation: Situation) -> Step {
    match situation.state {
        // To be released, a task is stopped anyway; what the release has not reached yet goes on meanwhile.
        _ if situation.goal == Goal::Release => Step::End(End::Interrupted),
        state if is_running(state) && situation.asked == Some(Call::Pause) => Step::Wait,
        state if is_running(state) => Step::Call(Call::Pause),
        TaskState::Paused => Step::End(End::Paused),
        TaskState::Failed if situation.worked => Step::End(End::Failed),
        _ => Step::End(End::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use TaskState::*;

    use super::*;

    fn at(goal: Goal, state: TaskState) -> Situation {
        Situation {
            goal,
            state,
            interrupted: false,
            asked: None,
            awaiting: false,
            worked: false,
            release_blocked: false,
            finished: false,
        }
    }

    #[test]
    fn a_task_is_led_forward_from_wherever_it_was_left() {
        for (state, expected) in [
            (Created, Step::Call(Call::Precheck)),
            (Prechecking, Step::Wait),
            (PrecheckFailed, Step::Call(Call::Precheck)),
            (Ready, Step::Call(Call::Start)),
            (SchemaSync, Step::Wait),
            (FullSync, Step::Wait),
            (Incremental, Step::Wait),
            (Retrying, Step::Wait),
            (Paused, Step::Call(Call::Resume)),
            (Failed, Step::Call(Call::Resume)),
            (Finished, Step::Call(Call::Release)),
            (Releasing, Step::Wait),
            (Released, Step::End(End::StartOver)),
        ] {
            for goal in [Goal::Follow, Goal::Once] {
                assert_eq!(next(at(goal, state)), expected, "{goal:?} {state}");
            }
        }
    }

    #[test]
    fn what_fails_in_this_session_ends_it() {
        for (state, end) in [(PrecheckFailed, End::PrecheckFailed), (Failed, End::Failed)] {
            let situation = Situation { worked: true, ..at(Goal::Once, state) };
            assert_eq!(next(situation), Step::End(end));
            let stale = Situation { asked: Some(Call::Resume), awaiting: true, ..situation };
            assert_eq!(next(stale), Step::Wait, "the failure is older than the call");
        }
    }

    #[test]
    fn once_ends_when_its_own_release_is_done_and_not_at_one_that_was_left_over() {
        let released = at(Goal::Once, Released);
        assert_eq!(next(Situation { finished: true, ..released }), Step::End(End::Released));
        assert_eq!(next(released), Step::End(End::StartOver));
    }

    #[test]
    fn a_release_starts_from_every_state_and_ends_where_it_is_blocked() {
        for state in
            [Created, PrecheckFailed, Ready, FullSync, Incremental, Retrying, Paused, Failed, Finished]
        {
            assert_eq!(next(at(Goal::Release, state)), Step::Call(Call::Release), "{state}");
        }
        let releasing = at(Goal::Release, Releasing);
        assert_eq!(next(releasing), Step::Wait);
        assert_eq!(next(Situation { release_blocked: true, ..releasing }), Step::End(End::ReleaseFailed));
        assert_eq!(next(at(Goal::Release, Released)), Step::End(End::Released));
    }

    #[test]
    fn an_interruption_pauses_what_runs_and_ends_what_does_not() {
        for (state, expected) in [
            (Created, Step::End(End::Interrupted)),
            (Prechecking, Step::End(End::Interrupted)),
            (Ready, Step::End(End::Interrupted)),
            (SchemaSync, Step::Call(Call::Pause)),
            (FullSync, Step::Call(Call::Pause)),
            (Incremental, Step::Call(Call::Pause)),
            (Retrying, Step::Call(Call::Pause)),
            (Paused, Step::End(End::Paused)),
            (Finished, Step::End(End::Interrupted)),
            (Releasing, Step::End(End::Interrupted)),
        ] {
            let situation = Situation { interrupted: true, ..at(Goal::Once, state) };
            assert_eq!(next(situation), expected, "{state}");
        }
        let pausing =
            Situation { interrupted: true, asked: Some(Call::Pause), ..at(Goal::Follow, Incremental) };
        assert_eq!(next(pausing), Step::Wait);
        let resuming = Situation { asked: Some(Call::Resume), awaiting: true, ..pausing };
        assert_eq!(next(resuming), Step::Call(Call::Pause));
        assert_eq!(next(Situation { state: Paused, ..resuming }), Step::Wait, "the resume is on its way");
        let release = Situation { interrupted: true, ..at(Goal::Release, Incremental) };
        assert_eq!(next(release), Step::End(End::Interrupted));
    }
}
