//! Puts the answers of both agents, and what the coordinator itself knows, together as one precheck.

use strait_proto::v1::{self, PrecheckItem, PrecheckOutcome};

use super::failure::not_connected;
use super::{Side, TaskRecord};

/// The checks of a task, in the order in which they are shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Precheck {
    pub(crate) items: Vec<PrecheckItem>,
}

impl Precheck {
    /// No check failed. Warnings do not keep a task from starting.
    pub(crate) fn passed(&self) -> bool {
        !self.items.iter().any(|item| item.outcome() == PrecheckOutcome::Failed)
    }

    /// Keeps what was confirmed, of warnings that say the same as before.
    pub(crate) fn keep_confirmed(&mut self, before: &[PrecheckItem]) {
        for item in &mut self.items {
            let confirmed = PrecheckItem { confirmed: true, ..item.clone() };
            item.confirmed = is_warning(item) && before.contains(&confirmed);
        }
    }

    /// For the events: how it ended, then every check that failed.
    pub(crate) fn lines(&self) -> Vec<String> {
        let count = |outcome| self.items.iter().filter(|item| item.outcome() == outcome).count();
        let (failed, warnings) = (count(PrecheckOutcome::Failed), count(PrecheckOutcome::Warning));
        let verdict = if self.passed() { "passed" } else { "failed" };
        let total = self.items.len();
        let mut lines =
            vec![format!("precheck {verdict}: {total} checks, {failed} failed, {warnings} warnings")];
        let failed = self.items.iter().filter(|item| item.outcome() == PrecheckOutcome::Failed);
        lines.extend(failed.map(|item| {
            let why = if item.cause.is_empty() { &item.detail } else { &item.cause };
            format!("precheck failed: {}: {why}", item.name)
        }));
        lines
    }
}

/// The items with these warnings confirmed, and their names; all of them where none is named.
///
/// # Errors
/// Names that are no warnings.
pub(crate) fn confirm(
    items: &[PrecheckItem],
    names: &[String],
) -> Result<(Vec<PrecheckItem>, Vec<String>), Vec<String>> {
    let is_one = |name: &String| items.iter().any(|item| is_warning(item) && item.name == *name);
    let strangers: Vec<String> = names.iter().filter(|name| !is_one(name)).cloned().collect();
    if !strangers.is_empty() {
        return Err(strangers);
    }
    let mut items = items.to_vec();
    let mut confirmed = Vec::new();
    for item in items.iter_mut().filter(|item| is_warning(item) && !item.confirmed) {
        if names.is_empty() || names.contains(&item.name) {
            item.confirmed = true;
            confirmed.push(item.name.clone());
        }
    }
    Ok((items, confirmed))
}

/// The warnings that nobody has confirmed.
pub(crate) fn unconfirmed(items: &[PrecheckItem]) -> Vec<String> {
    let open = items.iter().filter(|item| is_warning(item) && !item.confirmed);
    open.map(|item| item.name.clone()).collect()
}

fn is_warning(item: &PrecheckItem) -> bool {
    item.outcome() == PrecheckOutcome::Warning
}

/// Whether the agent is there.
pub(crate) fn agent_item(side: Side, agent: &str, hello: Option<&v1::Hello>) -> PrecheckItem {
    let name = format!("{}.agent", side.database());
    match hello {
        Some(hello) => passed(name, format!("{side} {agent} {} is connected", hello.version)),
        None => failed(name, &not_connected(side, agent)),
    }
}

/// Whether the agent offers the endpoint.
pub(crate) fn endpoint_item(side: Side, task: &TaskRecord, hello: &v1::Hello) -> PrecheckItem {
    let name = format!("{}.endpoint", side.database());
    let wanted = task.endpoint(side).map_or("", |endpoint| &endpoint.endpoint);
    let agent = task.agent(side);
    if let Some(endpoint) = hello.endpoints.iter().find(|endpoint| endpoint.name == wanted) {
        return passed(name, format!("{side} {agent} offers {wanted}: {}", endpoint.address));
    }
    let offered: Vec<_> = hello.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    PrecheckItem {
        name,
        outcome: PrecheckOutcome::Failed.into(),
        detail: format!(
            "offered: {}",
            if offered.is_empty() { "none".to_owned() } else { offered.join(", ") }
        ),
        cause: format!("{side} {agent} offers no endpoint {wanted:?}"),
        remedy: format!(
            "add [endpoints.{wanted}] to the configuration of {side} {agent}, or correct the task"
        ),
        confirmed: false,
    }
}

/// The agent could not carry its checks out.
pub(crate) fn unanswered_item(side: Side, failure: &v1::Failure) -> PrecheckItem {
    failed(format!("{}.precheck", side.database()), failure)
}

fn passed(name: String, detail: String) -> PrecheckItem {
    let outcome = PrecheckOutcome::Passed.into();
    PrecheckItem { name, outcome, detail, ..PrecheckItem::default() }
}

fn failed(name: String, failure: &v1::Failure) -> PrecheckItem {
    PrecheckItem {
        name,
        outcome: PrecheckOutcome::Failed.into(),
        detail: String::new(),
        cause: failure.cause.clone(),
        remedy: failure.remedy.clone(),
        confirmed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, outcome: PrecheckOutcome, cause: &str) -> PrecheckItem {
        PrecheckItem {
            name: name.into(),
            outcome: outcome.into(),
            cause: cause.into(),
            ..PrecheckItem::default()
        }
    }

    #[test]
    fn a_warning_stays_confirmed_as_long_as_it_says_the_same() {
        use PrecheckOutcome::{Failed, Passed, Warning};
        let items =
            [item("a", Warning, "1"), item("b", Warning, "2"), item("c", Failed, "3"), item("d", Passed, "")];
        assert_eq!(confirm(&items, &["a".into(), "c".into(), "x".into()]).unwrap_err(), ["c", "x"]);
        let (some, names) = confirm(&items, &["a".into()]).unwrap();
        assert_eq!((names, unconfirmed(&some)), (vec!["a".to_owned()], vec!["b".to_owned()]));
        let (all, names) = confirm(&some, &[]).unwrap();
        assert_eq!((names, unconfirmed(&all)), (vec!["b".to_owned()], vec![]));

        let again = [item("a", Warning, "1"), item("b", Warning, "worse"), item("c", Warning, "3")];
        let mut again = Precheck { items: again.to_vec() };
        again.keep_confirmed(&all);
        assert_eq!(unconfirmed(&again.items), ["b", "c"]);
    }
}
