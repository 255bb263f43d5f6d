//! Following a task: watching it, waiting for a state, and its events as they happen.

use strait_proto::v1::{self, TaskState};

use super::task::startable;
use crate::args::OneTask;
use crate::client::Coordinator;
use crate::error::Error;
use crate::output::{self, OutputFormat};
use crate::report::{Format, Printer, Reporter};
use crate::view::{EventView, Line};

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Changes flow.
    Incremental,
    /// `once` is fulfilled.
    Finished,
    /// Everything that the task made is gone.
    Released,
}

/// `strait task watch`.
pub(super) async fn watch(coordinator: &Coordinator, task: &OneTask) -> Result<(), Error> {
    let mut watch = coordinator.watch(&task.task).await?;
    let mut reporter = Reporter::new(Printer::new(format(task.remote.output)));
    while let Some((task, events)) = watch.next().await? {
        reporter.observe(&task, &events)?;
        if task.state() == TaskState::Released {
            break;
        }
    }
    reporter.finish()
}

/// Waits until a task has reached a state; fails where it cannot reach it any more without somebody's help.
pub(super) async fn wait(
    coordinator: &Coordinator,
    task: &v1::Task,
    until: Until,
) -> Result<v1::Task, Error> {
    let mut watch = coordinator.watch(&task.task_id).await?;
    while let Some((task, _)) = watch.next().await? {
        if reached(&task, until)? {
            return Ok(task);
        }
    }
    Err(Error::WatchEnded)
}

/// `strait task events`.
pub(super) async fn list_events(coordinator: &Coordinator, task: &OneTask) -> Result<(), Error> {
    let events = coordinator.events(&task.task, 0).await?;
    let views: Vec<EventView> = events.iter().map(EventView::from).collect();
    output::print(task.remote.output, &views, |views| output::events(views))
}

/// `strait task events --follow`.
pub(super) async fn follow_events(coordinator: &Coordinator, task: &OneTask) -> Result<(), Error> {
    // The watch begins first, so that nothing falls between it and the list.
    let mut watch = coordinator.watch(&task.task).await?;
    let mut printer = Printer::new(match format(task.remote.output) {
        Format::Bars => Format::Lines,
        other => other,
    });
    let mut last_event_id = 0;
    let mut print = |events: &[v1::TaskEvent]| {
        for event in events {
            if event.event_id > last_event_id {
                last_event_id = event.event_id;
                printer.print(&Line::Event(EventView::from(event)))?;
            }
        }
        Ok::<(), Error>(())
    };
    print(&coordinator.events(&task.task, 0).await?)?;
    while let Some((task, events)) = watch.next().await? {
        print(&events)?;
        if task.state() == TaskState::Released {
            break;
        }
    }
    Ok(())
}

fn format(output: OutputFormat) -> Format {
    match output {
        OutputFormat::Table => Format::for_people(),
        OutputFormat::Json => Format::Json,
        OutputFormat::Yaml => Format::Yaml,
    }
}

fn reached(task: &v1::Task, until: Until) -> Result<bool, Error> {
    if until != Until::Released {
        startable(task, false)?;
    }
    match (task.state(), until) {
        (TaskState::Failed, Until::Incremental | Until::Finished) => {
            Err(Error::TaskFailed(Box::new(task.failure.clone().unwrap_or_default())))
        }
        (TaskState::Released, Until::Released)
        | (TaskState::Finished, Until::Incremental | Until::Finished)
        | (TaskState::Incremental, Until::Incremental) => Ok(true),
        (state @ (TaskState::Paused | TaskState::Releasing | TaskState::Released), _)
            if until != Until::Released =>
        {
            Err(Error::TaskIs(state))
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_state_or_where_it_cannot_be_reached() {
        use TaskState::*;
        let outcome = |state: TaskState, until: Until| {
            let mut task = v1::Task::default();
            task.set_state(state);
            reached(&task, until).ok()
        };
        for (state, until, expected) in [
            (Ready, Until::Incremental, Some(false)),
            (FullSync, Until::Incremental, Some(false)),
            (Retrying, Until::Incremental, Some(false)),
            (Incremental, Until::Incremental, Some(true)),
            (Finished, Until::Incremental, Some(true)),
            (Failed, Until::Incremental, None),
            (PrecheckFailed, Until::Incremental, None),
            (Paused, Until::Incremental, None),
            (Incremental, Until::Finished, Some(false)),
            (Finished, Until::Finished, Some(true)),
            (Released, Until::Finished, None),
            (Failed, Until::Released, Some(false)),
            (Releasing, Until::Released, Some(false)),
            (Released, Until::Released, Some(true)),
        ] {
            assert_eq!(outcome(state, until), expected, "{state} until {until:?}");
        }
    }
}
