//! Who is there and what time it is, turned into events.

use tokio::time::Instant;

use super::{Actor, IDLE};
use crate::clock::{now_us, until};
use crate::supervise::contact::Contact;
use crate::task::failure::{absent, came_back_idle};
use crate::task::{Absence, Context, Event, RetryReason, State};

impl Actor {
    /// Brings what the agents do and what the state wants together. False when the coordinator ends.
    pub(super) async fn reconcile(&mut self) -> bool {
        self.source.refresh();
        self.sink.refresh();
        while let Some(event) = self.due() {
            if !self.apply_surely(event.into()).await {
                return false;
            }
        }
        if self.progress_due.is_some_and(|due| due <= Instant::now()) {
            self.save_progress().await;
        }
        // While a task stops or is released, that work talks to the agents.
        let is_idle = !matches!(self.record.state, State::Pausing { .. } | State::Releasing { .. });
        if is_idle && !self.record.state.wants_agents() {
            self.revoke();
        }
        self.adjust();
        true
    }

    /// What follows from who is there and what time it is.
    fn due(&self) -> Option<Event> {
        let absence = match &self.record.state {
            State::Running { .. } => None,
            State::Retrying(retry) => {
                if now_us() >= retry.until_us && Instant::now() >= self.patient_until {
                    return Some(Event::WindowSpent);
                }
                retry.absence()
            }
            _ => return None,
        };
        if self.source.is_connected() && self.sink.is_connected() {
            let contacts = [&self.source, &self.sink].into_iter();
            let idle = contacts.filter(|contact| contact.holds() != Some(self.record.epoch));
            let idle: Vec<_> = idle.map(|contact| (contact.side(), contact.agent())).collect();
            if !idle.is_empty() {
                return Some(Event::AgentsFree { failure: came_back_idle(&idle) });
            }
            return absence.map(|_| Event::AgentsPresent);
        }
        let now = Instant::now();
        let is_overdue = |contact: &Contact| contact.overdue_at().is_some_and(|at| at <= now);
        let overdue = self.absence(is_overdue(&self.source), is_overdue(&self.sink), self.was_working())?;
        let is_news =
            absence.is_none_or(|known| (known.source, known.sink) != (overdue.source, overdue.sink));
        is_news.then_some(Event::AgentsAbsent(overdue))
    }

    /// Whether the agents were at work before one of them went missing.
    fn was_working(&self) -> bool {
        match &self.record.state {
            State::Running { .. } => true,
            State::Retrying(retry) => match &retry.reason {
                RetryReason::Interrupted(_) => true,
                RetryReason::Absent { absence, .. } => absence.lost,
            },
            _ => false,
        }
    }

    fn absence(&self, source: bool, sink: bool, lost: bool) -> Option<Absence> {
        let sides = [(source, &self.source), (sink, &self.sink)].into_iter().filter(|(is_away, _)| *is_away);
        let away: Vec<_> = sides.map(|(_, contact)| (contact.side(), contact.agent())).collect();
        (source || sink).then(|| Absence { source, sink, lost, failure: absent(&away, lost) })
    }

    pub(super) fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let window = match &self.record.state {
            State::Retrying(retry) => Some((now + until(retry.until_us)).max(self.patient_until)),
            _ => None,
        };
        // What is overdue already has been dealt with.
        let overdue =
            [&self.source, &self.sink].into_iter().filter_map(Contact::overdue_at).filter(|at| *at > now);
        overdue.chain(window).chain(self.progress_due).min().unwrap_or(now + IDLE)
    }

    pub(super) fn context(&self) -> Context {
        let away = |contact: &Contact| !contact.is_connected();
        Context {
            now_us: now_us(),
            windows: self.supervisor.windows(&self.record),
            absence: self.absence(away(&self.source), away(&self.sink), false),
            assigned: self.record.assigned,
        }
    }
}
