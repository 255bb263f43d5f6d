//! What waits to be sent to the coordinator.
//!
//! Bounded, and never the reason why work stops for long. Without a session, progress is worthless and
//! dropped, the state of tasks is kept elsewhere, and of objects and notices the newest are kept.

use std::collections::VecDeque;

use strait_proto::v1::agent_message::Message;
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{AgentMessage, CommandResult, Report};

use super::assignments::is_state;

/// How many reports wait at most.
pub(super) const REPORTS_MAX: usize = 4096;

/// The queue, in the order of sending.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<AgentMessage>,
    is_open: bool,
}

/// What became of a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It waits to be sent, or is kept where a new session finds it.
    Taken,
    /// There is no room until the session has sent something.
    Full,
    /// A report of this kind is lost, the one offered or an older one.
    Dropped(&'static str),
}

impl Outbox {
    /// Takes a report of a run.
    pub(super) fn offer(&mut self, report: Report) -> Offer {
        let is_full = self.queue.len() >= REPORTS_MAX;
        match report.report {
            None | Some(Kind::Stopped(_)) => Offer::Taken,
            Some(Kind::Progress(_)) if is_full || !self.is_open => Offer::Dropped("progress"),
            Some(ref state) if is_state(state) && !self.is_open => Offer::Taken,
            Some(_) if !is_full => {
                self.push(Message::Report(report));
                Offer::Taken
            }
            Some(_) if self.is_open => Offer::Full,
            Some(_) => {
                let oldest = self.queue.pop_front();
                self.push(Message::Report(report));
                Offer::Dropped(oldest.as_ref().map_or("report", kind))
            }
        }
    }

    /// Takes what there is at most one of per task: never refused.
    pub(super) fn push_report(&mut self, report: Report) {
        // A state is said again at the start of a session anyway.
        if self.is_open || !report.report.as_ref().is_some_and(is_state) {
            self.push(Message::Report(report));
        }
    }

    /// Takes an answer to a command of this session. Without a session nobody waits for it: it will be asked
    /// again.
    pub(super) fn push_result(&mut self, result: CommandResult) {
        if self.is_open {
            self.push(Message::Result(result));
        }
    }

    pub(super) fn pop(&mut self) -> Option<AgentMessage> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A session begins: how the tasks stand goes first.
    pub(super) fn open(&mut self, states: Vec<Report>) {
        self.is_open = true;
        for report in states.into_iter().rev() {
            self.queue.push_front(AgentMessage { message: Some(Message::Report(report)) });
        }
    }

    /// The session is over: keeps what nobody would say again.
    pub(super) fn close(&mut self) {
        self.is_open = false;
        self.queue.retain(|message| matches!(kind(message), "objects" | "notice" | "stopped"));
    }

    fn push(&mut self, message: Message) {
        self.queue.push_back(AgentMessage { message: Some(message) });
    }
}

fn kind(message: &AgentMessage) -> &'static str {
    match &message.message {
        Some(Message::Report(Report { report: Some(report), .. })) => match report {
            Kind::Phase(_) | Kind::Interrupted(_) | Kind::Failed(_) | Kind::Finished(_) => "state",
            Kind::Progress(_) => "progress",
            Kind::Objects(_) => "objects",
            Kind::Notice(_) => "notice",
            Kind::Stopped(_) => "stopped",
        },
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{Finished, PhaseReached, Stopped, TaskNotice, TaskProgress};

    use super::*;

    fn report(kind: Kind) -> Report {
        Report { task_id: "t".into(), epoch: 1, report: Some(kind) }
    }

    fn notice(text: impl Into<String>) -> Report {
        report(Kind::Notice(TaskNotice { text: text.into() }))
    }

    fn drained(outbox: &mut Outbox) -> Vec<&'static str> {
        std::iter::from_fn(|| outbox.pop()).map(|message| kind(&message)).collect()
    }

    #[test]
    fn an_open_outbox_keeps_the_order() {
        let mut outbox = Outbox::default();
        outbox.open(vec![]);
        outbox.offer(report(Kind::Phase(PhaseReached::default())));
        outbox.offer(notice("a"));
        outbox.offer(report(Kind::Progress(TaskProgress::default())));
        outbox.push_result(CommandResult::default());
        assert_eq!(drained(&mut outbox), ["state", "notice", "progress", "other"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn without_a_session_only_objects_and_notices_wait() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.offer(report(Kind::Phase(PhaseReached::default()))), Offer::Taken);
        assert_eq!(outbox.offer(report(Kind::Progress(TaskProgress::default()))), Offer::Dropped("progress"));
        assert_eq!(outbox.offer(notice("a")), Offer::Taken);
        outbox.push_result(CommandResult::default());
        outbox.push_report(report(Kind::Stopped(Stopped {})));
        assert_eq!(drained(&mut outbox), ["notice", "stopped"]);
    }

    #[test]
    fn a_new_session_says_first_how_the_tasks_stand() {
        let mut outbox = Outbox::default();
        outbox.open(vec![]);
        outbox.offer(notice("unsent"));
        outbox.offer(report(Kind::Phase(PhaseReached::default())));
        outbox.close();
        outbox.open(vec![report(Kind::Finished(Finished {}))]);
        assert_eq!(drained(&mut outbox), ["state", "notice"]);
    }

    #[test]
    fn a_full_outbox_makes_reports_wait_but_not_progress() {
        let mut outbox = Outbox::default();
        outbox.open(vec![]);
        for _ in 0..REPORTS_MAX {
            assert_eq!(outbox.offer(notice("a")), Offer::Taken);
        }
        assert_eq!(outbox.offer(notice("b")), Offer::Full);
        assert_eq!(outbox.offer(report(Kind::Finished(Finished {}))), Offer::Full);
        assert_eq!(outbox.offer(report(Kind::Progress(TaskProgress::default()))), Offer::Dropped("progress"));
        outbox.pop();
        assert_eq!(outbox.offer(notice("b")), Offer::Taken);
    }

    #[test]
    fn a_full_outbox_without_a_session_keeps_the_newest() {
        let mut outbox = Outbox::default();
        for n in 0..REPORTS_MAX {
            outbox.offer(notice(n.to_string()));
        }
        assert_eq!(outbox.offer(notice("newest")), Offer::Dropped("notice"));
        assert_eq!(outbox.queue.len(), REPORTS_MAX);
        let first = outbox.pop().and_then(|message| message.message);
        assert_eq!(first, Some(Message::Report(notice("1"))));
    }
}
