//! How failures are stored, and the ones that the coordinator itself finds.

use serde::{Deserialize, Serialize};
use strait_proto::v1::{self, FailureKind};

use super::Side;

/// The stored form of [`v1::Failure`]; the compiler keeps it complete.
#[derive(Serialize, Deserialize)]
#[serde(remote = "v1::Failure")]
pub(crate) struct FailureFields {
    kind: i32,
    definite: bool,
    cause: String,
    remedy: String,
}

/// An agent that is needed is not there and was not working on the task.
pub(crate) fn not_connected(side: Side, agent: &str) -> v1::Failure {
    connection(
        format!("{side} {agent} is not connected"),
        format!("start {} with agent = \"{agent}\" and this coordinator's address", side.program()),
    )
}

/// An agent that was working on the task is out of reach; the rows may be flowing on.
fn lost_contact(side: Side, agent: &str) -> v1::Failure {
    connection(
        format!("{side} {agent} lost contact with the coordinator; its data stream may be running on"),
        format!("check that {} runs as agent = \"{agent}\" and reaches the coordinator", side.program()),
    )
}

/// Agents that were working on the task are there again, and know nothing of it.
pub(crate) fn came_back_idle(agents: &[(Side, &str)]) -> v1::Failure {
    let names: Vec<_> = agents.iter().map(|(side, agent)| format!("{side} {agent}")).collect();
    connection(
        format!("{} came back without the task, which is assigned again", names.join(" and ")),
        "nothing, unless it happens again: then look at the agent's log".to_owned(),
    )
}

/// The agents that are missing, in one failure.
pub(crate) fn absent(away: &[(Side, &str)], lost: bool) -> v1::Failure {
    let of = if lost { lost_contact } else { not_connected };
    let failures: Vec<_> = away.iter().map(|(side, agent)| of(*side, agent)).collect();
    let join = |part: fn(&v1::Failure) -> &str| failures.iter().map(part).collect::<Vec<_>>().join("; ");
    connection(join(|failure| &failure.cause), join(|failure| &failure.remedy))
}

/// The agent is there but has not confirmed in time that nothing of the task runs any more.
pub(crate) fn not_stopped(side: Side, agent: &str) -> v1::Failure {
    other(
        format!("{side} {agent} has not confirmed that it stopped the task"),
        format!("look at the log of {side} {agent}; restarting it ends whatever it runs"),
    )
}

/// The agent left while it was carrying a command out, or did not answer it.
pub(crate) fn no_answer(side: Side, agent: &str) -> v1::Failure {
    connection(format!("{side} {agent} did not answer"), format!("look at the log of {side} {agent}"))
}

/// A retry window closed: the last cause, and that it went on for too long.
pub(crate) fn window_spent(last: &v1::Failure, retried_us: i64) -> v1::Failure {
    let minutes = retried_us / 60_000_000;
    v1::Failure {
        cause: format!("retried for {minutes} minutes without success: {}", last.cause),
        ..last.clone()
    }
}

pub(crate) fn other(cause: String, remedy: String) -> v1::Failure {
    v1::Failure { kind: FailureKind::Other.into(), definite: false, cause, remedy }
}

fn connection(cause: String, remedy: String) -> v1::Failure {
    v1::Failure { kind: FailureKind::Connection.into(), definite: false, cause, remedy }
}
