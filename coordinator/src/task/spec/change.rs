//! What may change of a task that exists, and what a change takes.
//!
//! ```text
//!   at any time                    name, environment, throttle, retry, alerts
//!   changes flow, or at rest       on_error, apply, more objects; a running task is assigned again
//!   nothing made anywhere yet      everything; the precheck counts no more
//! ```

use strait_proto::v1::{ObjectPattern, ObjectSelection, TableOptions, TaskSpec};

use super::{Difference, covered, differences};
use crate::task::glob;
use crate::task::{Phase, State};

/// Fields, or the beginnings of their names, that concern nobody but the coordinator, or that agents take while they run.
const AT_ANY_TIME: &[&str] = &["name", "environment", "throttle.", "retry.", "alerts."];
/// Those that agents get with an assignment, and that need nothing but a new one.
const BY_ASSIGNMENT: &[&str] = &["on_error", "apply."];
/// What is synchronised: it may become more.
const OBJECTS: &[&str] = &["objects.include", "objects.exclude"];

/// What a task is doing, as far as that decides about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing of it was made anywhere.
    Untouched,
    /// It has begun, and nothing of it runs.
    AtRest {
        /// It is past its full copy, and new tables may join.
        takes_tables: bool,
    },
    /// It copies, or is about to: a new assignment would begin parts of that over.
    Busy,
    /// Changes flow.
    Streaming {
        /// As above.
        takes_tables: bool,
    },
}

/// What a change takes besides being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// Nothing, or a word to an agent that runs the task.
    Live,
    /// A new assignment, where the task runs.
    Reassign,
    /// The precheck does not count any more.
    Afresh,
}

/// A change that can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) differences: Vec<Difference>,
    pub(crate) effect: Effect,
}

/// A field that cannot change now, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotChangeable {
    pub(crate) difference: Difference,
    pub(crate) reason: String,
}

impl Standing {
    /// How a task stands in this state. `assigned`: agents were given it before. `grows`: new tables join it by themselves.
    pub(crate) fn of(state: &State, assigned: bool, grows: bool) -> Self {
        let takes_tables = |phase: Phase| grows && phase == Phase::Incremental;
        match state {
            State::Created | State::PrecheckFailed | State::Ready if !assigned => Self::Untouched,
            State::Created | State::PrecheckFailed | State::Ready => Self::AtRest { takes_tables: false },
            State::Paused { return_to } | State::Failed { return_to, .. } => {
                Self::AtRest { takes_tables: takes_tables(*return_to) }
            }
            State::Running { phase: Phase::Incremental } => Self::Streaming { takes_tables: grows },
            State::Retrying(retry) if retry.return_to == Phase::Incremental => {
                Self::Streaming { takes_tables: grows }
            }
            _ => Self::Busy,
        }
    }
}

/// What changes between two normalised specifications.
///
/// # Errors
/// Every field that cannot change, with the reason: then nothing does.
pub(crate) fn changes(
    existing: &TaskSpec,
    given: &TaskSpec,
    standing: Standing,
) -> Result<Changes, Vec<NotChangeable>> {
    let differences = differences(existing, given);
    let mut effect = Effect::Live;
    let mut refused = Vec::new();
    for difference in &differences {
        match effect_of(&difference.field, existing, given, standing) {
            Ok(this) => effect = effect.max(this),
            Err(reason) => refused.push(NotChangeable { difference: difference.clone(), reason }),
        }
    }
    if refused.is_empty() { Ok(Changes { differences, effect }) } else { Err(refused) }
}

fn effect_of(
    field: &str,
    existing: &TaskSpec,
    given: &TaskSpec,
    standing: Standing,
) -> Result<Effect, String> {
    const NEVER: &str = "it is decided before the first start: release the task and create it anew";
    const LATER: &str =
        "not while the task is checked, copies, starts or stops: pause it, or wait until changes flow";
    let is_one_of = |fields: &[&str]| {
        fields.iter().any(|it| field == *it || (it.ends_with('.') && field.starts_with(it)))
    };
    if is_one_of(AT_ANY_TIME) {
        return Ok(Effect::Live);
    }
    if standing == Standing::Untouched {
        return Ok(Effect::Afresh);
    }
    let is_about_objects = is_one_of(OBJECTS);
    if !is_about_objects && !is_one_of(BY_ASSIGNMENT) {
        return Err(NEVER.to_owned());
    }
    match standing {
        Standing::Busy => return Err(LATER.to_owned()),
        Standing::AtRest { takes_tables } | Standing::Streaming { takes_tables } if is_about_objects => {
            if !takes_tables {
                return Err("tables join once the full copy is done, and only a task that changes follow without an end".to_owned());
            }
            let nothing = ObjectSelection::default();
            only_adds(
                existing.objects.as_ref().unwrap_or(&nothing),
                given.objects.as_ref().unwrap_or(&nothing),
            )?;
        }
        _ => {}
    }
    Ok(Effect::Reassign)
}

/// Tables can join a task that has begun. They cannot leave it, nor change their rules: the destination could not tell what
/// it has of them from what it lacks.
fn only_adds(existing: &ObjectSelection, given: &ObjectSelection) -> Result<(), String> {
    const BEGUN: &str = "a table that has begun can neither leave the task nor change its rules";
    if existing.include.is_empty() && !given.include.is_empty() {
        return Err(format!("everything was selected, and now less would be: {BEGUN}"));
    }
    if let Some(gone) = existing.include.iter().find(|entry| !given.include.contains(entry)) {
        return Err(format!("the entry for {} is gone or says something else: {BEGUN}", covered(gone)));
    }
    if let Some(left_out) = given.exclude.iter().find(|entry| !existing.exclude.contains(entry)) {
        return Err(format!("{} would be left out from now on: {BEGUN}", covered(left_out)));
    }
    let says_something = |entry: &&ObjectPattern| {
        entry.options.as_ref().is_some_and(|options| *options != TableOptions::default())
    };
    let added = given.include.iter().filter(|entry| !existing.include.contains(entry));
    for entry in added.filter(says_something) {
        if let Some(other) = existing.include.iter().find(|other| overlap(entry, other)) {
            return Err(format!(
                "the new entry for {} says something about tables that the one for {} covers already: {BEGUN}",
                covered(entry),
                covered(other)
            ));
        }
    }
    Ok(())
}

/// Whether a table can be covered by both.
pub(super) fn overlap(one: &ObjectPattern, other: &ObjectPattern) -> bool {
    const ALL: &str = "*";
    let table =
        |entry: &ObjectPattern| if entry.table.is_empty() { ALL.to_owned() } else { entry.table.clone() };
    glob::overlap(&one.schema, &other.schema) && glob::overlap(&table(one), &table(other))
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{ApplyPolicy, OnError, RetryPolicy};

    use super::*;

    const AT_REST: Standing = Standing::AtRest { takes_tables: true };
    const STREAMING: Standing = Standing::Streaming { takes_tables: true };

    fn entry(name: &str, condition: &str) -> ObjectPattern {
        let (schema, table) = name.split_once('.').unwrap_or((name, ""));
        let options = TableOptions { r#where: condition.to_owned(), ..TableOptions::default() };
        ObjectPattern {
            schema: schema.to_owned(),
            table: table.to_owned(),
            options: (!condition.is_empty()).then_some(options),
        }
    }

    fn selecting(include: &[ObjectPattern], exclude: &[&str]) -> TaskSpec {
        let exclude = exclude.iter().map(|name| entry(name, "")).collect();
        let objects =
            Some(ObjectSelection { include: include.to_vec(), exclude, ..ObjectSelection::default() });
        TaskSpec { objects, ..TaskSpec::default() }
    }

    #[test]
    fn a_field_may_change_where_nobody_is_misled_by_it() {
        let change = |given: TaskSpec, standing| {
            let changes = changes(&TaskSpec::default(), &given, standing);
            changes.map(|changes| changes.effect).map_err(|refused| refused[0].reason[..3].to_owned())
        };
        let retry = TaskSpec {
            retry: Some(RetryPolicy { connection_minutes: 20, other_minutes: 2 }),
            ..Default::default()
        };
        let skip = TaskSpec { on_error: OnError::Skip.into(), ..Default::default() };
        let lanes = TaskSpec { apply: Some(ApplyPolicy { lanes: 4 }), ..Default::default() };
        let kinds = TaskSpec { object_kinds: vec!["table".to_owned()], ..Default::default() };
        let (live, again, afresh) = (Ok(Effect::Live), Ok(Effect::Reassign), Ok(Effect::Afresh));
        for standing in [Standing::Untouched, AT_REST, Standing::Busy, STREAMING] {
            assert_eq!(change(TaskSpec { name: "n".into(), ..Default::default() }, standing), live);
            assert_eq!(change(retry.clone(), standing), live);
        }
        for spec in [skip, lanes] {
            assert_eq!(change(spec.clone(), AT_REST), again);
            assert_eq!(change(spec.clone(), STREAMING), again);
            assert_eq!(change(spec.clone(), Standing::Busy), Err("not".to_owned()));
            assert_eq!(change(spec, Standing::Untouched), afresh);
        }
        assert_eq!(change(kinds.clone(), AT_REST), Err("it ".to_owned()));
        assert_eq!(change(kinds, Standing::Untouched), afresh);
    }

    #[test]
    fn tables_may_join_and_neither_leave_nor_change_their_rules() {
        let plain = |name| entry(name, "");
        let existing = selecting(&[plain("a"), entry("b.t*", "x > 0")], &["a.x", "a.y"]);
        let verdict = |given: &TaskSpec, standing| {
            changes(&existing, given, standing).map_err(|refused| refused[0].reason.clone())
        };
        let with = |more: ObjectPattern, exclude: &[&str]| {
            selecting(&[plain("a"), entry("b.t*", "x > 0"), more], exclude)
        };
        for given in [
            with(plain("c.t"), &["a.x", "a.y"]),
            with(entry("c.t", "y > 0"), &["a.x"]),
            with(plain("b.t1"), &["a.x", "a.y"]),
            with(entry("b.s", "x > 0"), &[]),
        ] {
            assert_eq!(verdict(&given, STREAMING).map(|changes| changes.effect), Ok(Effect::Reassign));
            let still_copies = Standing::AtRest { takes_tables: false };
            assert!(verdict(&given, still_copies).unwrap_err().contains("once the full copy is done"));
        }
        for (given, words) in [
            (selecting(&[plain("a")], &["a.x", "a.y"]), "is gone"),
            (with(plain("c"), &["a.x", "a.y", "a.z"]), "would be left out"),
            (selecting(&[plain("a"), entry("b.t*", "x > 1")], &["a.x", "a.y"]), "says something else"),
            (with(entry("a.t", "y > 0"), &["a.x", "a.y"]), "covers already"),
            (with(entry("*.t1", "y > 0"), &["a.x", "a.y"]), "covers already"),
        ] {
            let reason = verdict(&given, AT_REST).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
        let all = selecting(&[], &[]);
        let less = changes(&all, &existing, AT_REST).unwrap_err();
        assert!(less[0].reason.contains("everything was selected"), "{less:?}");
    }
}
