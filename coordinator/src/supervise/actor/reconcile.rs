//! Who is there and what time it is, turned into events.

use tokio::time::Instant;

use super::{Actor, IDLE};
use crate::clock::{now_us, until};
use crate::supervise::contact::Contact;
use crate::task::{Context, Event, Presence, State, TaskRecord, absence, due};

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

    fn due(&self) -> Option<Event> {
        let window_closed = match &self.record.state {
            State::Retrying(retry) => now_us() >= retry.until_us && Instant::now() >= self.patient_until,
            _ => false,
        };
        due(&self.record.state, &self.presences(), window_closed)
    }

    fn presences(&self) -> [Presence<'_>; 2] {
        let (now, epoch) = (Instant::now(), self.record.epoch);
        [&self.source, &self.sink].map(|contact| Presence {
            side: contact.side(),
            agent: contact.agent(),
            is_connected: contact.is_connected(),
            is_overdue: contact.overdue_at().is_some_and(|at| at <= now),
            is_at_work: contact.holds() == Some(epoch),
        })
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

    /// What a decision depends on, for the task as it is to be.
    pub(super) fn context(&self, next: &TaskRecord) -> Context {
        Context {
            now_us: now_us(),
            windows: self.supervisor.windows(next),
            absence: absence(&self.presences(), |agent| !agent.is_connected, false),
            assigned: self.record.assigned,
        }
    }
}
