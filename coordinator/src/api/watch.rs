//! A task as it changes.
//!
//! ```text
//!   actor ─► latest view (one, overwritten) ─► this ─► channel of 1 ─► client
//!                        store ─► events by id ─┘
//! ```
//!
//! A client that reads slowly skips views, because only the latest one is kept, but gets the last one. Events
//! are read from the store by their ids, so none is skipped.

use std::sync::Arc;
use std::time::Duration;

use strait_proto::v1::{TaskEvent, WatchTaskResponse};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::error::RequestError;
use crate::store::StoreError;
use crate::supervise::{Supervisor, TaskView, Watched};
use crate::task::State;

/// Views wait in the watch channel, not here.
const RESPONSES_MAX: usize = 1;
/// How many events are read from the store at a time.
const EVENTS_PAGE: u32 = 500;

type Responses = mpsc::Sender<Result<WatchTaskResponse, Status>>;

/// The task at once, then at every change until it is released.
pub(super) fn stream(
    supervisor: Arc<Supervisor>,
    watched: Watched,
    permit: OwnedSemaphorePermit,
) -> ReceiverStream<Result<WatchTaskResponse, Status>> {
    let (responses, stream) = mpsc::channel(RESPONSES_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        let followed = match watched {
            Watched::Released(task) => {
                let response = WatchTaskResponse { task: Some(*task), events: Vec::new() };
                // A client that left does not need it.
                let _ = responses.send(Ok(response)).await;
                return;
            }
            Watched::Live(view) => follow(&supervisor, view, &responses).await,
        };
        if let Err(error) = followed {
            let _ = responses.send(Err(error.into())).await;
        }
    });
    ReceiverStream::new(stream)
}

/// Ends when the task is released or the client has left.
async fn follow(
    supervisor: &Supervisor,
    mut latest: watch::Receiver<TaskView>,
    responses: &Responses,
) -> Result<(), RequestError> {
    let mut view = latest.borrow_and_update().clone();
    let mut seen_event_id = view.last_event_id;
    let mut objects_seen = 0;
    loop {
        let is_last = view.record.state == State::Released;
        let (events, last_event_id) = new_events(supervisor, &view, seen_event_id).await?;
        seen_event_id = last_event_id;
        // A task may have tens of thousands of objects: after the first time only those with news.
        let (task, objects) = view.task_since(objects_seen);
        objects_seen = objects;
        let response = WatchTaskResponse { task: Some(supervisor.with_alerts(task)), events };
        if responses.send(Ok(response)).await.is_err() || is_last {
            return Ok(());
        }
        let interval = supervisor.timings().watch_interval;
        let Some(next) = next_view(&mut latest, view.revision, interval, responses).await? else {
            return Ok(());
        };
        view = next;
    }
}

/// The next view worth sending: at once where more than progress changed, otherwise not before the interval
/// is over. None when the client has left.
async fn next_view(
    latest: &mut watch::Receiver<TaskView>,
    sent_revision: u64,
    interval: Duration,
    responses: &Responses,
) -> Result<Option<TaskView>, RequestError> {
    let not_before = Instant::now() + interval;
    let mut waiting = None;
    loop {
        let is_waiting = waiting.is_some();
        tokio::select! {
            changed = latest.changed() => {
                changed.map_err(|_| RequestError::ShuttingDown)?;
                let view = latest.borrow_and_update().clone();
                if view.revision != sent_revision || Instant::now() >= not_before {
                    return Ok(Some(view));
                }
                waiting = Some(view);
            }
            () = sleep_until(not_before), if is_waiting => return Ok(waiting),
            () = responses.closed() => return Ok(None),
        }
    }
}

/// The events up to the view's last one, and their last id.
async fn new_events(
    supervisor: &Supervisor,
    view: &TaskView,
    seen_event_id: u64,
) -> Result<(Vec<TaskEvent>, u64), StoreError> {
    let (mut events, mut last) = (Vec::new(), seen_event_id);
    while last < view.last_event_id {
        let page = supervisor.store().events_after(&view.record.task_id, last, EVENTS_PAGE).await?;
        let Some(newest) = page.last().map(|event| event.event_id) else {
            // Fallen out of the history meanwhile.
            last = view.last_event_id;
            break;
        };
        last = newest;
        events.extend(page);
    }
    Ok((events, last))
}
