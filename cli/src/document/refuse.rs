//! Refusing what this version does not carry out.
//!
//! A field that asks for what happens anyway is accepted: a document that spells out the defaults is a good
//! document.

use serde_saphyr::{Location, Spanned};
use strait_proto::object_kind::OBJECT_KINDS;

use super::Form;
use super::fields::{Document, Field, Rewind};
use super::problem::Problem;

/// Adds a problem for each field that asks for something that this version does not do.
pub(super) fn unsupported(document: &Document, problems: &mut Vec<Problem>) {
    let mut refuse = Refuse { problems };
    object_kinds(document, refuse.problems);
    refuse.unless("rewind", document.rewind.as_ref(), is_off);
    throttles(document, &mut refuse);
    if let Some(failed) = &document.failed {
        refuse.unless("failed.drop_slot_after", failed.drop_slot_after.as_ref(), |_| false);
    }
}

/// Adds a problem where `source` and `destination` do not fit the form.
pub(super) fn endpoints(document: &Document, form: Form, problems: &mut Vec<Problem>) {
    let sides = [("source", &document.source), ("destination", &document.destination)];
    let neither = sides.iter().all(|(_, endpoint)| endpoint.is_none());
    for (name, endpoint) in sides {
        match (form, endpoint) {
            (Form::Sync, Some(endpoint)) => problems.push(Problem::at(
                endpoint.referenced,
                format!("leave `{name}` out: --{name} names the database"),
            )),
            (Form::Task, None) => {
                problems.push(missing_endpoint(name));
            }
            (Form::Any, None) if !neither => problems.push(missing_endpoint(name)),
            _ => {}
        }
    }
}

fn missing_endpoint(name: &str) -> Problem {
    let example = "{agent: AGENT, endpoint: ENDPOINT}";
    Problem::of_document(format!(
        "field `{name}` is missing: {name}: {example}; `strait endpoints` lists what there is"
    ))
}

/// A misspelt kind would leave out what was meant.
fn object_kinds(document: &Document, problems: &mut Vec<Problem>) {
    let Some(kinds) = &document.object_kinds else { return };
    for kind in kinds.value.iter().filter(|kind| !OBJECT_KINDS.contains(&kind.as_str())) {
        problems.push(Problem::at(
            kinds.referenced,
            format!("`object_kinds`: there is no kind {kind:?}; the kinds are {}", OBJECT_KINDS.join(", ")),
        ));
    }
}

struct Refuse<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Refuse<'_> {
    fn unless<T>(&mut self, field: &str, value: Option<&Spanned<T>>, accepted: impl FnOnce(&T) -> bool) {
        if let Some(value) = value
            && !accepted(&value.value)
        {
            self.refuse(field, value.referenced);
        }
    }

    fn refuse(&mut self, field: &str, location: Location) {
        self.problems
            .push(Problem::at(location, format!("not supported yet by this version: field `{field}`")));
    }
}

fn throttles(document: &Document, refuse: &mut Refuse<'_>) {
    let Some(throttle) = &document.throttle else { return };
    let mut limit = |field: &str, value: &Field<f64>| {
        refuse.unless(field, value.as_ref(), |limit| *limit == 0.0);
    };
    if let Some(full) = &throttle.full {
        limit("throttle.full.queries_per_second", &full.queries_per_second);
        limit("throttle.full.rows_per_second", &full.rows_per_second);
        limit("throttle.full.megabytes_per_second", &full.megabytes_per_second);
    }
}

/// Whichever limit is less counts, so a zero on either side keeps nothing replayable.
fn is_off(rewind: &Rewind) -> bool {
    match rewind {
        Rewind::Text(text) => is_zero(text),
        Rewind::Limits { time: None, size: None } => true,
        Rewind::Limits { time, size } => {
            time.as_deref().is_some_and(is_zero) || size.as_deref().is_some_and(is_zero)
        }
    }
}

/// A zero of any unit: `0`, `0m`, `0GiB`.
fn is_zero(text: &str) -> bool {
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
}
