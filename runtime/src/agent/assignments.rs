//! Which assignment of each task runs, is being stopped, or waits for an older one to end.
//!
//! Pure: it decides, the hub carries out. One slot a task:
//!
//! ```text
//!   assign ─► Running ──(the run returns)──► Ended      stays, so that Hello still lists the epoch
//!                │ higher epoch, or revoke
//!                ▼
//!            Stopping ──(the run returns)──► Running with the epoch that waits, or no slot
//! ```

use std::collections::HashMap;

use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{Adjust, Assign, Report, RunningTask, Throttle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All tasks of an agent, by id.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    slots: HashMap<String, Slot>,
    /// The agent shuts down: nothing starts any more.
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    /// The epoch of the run, whatever state it is in.
    epoch: u64,
    stop: CancellationToken,
    /// What the run obeys now.
    throttle: watch::Sender<Throttle>,
    has_ended: bool,
    /// Starts when the run has ended. Its epoch is higher.
    next: Option<Assign>,
    /// The revoked epochs to answer for when the run has ended.
    revoked: Vec<u64>,
    /// The last report that says how the task stands, of the newest epoch.
    last: Option<Kind>,
}

/// A run to be started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) assign: Assign,
    pub(super) stop: CancellationToken,
    /// Begins with what the assignment says.
    pub(super) throttle: watch::Receiver<Throttle>,
}

/// What follows from the end of a run.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Epochs to report as stopped.
    pub(super) stopped: Vec<u64>,
    pub(super) start: Option<Start>,
    /// Nobody asked it to end, and it did not say why it did.
    pub(super) unexplained: bool,
}

impl Slot {
    fn new(assign: &Assign) -> Self {
        let throttle = assign.spec.as_ref().and_then(|spec| spec.throttle).unwrap_or_default();
        Self {
            epoch: assign.epoch,
            stop: CancellationToken::new(),
            throttle: watch::Sender::new(throttle),
            has_ended: false,
            next: None,
            revoked: Vec::new(),
            last: None,
        }
    }

    /// The newest epoch that the coordinator assigned.
    fn newest(&self) -> u64 {
        self.next.as_ref().map_or(self.epoch, |next| next.epoch)
    }
}

impl Assignments {
    /// A new assignment. An epoch that is not higher than what is known is an echo and changes nothing.
    pub(super) fn assign(&mut self, assign: Assign) -> Option<Start> {
        if self.closed {
            return None;
        }
        match self.slots.get_mut(&assign.task_id) {
            Some(slot) if assign.epoch <= slot.newest() => None,
            Some(slot) if !slot.has_ended => {
                slot.stop.cancel();
                slot.next = Some(assign);
                slot.last = None;
                None
            }
            _ => Some(self.start(assign)),
        }
    }

    /// The coordinator changes what may change of an assignment. For the one that waits it counts from its start; for any but
    /// the newest it means nothing.
    pub(super) fn adjust(&mut self, adjust: &Adjust) {
        let Some(slot) = self.slots.get_mut(&adjust.task_id).filter(|slot| slot.newest() == adjust.epoch)
        else {
            return;
        };
        match &mut slot.next {
            Some(next) => next.spec.get_or_insert_default().throttle = adjust.throttle,
            None => {
                slot.throttle.send_replace(adjust.throttle.unwrap_or_default());
            }
        }
    }

    /// The coordinator takes an epoch back. True where that epoch may be reported as stopped at once;
    /// otherwise the end of the run will say so.
    pub(super) fn revoke(&mut self, task_id: &str, epoch: u64) -> bool {
        let Some(slot) = self.slots.get_mut(task_id) else {
            return true;
        };
        if epoch < slot.epoch {
            return true;
        }
        if epoch >= slot.newest() {
            slot.next = None;
            if slot.has_ended {
                self.slots.remove(task_id);
                return true;
            }
            slot.stop.cancel();
        }
        if !slot.revoked.contains(&epoch) {
            slot.revoked.push(epoch);
        }
        false
    }

    /// The run of `epoch` has returned.
    pub(super) fn ended(&mut self, task_id: &str, epoch: u64) -> Ended {
        let Some(slot) = self.slots.get_mut(task_id).filter(|slot| slot.epoch == epoch) else {
            return Ended::default();
        };
        slot.has_ended = true;
        let stopped = std::mem::take(&mut slot.revoked);
        if let Some(next) = slot.next.take() {
            let start = (!self.closed).then(|| self.start(next));
            return Ended { stopped, start, unexplained: false };
        }
        let said_why = matches!(slot.last, Some(Kind::Failed(_) | Kind::Finished(_)));
        let unexplained = !slot.stop.is_cancelled() && !said_why;
        if !stopped.is_empty() {
            self.slots.remove(task_id);
        }
        Ended { stopped, start: None, unexplained }
    }

    /// Whether a report of this epoch still counts.
    pub(super) fn is_current(&self, task_id: &str, epoch: u64) -> bool {
        self.slots.get(task_id).is_some_and(|slot| slot.newest() == epoch)
    }

    /// Keeps the last report on how a task stands; reports of other kinds, or of a replaced epoch, are not
    /// kept.
    pub(super) fn remember(&mut self, task_id: &str, epoch: u64, report: &Kind) {
        if is_state(report)
            && let Some(slot) = self.slots.get_mut(task_id)
            && slot.newest() == epoch
        {
            slot.last = Some(report.clone());
        }
    }

    /// How every task stands, for a coordinator that was away.
    pub(super) fn last_reports(&self) -> Vec<Report> {
        let said = self.slots.iter().filter_map(|(task_id, slot)| {
            let report = slot.last.clone()?;
            Some(Report { task_id: task_id.clone(), epoch: slot.newest(), report: Some(report) })
        });
        said.collect()
    }

    /// What the agent has taken on, ended runs included: the coordinator would assign anew what is not
    /// listed.
    pub(super) fn running(&self) -> Vec<RunningTask> {
        let known = self.slots.iter();
        known.map(|(task_id, slot)| RunningTask { task_id: task_id.clone(), epoch: slot.newest() }).collect()
    }

    /// Stops every run and starts no more.
    pub(super) fn stop_all(&mut self) {
        self.closed = true;
        for slot in self.slots.values() {
            slot.stop.cancel();
        }
    }

    /// The tasks whose runs have not returned.
    pub(super) fn unended(&self) -> Vec<String> {
        self.slots.iter().filter(|(_, slot)| !slot.has_ended).map(|(task_id, _)| task_id.clone()).collect()
    }

    fn start(&mut self, assign: Assign) -> Start {
        let slot = Slot::new(&assign);
        let (stop, throttle) = (slot.stop.clone(), slot.throttle.subscribe());
        self.slots.insert(assign.task_id.clone(), slot);
        Start { assign, stop, throttle }
    }
}

/// Whether a report says how the task stands, and so replaces the one before it.
pub(super) fn is_state(report: &Kind) -> bool {
    matches!(report, Kind::Phase(_) | Kind::Interrupted(_) | Kind::Failed(_) | Kind::Finished(_))
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{Failure, Finished, Interrupted, TaskNotice};

    use super::*;

    const TASK: &str = "aaaaaaaaaaaa";

    fn epoch(epoch: u64) -> Assign {
        Assign { task_id: TASK.into(), epoch, ..Assign::default() }
    }

    fn running(first: u64) -> (Assignments, CancellationToken) {
        let mut assignments = Assignments::default();
        let start = assignments.assign(epoch(first)).unwrap();
        (assignments, start.stop)
    }

    fn listed(assignments: &Assignments) -> Vec<u64> {
        assignments.running().iter().map(|task| task.epoch).collect()
    }

    #[test]
    fn an_equal_or_lower_epoch_is_ignored() {
        let (mut assignments, stop) = running(5);
        assert!(assignments.assign(epoch(5)).is_none());
        assert!(assignments.assign(epoch(4)).is_none());
        assert!(!stop.is_cancelled());
        assert_eq!(listed(&assignments), [5]);
    }

    #[test]
    fn a_higher_epoch_waits_for_the_end_of_the_older_one() {
        let (mut assignments, stop) = running(1);
        assert!(assignments.assign(epoch(2)).is_none());
        assert!(stop.is_cancelled());
        assert!(assignments.assign(epoch(3)).is_none());
        assert!(assignments.assign(epoch(2)).is_none());
        assert_eq!(listed(&assignments), [3]);
        let ended = assignments.ended(TASK, 1);
        assert_eq!(ended.start.unwrap().assign.epoch, 3);
        assert!(ended.stopped.is_empty() && !ended.unexplained);
    }

    #[test]
    fn an_adjustment_reaches_the_newest_epoch_alone_running_or_waiting() {
        let throttle = |rows_per_second| {
            let limits = strait_proto::v1::RateLimits { rows_per_second, bytes_per_second: 0 };
            Some(Throttle { incremental: Some(limits) })
        };
        let adjust = |epoch, rows| Adjust { task_id: TASK.into(), epoch, throttle: throttle(rows) };
        let mut assignments = Assignments::default();
        let start = assignments.assign(epoch(1)).unwrap();
        assert_eq!(*start.throttle.borrow(), Throttle::default());
        assignments.adjust(&adjust(2, 9));
        assert_eq!(*start.throttle.borrow(), Throttle::default(), "an epoch that is not known");
        assignments.adjust(&adjust(1, 5));
        assert_eq!(Some(*start.throttle.borrow()), throttle(5));

        assignments.assign(epoch(2));
        assignments.adjust(&adjust(1, 6));
        assignments.adjust(&adjust(2, 7));
        assert_eq!(Some(*start.throttle.borrow()), throttle(5), "it is being replaced");
        let next = assignments.ended(TASK, 1).start.unwrap();
        assert_eq!(Some(*next.throttle.borrow()), throttle(7));
        assignments.adjust(&Adjust { throttle: None, ..adjust(2, 0) });
        assert_eq!(*next.throttle.borrow(), Throttle::default());
    }

    #[test]
    fn reports_of_a_replaced_epoch_no_longer_count() {
        let (mut assignments, _) = running(1);
        assignments.remember(TASK, 1, &Kind::Interrupted(Interrupted::default()));
        assignments.assign(epoch(2));
        assert!(!assignments.is_current(TASK, 1) && assignments.is_current(TASK, 2));
        assignments.remember(TASK, 1, &Kind::Finished(Finished {}));
        assert!(assignments.last_reports().is_empty());
    }

    #[test]
    fn a_revoked_epoch_is_answered_when_its_run_has_ended_and_is_forgotten() {
        let (mut assignments, stop) = running(1);
        assert!(!assignments.revoke(TASK, 1));
        assert!(!assignments.revoke(TASK, 1));
        assert!(stop.is_cancelled());
        assert_eq!(listed(&assignments), [1]);
        let ended = assignments.ended(TASK, 1);
        assert_eq!((ended.stopped, ended.unexplained), (vec![1], false));
        assert!(listed(&assignments).is_empty());
    }

    #[test]
    fn where_nothing_runs_a_revoke_is_answered_at_once() {
        let mut assignments = Assignments::default();
        assert!(assignments.revoke(TASK, 1));
        let (mut assignments, stop) = running(5);
        assert!(assignments.revoke(TASK, 4), "an older epoch does not run any more");
        assert!(!stop.is_cancelled());
    }

    #[test]
    fn a_revoke_of_an_epoch_never_seen_stops_the_older_one() {
        let (mut assignments, stop) = running(1);
        assert!(!assignments.revoke(TASK, 2));
        assert!(stop.is_cancelled());
        assert_eq!(assignments.ended(TASK, 1).stopped, [2]);
    }

    #[test]
    fn a_revoke_of_the_older_epoch_leaves_the_waiting_one() {
        let (mut assignments, _) = running(1);
        assignments.assign(epoch(2));
        assert!(!assignments.revoke(TASK, 1));
        let ended = assignments.ended(TASK, 1);
        assert_eq!((ended.stopped, ended.start.unwrap().assign.epoch), (vec![1], 2));
    }

    #[test]
    fn a_revoke_of_the_waiting_epoch_ends_both() {
        let (mut assignments, _) = running(1);
        assignments.assign(epoch(2));
        assert!(!assignments.revoke(TASK, 2));
        let ended = assignments.ended(TASK, 1);
        assert!(ended.start.is_none());
        assert_eq!(ended.stopped, [2]);
        assert!(listed(&assignments).is_empty());
    }

    #[test]
    fn an_assignment_after_a_revoke_waits_for_the_end_too() {
        let (mut assignments, _) = running(1);
        assignments.revoke(TASK, 1);
        assert!(assignments.assign(epoch(2)).is_none());
        let ended = assignments.ended(TASK, 1);
        assert_eq!((ended.stopped, ended.start.unwrap().assign.epoch), (vec![1], 2));
        assert_eq!(listed(&assignments), [2]);
    }

    #[test]
    fn a_run_that_ended_by_itself_stays_listed_with_its_last_word() {
        let (mut assignments, _) = running(1);
        assignments.remember(TASK, 1, &Kind::Failed(Failure::default()));
        assignments.remember(TASK, 1, &Kind::Notice(TaskNotice::default()));
        assert!(!assignments.ended(TASK, 1).unexplained);
        assert_eq!(listed(&assignments), [1]);
        let said = assignments.last_reports();
        assert!(matches!(said[0].report, Some(Kind::Failed(_))));
        assert!(assignments.assign(epoch(1)).is_none(), "the same epoch does not start again");
        assert!(assignments.revoke(TASK, 1));
        assert!(assignments.running().is_empty());
    }

    #[test]
    fn a_run_that_ended_by_itself_makes_room_for_a_higher_epoch() {
        let (mut assignments, _) = running(1);
        assignments.remember(TASK, 1, &Kind::Finished(Finished {}));
        assignments.ended(TASK, 1);
        assert_eq!(assignments.assign(epoch(2)).unwrap().assign.epoch, 2);
        assert!(assignments.last_reports().is_empty());
        assert!(assignments.ended(TASK, 1).stopped.is_empty(), "an echo of the old run's end");
        assert_eq!(assignments.unended(), [TASK]);
    }

    #[test]
    fn a_run_that_ends_without_a_word_is_unexplained() {
        let (mut assignments, _) = running(1);
        assert!(assignments.ended(TASK, 1).unexplained);
    }

    #[test]
    fn nothing_starts_after_the_shutdown() {
        let (mut assignments, stop) = running(1);
        assignments.assign(epoch(2));
        assignments.stop_all();
        assert!(stop.is_cancelled());
        assert!(assignments.assign(epoch(3)).is_none());
        assert!(assignments.ended(TASK, 1).start.is_none());
        assert!(assignments.unended().is_empty());
    }
}
