//! What follows from who is there and what time it is: a pure function, too.

use super::failure::{absent, came_back_idle};
use super::{Absence, Event, RetryReason, Side, State};

/// One of a task's two agents, as the coordinator sees it now.
#[derive(Clone, Debug)]
pub(crate) struct Presence<'a> {
    pub(crate) side: Side,
    pub(crate) agent: &'a str,
    pub(crate) is_connected: bool,
    /// It has been away for longer than is overlooked.
    pub(crate) is_overdue: bool,
    /// It works on the task under the current epoch.
    pub(crate) is_at_work: bool,
}

/// The event that is due, if any is. `window_closed`: the time of a retry is over, and the agents had the time to come back.
pub(crate) fn due(state: &State, agents: &[Presence<'_>; 2], window_closed: bool) -> Option<Event> {
    let known = match state {
        State::Running { .. } => None,
        State::Retrying(_) if window_closed => return Some(Event::WindowSpent),
        State::Retrying(retry) => retry.absence(),
        _ => return None,
    };
    if agents.iter().all(|agent| agent.is_connected) {
        let idle: Vec<_> =
            agents.iter().filter(|agent| !agent.is_at_work).map(|it| (it.side, it.agent)).collect();
        if !idle.is_empty() {
            return Some(Event::AgentsFree { failure: came_back_idle(&idle) });
        }
        return known.map(|_| Event::AgentsPresent);
    }
    let overdue = absence(agents, |agent| agent.is_overdue, was_working(state))?;
    let is_news = known.is_none_or(|known| (known.source, known.sink) != (overdue.source, overdue.sink));
    is_news.then_some(Event::AgentsAbsent(overdue))
}

/// The agents that are away in this sense, if any are.
pub(crate) fn absence(
    agents: &[Presence<'_>; 2],
    is_away: impl Fn(&Presence<'_>) -> bool,
    lost: bool,
) -> Option<Absence> {
    let away: Vec<_> = agents.iter().filter(|agent| is_away(agent)).map(|it| (it.side, it.agent)).collect();
    let has = |side| away.iter().any(|(it, _)| *it == side);
    let (source, sink) = (has(Side::Source), has(Side::Sink));
    (source || sink).then(|| Absence { source, sink, lost, failure: absent(&away, lost) })
}

/// Whether the agents were at work before one of them went missing.
fn was_working(state: &State) -> bool {
    match state {
        State::Running { .. } => true,
        State::Retrying(retry) => match &retry.reason {
            RetryReason::Interrupted(_) => true,
            RetryReason::Absent { absence, .. } => absence.lost,
        },
        _ => false,
    }
}
