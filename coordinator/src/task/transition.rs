//! The state machine: a pure function of state and event.
//!
//! Reports only ever move a task between running, retrying, finished and failed; everything else is an
//! operator's wish or its consequence. A report that comes at any other time changes nothing: its agent is
//! about to be told to stop.

use strait_proto::v1;

use super::failure::window_spent;
use super::spec::Effect;
use super::{
    Absence, Command, Context, Event, Interruption, Operation, Outcome, Phase, Refused, Retry, RetryReason,
    Side, SideRelease, State,
};

/// Decides what `event` makes of a task in `state`.
///
/// # Errors
/// When an operator asks for something that the state does not allow.
pub(crate) fn transition(state: &State, event: &Event, context: &Context) -> Result<Outcome, Refused> {
    Ok(match event {
        Event::Asked(operation) => return asked(state, *operation, context),
        Event::Restored => restored(state),
        Event::Prechecked { passed } => prechecked(state, *passed, context),
        Event::PhaseReached { side, phase } => phase_reached(state, *side, *phase),
        Event::Interrupted { failure, attempt, next_attempt_us } => {
            let (failure, attempt, next_attempt_us) = (failure.clone(), *attempt, *next_attempt_us);
            interrupted(state, Interruption { failure, attempt, next_attempt_us }, context)
        }
        Event::AgentFailed { failure } => agent_failed(state, failure),
        Event::AgentFinished => agent_finished(state),
        Event::AgentsAbsent(absence) => agents_absent(state, absence, context),
        Event::AgentsPresent => agents_present(state),
        Event::AgentsFree { failure } => agents_free(state, failure, context),
        Event::WindowSpent => match state {
            State::Retrying(retry) => failed(retry.return_to, spent(retry)),
            _ => Outcome::unchanged(state),
        },
        Event::Stopped => match state {
            State::Pausing { return_to, .. } => Outcome::new(State::Paused { return_to: *return_to }, []),
            _ => Outcome::unchanged(state),
        },
        Event::SideReleased { side } => side_release(state, *side, SideRelease::Done),
        Event::ReleaseBlocked { side, failure } => {
            side_release(state, *side, SideRelease::Blocked(failure.clone()))
        }
    })
}

fn asked(state: &State, operation: Operation, context: &Context) -> Result<Outcome, Refused> {
    use Operation::{Pause, Precheck, Release, Resume, Start, Update};
    let outcome = match (operation, state) {
        (Precheck, State::Created | State::PrecheckFailed | State::Ready) => {
            Outcome::new(State::Prechecking { then_start: false }, [Command::Precheck])
        }
        (Precheck, State::Paused { .. } | State::Failed { .. }) => {
            Outcome::new(state.clone(), [Command::Precheck])
        }
        (Start, State::Created | State::PrecheckFailed) => {
            Outcome::new(State::Prechecking { then_start: true }, [Command::Precheck])
        }
        (Start, State::Prechecking { .. }) => Outcome::new(State::Prechecking { then_start: true }, []),
        (Start, State::Ready) => launch(Phase::SchemaSync, context),
        (Resume, State::Paused { return_to } | State::Failed { return_to, .. }) => {
            launch(*return_to, context)
        }
        (Pause, State::Running { phase }) => {
            Outcome::new(State::Pausing { return_to: *phase, retry: None }, [Command::Stop])
        }
        (Pause, State::Retrying(retry)) => {
            let (return_to, retry) = (retry.return_to, Some(retry.clone()));
            Outcome::new(State::Pausing { return_to, retry }, [Command::Stop])
        }
        (Pause, State::Pausing { .. } | State::Paused { .. })
        | (Release, State::Releasing { .. } | State::Released) => Outcome::unchanged(state),
        // What changes is the specification, which is stored with the state.
        (Update(_), State::Finished | State::Releasing { .. } | State::Released) => {
            return Err(Refused { operation, state: state.shown(), allowed: operation.allowed() });
        }
        (Update(Effect::Afresh), State::PrecheckFailed | State::Ready) => Outcome::new(State::Created, []),
        (Update(Effect::Reassign), State::Running { .. }) => Outcome::new(state.clone(), [Command::Assign]),
        (Update(effect), State::Retrying(retry)) => {
            // The window may be another one now.
            let commands: &[Command] = if effect == Effect::Reassign { &[Command::Assign] } else { &[] };
            Outcome::new(again(retry, retry.reason.clone(), context), commands)
        }
        (Update(_), _) => Outcome::unchanged(state),
        (Release, _) if !context.assigned => Outcome::new(State::Released, []),
        (Release, _) => Outcome::new(
            State::Releasing { source: SideRelease::Pending, sink: SideRelease::Pending },
            [Command::Release],
        ),
        _ => return Err(Refused { operation, state: state.shown(), allowed: operation.allowed() }),
    };
    Ok(outcome)
}

/// What was under way when the coordinator ended is begun again. Running tasks need nothing: their agents go
/// on.
fn restored(state: &State) -> Outcome {
    let commands: &[Command] = match state {
        State::Prechecking { .. } => &[Command::Precheck],
        State::Pausing { .. } => &[Command::Stop],
        State::Releasing { .. } => &[Command::Release],
        _ => &[],
    };
    Outcome::new(state.clone(), commands)
}

fn prechecked(state: &State, passed: bool, context: &Context) -> Outcome {
    match state {
        State::Prechecking { then_start: true } if passed => launch(Phase::SchemaSync, context),
        State::Prechecking { then_start: false } if passed => Outcome::new(State::Ready, []),
        State::Prechecking { .. } => Outcome::new(State::PrecheckFailed, []),
        _ => Outcome::unchanged(state),
    }
}

/// Assigns where both agents are there; otherwise waits for them, within the window.
fn launch(phase: Phase, context: &Context) -> Outcome {
    match &context.absence {
        None => Outcome::new(State::Running { phase }, [Command::Assign]),
        Some(absence) => Outcome::new(retrying(phase, absent(absence), context), []),
    }
}

fn phase_reached(state: &State, side: Side, phase: Phase) -> Outcome {
    let next = match state {
        State::Running { .. } => State::Running { phase },
        // Whoever reports is not absent; the other one may be.
        State::Retrying(retry) => match retry.absence().cloned().and_then(|absence| absence.without(side)) {
            None => State::Running { phase },
            Some(absence) => {
                State::Retrying(Retry { return_to: phase, reason: absent(&absence), ..retry.clone() })
            }
        },
        State::Pausing { .. } => State::Pausing { return_to: phase, retry: None },
        _ => state.clone(),
    };
    Outcome::new(next, [])
}

fn interrupted(state: &State, interruption: Interruption, context: &Context) -> Outcome {
    let next = match state {
        State::Running { phase } => retrying(*phase, RetryReason::Interrupted(interruption), context),
        State::Retrying(retry) => {
            let reason = match retry.absence().cloned() {
                Some(absence) => RetryReason::Absent { absence, before: Some(interruption) },
                None => RetryReason::Interrupted(interruption),
            };
            again(retry, reason, context)
        }
        _ => state.clone(),
    };
    Outcome::new(next, [])
}

fn agent_failed(state: &State, failure: &v1::Failure) -> Outcome {
    match state {
        State::Running { phase } => failed(*phase, failure.clone()),
        State::Retrying(retry) => failed(retry.return_to, failure.clone()),
        _ => Outcome::unchanged(state),
    }
}

fn agent_finished(state: &State) -> Outcome {
    match state {
        State::Running { .. } | State::Retrying(_) | State::Pausing { .. } => {
            Outcome::new(State::Finished, [Command::Revoke])
        }
        _ => Outcome::unchanged(state),
    }
}

fn agents_absent(state: &State, absence: &Absence, context: &Context) -> Outcome {
    let next = match state {
        State::Running { phase } => retrying(*phase, absent(absence), context),
        State::Retrying(retry) => {
            let before = match &retry.reason {
                RetryReason::Interrupted(interruption) => Some(interruption.clone()),
                RetryReason::Absent { before, .. } => before.clone(),
            };
            again(retry, RetryReason::Absent { absence: absence.clone(), before }, context)
        }
        _ => state.clone(),
    };
    Outcome::new(next, [])
}

/// Contact is back and nothing was disturbed. A source-agent repeats its last report, so that one is waited
/// for.
fn agents_present(state: &State) -> Outcome {
    let next = match state {
        State::Retrying(retry) => match &retry.reason {
            RetryReason::Absent { absence: Absence { source: false, .. }, before: None } => {
                State::Running { phase: retry.return_to }
            }
            RetryReason::Absent { .. } => State::Retrying(awaiting_report(retry)),
            RetryReason::Interrupted(_) => state.clone(),
        },
        _ => state.clone(),
    };
    Outcome::new(next, [])
}

/// A new assignment does not end a retry: only a phase that is reached does, so that the window keeps
/// counting even where an agent dies of every assignment.
fn agents_free(state: &State, failure: &v1::Failure, context: &Context) -> Outcome {
    let next = match state {
        State::Running { phase } => {
            let interruption = Interruption { failure: failure.clone(), attempt: 0, next_attempt_us: 0 };
            retrying(*phase, RetryReason::Interrupted(interruption), context)
        }
        State::Retrying(retry) => State::Retrying(awaiting_report(retry)),
        _ => return Outcome::unchanged(state),
    };
    Outcome::new(next, [Command::Assign])
}

/// Nobody is absent any more, and the next report decides.
fn awaiting_report(retry: &Retry) -> Retry {
    let interruption = match &retry.reason {
        RetryReason::Interrupted(interruption) | RetryReason::Absent { before: Some(interruption), .. } => {
            interruption.clone()
        }
        RetryReason::Absent { absence, before: None } => {
            Interruption { failure: absence.failure.clone(), attempt: 0, next_attempt_us: 0 }
        }
    };
    Retry { reason: RetryReason::Interrupted(interruption), ..retry.clone() }
}

fn absent(absence: &Absence) -> RetryReason {
    RetryReason::Absent { absence: absence.clone(), before: None }
}

fn retrying(return_to: Phase, reason: RetryReason, context: &Context) -> State {
    let first = Retry { return_to, since_us: context.now_us, until_us: 0, reason: reason.clone() };
    again(&first, reason, context)
}

/// The window is the one of what is in the way now, counted from when the task last ran.
fn again(retry: &Retry, reason: RetryReason, context: &Context) -> State {
    let mut next = Retry { reason, ..retry.clone() };
    next.until_us = next.since_us.saturating_add(context.windows.of(next.failure()));
    State::Retrying(next)
}

fn spent(retry: &Retry) -> v1::Failure {
    window_spent(retry.failure(), retry.until_us - retry.since_us)
}

fn failed(return_to: Phase, failure: v1::Failure) -> Outcome {
    Outcome::new(State::Failed { return_to, failure }, [Command::Revoke])
}

fn side_release(state: &State, side: Side, reached: SideRelease) -> Outcome {
    let State::Releasing { source, sink } = state else {
        return Outcome::unchanged(state);
    };
    let (mut source, mut sink) = (source.clone(), sink.clone());
    let this = match side {
        Side::Source => &mut source,
        Side::Sink => &mut sink,
    };
    if *this != SideRelease::Done {
        *this = reached;
    }
    let next = match (&source, &sink) {
        (SideRelease::Done, SideRelease::Done) => State::Released,
        _ => State::Releasing { source, sink },
    };
    Outcome::new(next, [])
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
