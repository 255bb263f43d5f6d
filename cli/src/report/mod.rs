//! Saying what a task does while it does it.
//!
//! ```text
//! answers of WatchTask ──► Reporter ──► Line ──► Printer ──► JSON │ YAML │ lines │ bars
//!                          what is new           how it looks
//! ```
//!
//! The [`Reporter`] decides what is new and says it once; the [`Printer`] decides how it looks. All four
//! looks come from the same lines, so a person and a script see the same run.

mod bars;
mod changes;
mod lines;
mod printer;
mod rate;

use std::time::{Duration, Instant};

use strait_proto::v1::{self, TaskState};

use crate::error::Error;
use crate::view::{EventView, Line, PrecheckItemView, ProgressLine, StateLine, now_us};

pub(crate) use printer::{Format, Printer};

use rate::RateMeter;

/// Turns what the coordinator says into lines, each thing once.
pub(crate) struct Reporter {
    printer: Printer,
    seen: Option<Seen>,
    last_event_id: u64,
    rate: RateMeter,
    pending: Option<ProgressLine>,
    progress_printed: Option<Instant>,
}

/// The state as it was last printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    state: TaskState,
    changed_at_us: i64,
}

impl Reporter {
    pub(crate) fn new(printer: Printer) -> Self {
        Self {
            printer,
            seen: None,
            last_event_id: 0,
            rate: RateMeter::default(),
            pending: None,
            progress_printed: None,
        }
    }

    /// Does not repeat the events up to this one: they were printed by an earlier run.
    pub(crate) fn skip_events(&mut self, last_event_id: u64) {
        self.last_event_id = self.last_event_id.max(last_event_id);
    }

    /// Says what is new: changes of state with those that fell between two answers, events, the precheck,
    /// progress.
    pub(crate) fn observe(&mut self, task: &v1::Task, events: &[v1::TaskEvent]) -> Result<(), Error> {
        let now = Seen { state: task.state(), changed_at_us: task.state_changed_at_us };
        let has_changed = self.seen != Some(now);
        if has_changed {
            self.flush_progress()?;
        }
        self.events(events)?;
        if has_changed {
            self.states(task, now)?;
        }
        self.progress(task)
    }

    /// Prints what is held back.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.flush_progress()?;
        self.printer.finish()
    }

    fn events(&mut self, events: &[v1::TaskEvent]) -> Result<(), Error> {
        for event in events {
            if event.event_id > self.last_event_id {
                self.last_event_id = event.event_id;
                if self.printer.is_for_people() && changes::is_told(&event.text) {
                    continue;
                }
                self.printer.print(&Line::Event(EventView::from(event)))?;
            }
        }
        Ok(())
    }

    fn states(&mut self, task: &v1::Task, now: Seen) -> Result<(), Error> {
        let before = self.seen.replace(now);
        if before.is_some_and(|before| before.state == TaskState::Prechecking)
            && now.state != TaskState::Prechecking
        {
            self.precheck(task)?;
        }
        let passed = before.map(|before| changes::between(before.state, now.state)).unwrap_or_default();
        for &state in passed {
            self.printer.print(&Line::State(StateLine::passed(task, state)))?;
            if state == TaskState::Prechecking {
                self.precheck(task)?;
            }
        }
        self.printer.print(&Line::State(StateLine::of(task)))
    }

    fn precheck(&mut self, task: &v1::Task) -> Result<(), Error> {
        for item in &task.precheck {
            self.printer.print(&Line::Precheck(PrecheckItemView::from(item)))?;
        }
        Ok(())
    }

    /// Progress comes as often as agents report; it is printed as often as it helps.
    fn progress(&mut self, task: &v1::Task) -> Result<(), Error> {
        let copy = task.progress.as_ref().and_then(|progress| progress.copy.as_ref());
        let rate = match (task.state(), copy) {
            (TaskState::FullSync, Some(copy)) => self.rate.observe(copy, Instant::now()),
            _ => None,
        };
        let working = matches!(
            task.state(),
            TaskState::SchemaSync | TaskState::FullSync | TaskState::Incremental | TaskState::Retrying
        );
        if !working {
            return Ok(());
        }
        self.pending = ProgressLine::of(task, rate, now_us());
        let interval: Duration = self.printer.progress_interval();
        if self.progress_printed.is_none_or(|printed| printed.elapsed() >= interval) {
            self.flush_progress()?;
        }
        Ok(())
    }

    fn flush_progress(&mut self) -> Result<(), Error> {
        if let Some(line) = self.pending.take() {
            self.progress_printed = Some(Instant::now());
            self.printer.print(&Line::Progress(Box::new(line)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(state: TaskState, changed_at_us: i64) -> v1::Task {
        let mut task = v1::Task { state_changed_at_us: changed_at_us, ..v1::Task::default() };
        task.set_state(state);
        task
    }

    fn said(answers: &[(v1::Task, Vec<v1::TaskEvent>)]) -> Vec<String> {
        let (printer, printed) = Printer::for_test();
        let mut reporter = Reporter::new(printer);
        for (task, events) in answers {
            reporter.observe(task, events).unwrap();
        }
        reporter.finish().unwrap();
        let lines = printed.lock().unwrap().clone();
        lines
            .into_iter()
            .map(|line| match line {
                Line::State(line) => line.state.to_owned(),
                Line::Event(event) => format!("event {}", event.event_id),
                Line::Precheck(item) => format!("precheck {}", item.name),
                Line::Progress(progress) => {
                    format!("progress {}", progress.copy.map(|copy| copy.rows).unwrap_or_default())
                }
            })
            .collect()
    }

    fn event(event_id: u64) -> v1::TaskEvent {
        v1::TaskEvent { event_id, ..v1::TaskEvent::default() }
    }

    #[test]
    fn each_state_and_event_is_said_once_and_skipped_states_are_filled_in() {
        let mut ready = task(TaskState::Ready, 2);
        ready.precheck = vec![v1::PrecheckItem { name: "source.reachable".to_owned(), ..Default::default() }];
        assert_eq!(
            said(&[
                (task(TaskState::Created, 1), vec![event(1)]),
                (task(TaskState::Created, 1), vec![event(1)]),
                (ready.clone(), vec![event(2), event(3)]),
                (ready, vec![event(3)]),
                (task(TaskState::Incremental, 3), vec![]),
                (task(TaskState::Finished, 4), vec![]),
                (task(TaskState::Released, 5), vec![]),
            ]),
            [
                "event 1",
                "created",
                "event 2",
                "event 3",
                "prechecking",
                "precheck source.reachable",
                "ready",
                "schema-sync",
                "full-sync",
                "incremental",
                "finished",
                "releasing",
                "released"
            ]
        );
    }

    #[test]
    fn the_precheck_is_said_when_it_ends_and_not_when_a_stored_task_is_met() {
        let mut failed = task(TaskState::PrecheckFailed, 3);
        failed.precheck = vec![v1::PrecheckItem { name: "a".to_owned(), ..Default::default() }];
        assert_eq!(said(&[(failed.clone(), vec![])]), ["precheck-failed"]);
        assert_eq!(
            said(&[(task(TaskState::Prechecking, 2), vec![]), (failed, vec![])]),
            ["prechecking", "precheck a", "precheck-failed"]
        );
        let mut running = task(TaskState::SchemaSync, 3);
        running.precheck = vec![v1::PrecheckItem { name: "a".to_owned(), ..Default::default() }];
        assert_eq!(
            said(&[(task(TaskState::Prechecking, 2), vec![]), (running, vec![])]),
            ["prechecking", "precheck a", "ready", "schema-sync"]
        );
    }

    #[test]
    fn a_state_that_was_left_and_entered_again_is_said_again() {
        assert_eq!(
            said(&[(task(TaskState::Incremental, 1), vec![]), (task(TaskState::Incremental, 2), vec![])]),
            ["incremental", "incremental"]
        );
    }

    #[test]
    fn the_last_progress_before_a_change_of_state_is_not_lost() {
        let copying = |rows: u64| {
            let mut task = task(TaskState::FullSync, 1);
            let copy = v1::CopyProgress { rows, ..v1::CopyProgress::default() };
            task.progress = Some(v1::TaskProgress { copy: Some(copy), stream: None });
            (task, vec![])
        };
        assert_eq!(
            said(&[copying(1), copying(2), copying(3), (task(TaskState::Incremental, 2), vec![])]),
            ["full-sync", "progress 1", "progress 3", "incremental"]
        );
    }
}
