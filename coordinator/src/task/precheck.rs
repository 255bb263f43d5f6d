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
    }
}

/// The agent could not carry its checks out.
pub(crate) fn unanswered_item(side: Side, failure: &v1::Failure) -> PrecheckItem {
    failed(format!("{}.precheck", side.database()), failure)
}

fn passed(name: String, detail: String) -> PrecheckItem {
    let outcome = PrecheckOutcome::Passed.into();
    PrecheckItem { name, outcome, detail, cause: String::new(), remedy: String::new() }
}

fn failed(name: String, failure: &v1::Failure) -> PrecheckItem {
    PrecheckItem {
        name,
        outcome: PrecheckOutcome::Failed.into(),
        detail: String::new(),
        cause: failure.cause.clone(),
        remedy: failure.remedy.clone(),
    }
}
