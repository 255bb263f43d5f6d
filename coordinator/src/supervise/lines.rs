//! The lines that tell people what happened to a task.

use strait_proto::v1;

use crate::task::spec::Difference;
use crate::task::{Event, Side, SideRelease, State, TaskRecord};

/// What is worth saying about the way from one stored form of a task to the next.
pub(super) fn describe(old: &TaskRecord, new: &TaskRecord, event: &Event) -> Vec<String> {
    match (&old.state, &new.state, event) {
        (State::Pausing { .. }, State::Pausing { .. }, Event::AgentFailed { failure }) => {
            vec![format!("failed while pausing: {}", failure.cause)]
        }
        (before, State::Pausing { .. }, _) => {
            if matches!(before, State::Pausing { .. }) {
                vec![]
            } else {
                vec!["pausing".to_owned()]
            }
        }
        (before, after, _) if before.shown() != after.shown() => vec![changed(old, new)],
        (State::Retrying(before), State::Retrying(after), _) => {
            let assigned = (old.epoch != new.epoch).then(|| format!("assigned again, epoch {}", new.epoch));
            let cause = &after.failure().cause;
            let failing = (cause != &before.failure().cause).then(|| format!("retrying: {cause}"));
            assigned.into_iter().chain(failing).collect()
        }
        (
            State::Releasing { source: old_source, sink: old_sink },
            State::Releasing { source: new_source, sink: new_sink },
            _,
        ) => {
            let sides = [(Side::Source, old_source, new_source), (Side::Sink, old_sink, new_sink)];
            sides.into_iter().filter_map(|(side, old, new)| release_obstacle(side, old, new)).collect()
        }
        _ => vec![],
    }
}

/// What an operator changed.
pub(super) fn updated(changes: &[Difference]) -> Vec<String> {
    changes
        .iter()
        .map(|Difference { field, existing, given }| {
            format!("updated: {field} is {given} instead of {existing}")
        })
        .collect()
}

/// What was removed at one side.
pub(super) fn released(side: Side, actions: &[String]) -> Vec<String> {
    let database = side.database();
    if actions.is_empty() {
        return vec![format!("released at the {database}: nothing was left there")];
    }
    actions.iter().map(|action| format!("released at the {database}: {action}")).collect()
}

/// A line for each object that could not be made: the task goes on without it.
pub(super) fn failed_objects(results: &[v1::ObjectResult]) -> Vec<String> {
    let failed = results.iter().filter(|result| result.outcome() == v1::ObjectOutcome::Failed);
    failed
        .map(|v1::ObjectResult { object_kind, schema, name, detail, .. }| {
            format!("{object_kind} {schema}.{name} could not be created: {detail}")
        })
        .collect()
}

fn changed(old: &TaskRecord, new: &TaskRecord) -> String {
    let mut line = format!("{} → {}", old.state.shown(), new.state.shown());
    if old.epoch != new.epoch {
        line += &format!(", epoch {}", new.epoch);
    }
    if let Some(failure) = new.state.failure() {
        line += &format!(": {}", failure.cause);
    }
    line
}

fn release_obstacle(side: Side, old: &SideRelease, new: &SideRelease) -> Option<String> {
    let cause = |release: &SideRelease| match release {
        SideRelease::Blocked(v1::Failure { cause, .. }) => Some(cause.clone()),
        SideRelease::Pending | SideRelease::Done => None,
    };
    let obstacle = cause(new).filter(|obstacle| cause(old).as_ref() != Some(obstacle))?;
    Some(format!("release waits at the {}: {obstacle}", side.database()))
}
