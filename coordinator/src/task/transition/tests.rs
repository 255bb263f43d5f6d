//! Every state against every event.
//!
//! `SPECIFICATION` reads: for this event, the states it concerns and what becomes of them, `!` before each
//! command. Every state that an event does not list stays as it is, or, where the event says so, refuses it.

use std::collections::BTreeMap;

use strait_proto::v1::FailureKind;

use super::*;
use crate::task::Windows;

const SPECIFICATION: &str = "
precheck: refused otherwise
    created              -> prechecking !precheck
    precheck-failed      -> prechecking !precheck
    ready                -> prechecking !precheck
    paused/full          -> paused/full !precheck
    failed/full          -> failed/full !precheck

start: refused otherwise
    created              -> prechecking+start !precheck
    prechecking          -> prechecking+start
    prechecking+start    -> prechecking+start
    precheck-failed      -> prechecking+start !precheck
    ready                -> running/schema !assign

start while the sink-agent is away: refused otherwise
    created              -> prechecking+start !precheck
    prechecking          -> prechecking+start
    prechecking+start    -> prechecking+start
    precheck-failed      -> prechecking+start !precheck
    ready                -> no-sink/schema

pause: refused otherwise
    running/full         -> pausing/full !stop
    interrupted/full     -> pausing-retry/full !stop
    no-source/full       -> pausing-retry/full !stop
    no-sink/full         -> pausing-retry/full !stop
    hidden/full          -> pausing-retry/full !stop
    pausing/full         -> pausing/full
    pausing-retry/full   -> pausing-retry/full
    paused/full          -> paused/full

resume: refused otherwise
    paused/full          -> running/full !assign
    failed/full          -> running/full !assign

resume while the sink-agent is away: refused otherwise
    paused/full          -> no-sink/full
    failed/full          -> no-sink/full

release:
    created              -> releasing !release
    prechecking          -> releasing !release
    prechecking+start    -> releasing !release
    precheck-failed      -> releasing !release
    ready                -> releasing !release
    running/full         -> releasing !release
    interrupted/full     -> releasing !release
    no-source/full       -> releasing !release
    no-sink/full         -> releasing !release
    hidden/full          -> releasing !release
    pausing/full         -> releasing !release
    pausing-retry/full   -> releasing !release
    paused/full          -> releasing !release
    finished             -> releasing !release
    failed/full          -> releasing !release

release of a task that was never assigned:
    created              -> released
    prechecking          -> released
    prechecking+start    -> released
    precheck-failed      -> released
    ready                -> released
    running/full         -> released
    interrupted/full     -> released
    no-source/full       -> released
    no-sink/full         -> released
    hidden/full          -> released
    pausing/full         -> released
    pausing-retry/full   -> released
    paused/full          -> released
    finished             -> released
    failed/full          -> released

update of what a running agent takes: refused otherwise
    created              -> created
    prechecking          -> prechecking
    prechecking+start    -> prechecking+start
    precheck-failed      -> precheck-failed
    ready                -> ready
    running/full         -> running/full
    interrupted/full     -> interrupted/full
    no-source/full       -> no-source/full
    no-sink/full         -> no-sink/full
    hidden/full          -> hidden/full
    pausing/full         -> pausing/full
    pausing-retry/full   -> pausing-retry/full
    paused/full          -> paused/full
    failed/full          -> failed/full

update of what comes with an assignment: refused otherwise
    created              -> created
    prechecking          -> prechecking
    prechecking+start    -> prechecking+start
    precheck-failed      -> precheck-failed
    ready                -> ready
    running/full         -> running/full !assign
    interrupted/full     -> interrupted/full !assign
    no-source/full       -> no-source/full !assign
    no-sink/full         -> no-sink/full !assign
    hidden/full          -> hidden/full !assign
    pausing/full         -> pausing/full
    pausing-retry/full   -> pausing-retry/full
    paused/full          -> paused/full
    failed/full          -> failed/full

update of a task that nothing was made of: refused otherwise
    created              -> created
    prechecking          -> prechecking
    prechecking+start    -> prechecking+start
    precheck-failed      -> created
    ready                -> created
    running/full         -> running/full
    interrupted/full     -> interrupted/full
    no-source/full       -> no-source/full
    no-sink/full         -> no-sink/full
    hidden/full          -> hidden/full
    pausing/full         -> pausing/full
    pausing-retry/full   -> pausing-retry/full
    paused/full          -> paused/full
    failed/full          -> failed/full

restored:
    prechecking          -> prechecking !precheck
    prechecking+start    -> prechecking+start !precheck
    pausing/full         -> pausing/full !stop
    pausing-retry/full   -> pausing-retry/full !stop
    releasing            -> releasing !release
    releasing-sink       -> releasing-sink !release
    releasing-source     -> releasing-source !release

precheck passed:
    prechecking          -> ready
    prechecking+start    -> running/schema !assign

precheck passed while the sink-agent is away:
    prechecking          -> ready
    prechecking+start    -> no-sink/schema

precheck failed:
    prechecking          -> precheck-failed
    prechecking+start    -> precheck-failed

phase reached at the source:
    running/full         -> running/incremental
    interrupted/full     -> running/incremental
    no-source/full       -> running/incremental
    no-sink/full         -> no-sink/incremental
    hidden/full          -> running/incremental
    pausing/full         -> pausing/incremental
    pausing-retry/full   -> pausing/incremental

phase reached at the sink:
    running/full         -> running/incremental
    interrupted/full     -> running/incremental
    no-source/full       -> no-source/incremental
    no-sink/full         -> running/incremental
    hidden/full          -> no-source/incremental
    pausing/full         -> pausing/incremental
    pausing-retry/full   -> pausing/incremental

interrupted:
    running/full         -> interrupted/full
    interrupted/full     -> interrupted/full
    no-source/full       -> hidden/full
    no-sink/full         -> hidden-no-sink/full
    hidden/full          -> hidden/full

failed:
    running/full         -> failed/full !revoke
    interrupted/full     -> failed/full !revoke
    no-source/full       -> failed/full !revoke
    no-sink/full         -> failed/full !revoke
    hidden/full          -> failed/full !revoke

finished:
    running/full         -> finished !revoke
    interrupted/full     -> finished !revoke
    no-source/full       -> finished !revoke
    no-sink/full         -> finished !revoke
    hidden/full          -> finished !revoke
    pausing/full         -> finished !revoke
    pausing-retry/full   -> finished !revoke

the sink-agent is gone:
    running/full         -> no-sink/full
    interrupted/full     -> hidden-no-sink/full
    no-source/full       -> no-sink/full
    no-sink/full         -> no-sink/full
    hidden/full          -> hidden-no-sink/full

both agents are there and at work:
    no-source/full       -> waiting/full
    no-sink/full         -> running/full
    hidden/full          -> interrupted/full

both agents are there and one is idle:
    running/full         -> waiting/full !assign
    interrupted/full     -> interrupted/full !assign
    no-source/full       -> waiting/full !assign
    no-sink/full         -> waiting/full !assign
    hidden/full          -> interrupted/full !assign

the window is spent:
    interrupted/full     -> failed/full !revoke
    no-source/full       -> failed/full !revoke
    no-sink/full         -> failed/full !revoke
    hidden/full          -> failed/full !revoke

stopped:
    pausing/full         -> paused/full
    pausing-retry/full   -> paused/full

the source is released:
    releasing            -> releasing-sink
    releasing-source     -> released

the sink is released:
    releasing            -> releasing-source
    releasing-sink       -> released

the source's release is blocked:
    releasing            -> releasing-blocked
    releasing-source     -> releasing-source-blocked
";

fn failure(cause: &str) -> v1::Failure {
    v1::Failure {
        kind: FailureKind::Other.into(),
        definite: false,
        cause: cause.into(),
        remedy: "mend".into(),
    }
}

fn interruption() -> Interruption {
    Interruption { failure: failure("broken"), attempt: 3, next_attempt_us: 7 }
}

fn away(source: bool, sink: bool) -> Absence {
    Absence { source, sink, lost: true, failure: failure("away") }
}

fn retry(reason: RetryReason) -> State {
    State::Retrying(Retry { return_to: Phase::FullSync, since_us: 10, until_us: 20, reason })
}

fn blocked() -> SideRelease {
    SideRelease::Blocked(failure("in use"))
}

fn states() -> Vec<State> {
    let State::Retrying(some_retry) = retry(RetryReason::Interrupted(interruption())) else { unreachable!() };
    let return_to = Phase::FullSync;
    vec![
        State::Created,
        State::Prechecking { then_start: false },
        State::Prechecking { then_start: true },
        State::PrecheckFailed,
        State::Ready,
        State::Running { phase: return_to },
        retry(RetryReason::Interrupted(interruption())),
        retry(RetryReason::Absent { absence: away(true, false), before: None }),
        retry(RetryReason::Absent { absence: away(false, true), before: None }),
        retry(RetryReason::Absent { absence: away(true, false), before: Some(interruption()) }),
        State::Pausing { return_to, retry: None },
        State::Pausing { return_to, retry: Some(some_retry) },
        State::Paused { return_to },
        State::Finished,
        State::Failed { return_to, failure: failure("hopeless") },
        State::Releasing { source: SideRelease::Pending, sink: SideRelease::Pending },
        State::Releasing { source: SideRelease::Done, sink: SideRelease::Pending },
        State::Releasing { source: SideRelease::Pending, sink: SideRelease::Done },
        State::Released,
    ]
}

/// The name of a state in the specification.
fn name(state: &State) -> String {
    let phase = |phase: &Phase| match phase {
        Phase::SchemaSync => "schema",
        Phase::FullSync => "full",
        Phase::Incremental => "incremental",
    };
    match state {
        State::Prechecking { then_start: true } => "prechecking+start".into(),
        State::Running { phase: running } => format!("running/{}", phase(running)),
        State::Retrying(retry) => {
            let reason = match &retry.reason {
                RetryReason::Interrupted(Interruption { attempt: 0, .. }) => "waiting",
                RetryReason::Interrupted(_) => "interrupted",
                RetryReason::Absent { absence: Absence { source: true, .. }, before: None } => "no-source",
                RetryReason::Absent { absence: Absence { source: false, .. }, before: None } => "no-sink",
                RetryReason::Absent { absence: Absence { source: true, .. }, .. } => "hidden",
                RetryReason::Absent { .. } => "hidden-no-sink",
            };
            format!("{reason}/{}", phase(&retry.return_to))
        }
        State::Pausing { return_to, retry: None } => format!("pausing/{}", phase(return_to)),
        State::Pausing { return_to, .. } => format!("pausing-retry/{}", phase(return_to)),
        State::Paused { return_to } => format!("paused/{}", phase(return_to)),
        State::Failed { return_to, .. } => format!("failed/{}", phase(return_to)),
        State::Releasing { source: SideRelease::Done, .. } => "releasing-sink".into(),
        State::Releasing { source: SideRelease::Blocked(_), sink: SideRelease::Done } => {
            "releasing-source-blocked".into()
        }
        State::Releasing { source: SideRelease::Blocked(_), .. } => "releasing-blocked".into(),
        State::Releasing { sink: SideRelease::Done, .. } => "releasing-source".into(),
        other => other.shown().name().to_owned(),
    }
}

fn context() -> Context {
    let windows = Windows { connection_us: 720, other_us: 10 };
    Context { now_us: 1000, windows, absence: None, assigned: true }
}

/// Every event by its name in the specification.
fn events() -> Vec<(&'static str, Event, Context)> {
    use Operation::{Pause, Precheck, Release, Resume, Start, Update};
    let usual = context();
    let sink_away = Context { absence: Some(away(false, true)), ..context() };
    let unassigned = Context { assigned: false, ..context() };
    let phase = Phase::Incremental;
    let Interruption { failure: broken, attempt, next_attempt_us } = interruption();
    let all = [
        ("precheck", Event::Asked(Precheck), &usual),
        ("start", Event::Asked(Start), &usual),
        ("start while the sink-agent is away", Event::Asked(Start), &sink_away),
        ("pause", Event::Asked(Pause), &usual),
        ("resume", Event::Asked(Resume), &usual),
        ("resume while the sink-agent is away", Event::Asked(Resume), &sink_away),
        ("release", Event::Asked(Release), &usual),
        ("release of a task that was never assigned", Event::Asked(Release), &unassigned),
        ("update of what a running agent takes", Event::Asked(Update(Effect::Live)), &usual),
        ("update of what comes with an assignment", Event::Asked(Update(Effect::Reassign)), &usual),
        ("update of a task that nothing was made of", Event::Asked(Update(Effect::Afresh)), &usual),
        ("restored", Event::Restored, &usual),
        ("precheck passed", Event::Prechecked { passed: true }, &usual),
        ("precheck passed while the sink-agent is away", Event::Prechecked { passed: true }, &sink_away),
        ("precheck failed", Event::Prechecked { passed: false }, &usual),
        ("phase reached at the source", Event::PhaseReached { side: Side::Source, phase }, &usual),
        ("phase reached at the sink", Event::PhaseReached { side: Side::Sink, phase }, &usual),
        ("interrupted", Event::Interrupted { failure: broken, attempt, next_attempt_us }, &usual),
        ("failed", Event::AgentFailed { failure: failure("hopeless") }, &usual),
        ("finished", Event::AgentFinished, &usual),
        ("the sink-agent is gone", Event::AgentsAbsent(away(false, true)), &usual),
        ("both agents are there and at work", Event::AgentsPresent, &usual),
        ("both agents are there and one is idle", Event::AgentsFree { failure: failure("idle") }, &usual),
        ("the window is spent", Event::WindowSpent, &usual),
        ("stopped", Event::Stopped, &usual),
        ("the source is released", Event::SideReleased { side: Side::Source }, &usual),
        ("the sink is released", Event::SideReleased { side: Side::Sink }, &usual),
        (
            "the source's release is blocked",
            Event::ReleaseBlocked { side: Side::Source, failure: failure("in use") },
            &usual,
        ),
    ];
    all.into_iter().map(|(name, event, context)| (name, event, context.clone())).collect()
}

struct Expected {
    otherwise_refused: bool,
    listed: BTreeMap<String, String>,
}

fn specification() -> BTreeMap<String, Expected> {
    let mut events: BTreeMap<String, Expected> = BTreeMap::new();
    let mut current = String::new();
    for line in SPECIFICATION.lines().filter(|line| !line.is_empty()) {
        if let Some((state, becomes)) = line.split_once("->") {
            let expected = events.get_mut(&current).unwrap();
            let twice = expected.listed.insert(state.trim().to_owned(), becomes.trim().to_owned());
            assert_eq!(twice, None, "{current}: {state} stands there twice");
        } else {
            let (name, otherwise) = line.split_once(':').unwrap();
            current = name.to_owned();
            let otherwise_refused = otherwise.trim() == "refused otherwise";
            events.insert(current.clone(), Expected { otherwise_refused, listed: BTreeMap::new() });
        }
    }
    events
}

fn said(result: Result<Outcome, Refused>) -> String {
    match result {
        Err(_) => "refused".to_owned(),
        Ok(Outcome { state, commands }) => {
            let commands = commands.iter().map(|command| format!(" !{command:?}").to_lowercase());
            format!("{}{}", name(&state), commands.collect::<String>())
        }
    }
}

#[test]
fn every_event_does_to_every_state_what_the_specification_says() {
    let mut specification = specification();
    for (event_name, event, context) in events() {
        let mut expected =
            specification.remove(event_name).unwrap_or_else(|| panic!("{event_name} is missing"));
        for state in states() {
            let state_name = name(&state);
            let otherwise = if expected.otherwise_refused { "refused" } else { state_name.as_str() };
            let listed = expected.listed.remove(&state_name);
            let wanted = listed.as_deref().unwrap_or(otherwise);
            assert_eq!(said(transition(&state, &event, &context)), wanted, "{event_name}, {state_name}");
        }
        let rest: Vec<_> = expected.listed.into_keys().collect();
        assert_eq!(rest, [""; 0], "{event_name} lists states that do not exist");
    }
    let rest: Vec<_> = specification.into_keys().collect();
    assert_eq!(rest, [""; 0], "events that do not exist");
}

#[test]
fn every_state_comes_back_from_its_stored_form() {
    for state in states() {
        let stored = serde_json::to_string(&state).unwrap();
        assert!(stored.contains(r#""state":"#), "{stored}");
        assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
    }
    let blocked = State::Releasing { source: blocked(), sink: SideRelease::Done };
    let stored = serde_json::to_string(&blocked).unwrap();
    assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), blocked);
}

#[test]
fn the_window_is_the_one_of_the_failure_and_counts_from_the_first_interruption() {
    let interrupted = |kind: FailureKind| Event::Interrupted {
        failure: v1::Failure { kind: kind.into(), ..failure("broken") },
        attempt: 1,
        next_attempt_us: 0,
    };
    let window = |state: &State, event: &Event, now_us: i64| {
        let outcome = transition(state, event, &Context { now_us, ..context() }).unwrap();
        let State::Retrying(retry) = &outcome.state else { panic!("{:?}", outcome.state) };
        ((retry.since_us, retry.until_us), outcome.state)
    };
    let running = State::Running { phase: Phase::Incremental };
    let (first, state) = window(&running, &interrupted(FailureKind::Connection), 1000);
    assert_eq!(first, (1000, 1720));
    let (second, state) = window(&state, &interrupted(FailureKind::Other), 1005);
    assert_eq!(second, (1000, 1010));
    let (third, state) = window(&state, &Event::AgentsFree { failure: failure("idle") }, 1006);
    assert_eq!(third, (1000, 1010));
    let reached = Event::PhaseReached { side: Side::Source, phase: Phase::Incremental };
    let state = transition(&state, &reached, &context()).unwrap().state;
    assert_eq!(window(&state, &interrupted(FailureKind::Other), 2000).0, (2000, 2010));
}

#[test]
fn a_spent_window_says_how_long_was_tried_and_why() {
    let state = State::Retrying(Retry {
        return_to: Phase::Incremental,
        since_us: 0,
        until_us: 600_000_000,
        reason: RetryReason::Interrupted(interruption()),
    });
    let outcome = transition(&state, &Event::WindowSpent, &context()).unwrap();
    let failure = outcome.state.failure().unwrap();
    assert_eq!(failure.cause, "retried for 10 minutes without success: broken");
    assert_eq!(failure.remedy, "mend");
}

#[test]
fn a_refusal_names_the_states_that_would_do() {
    let refused = transition(&State::Finished, &Event::Asked(Operation::Resume), &context()).unwrap_err();
    assert_eq!(refused.to_string(), "the task is finished: resume is possible in paused or failed");
}

#[test]
fn an_obstacle_stays_shown_until_its_side_is_done() {
    let state = State::Releasing { source: blocked(), sink: SideRelease::Pending };
    let sink_done = transition(&state, &Event::SideReleased { side: Side::Sink }, &context()).unwrap().state;
    assert_eq!(sink_done.failure(), Some(&failure("in use")));
    let done = transition(&sink_done, &Event::SideReleased { side: Side::Source }, &context()).unwrap().state;
    assert_eq!(done, State::Released);
    assert_eq!(done.failure(), None);
}
