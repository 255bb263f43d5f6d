//! Lists of tasks: filtered, page by page.

use std::collections::HashMap;

use strait_proto::TaskId;
use strait_proto::v1::{self, ListTasksRequest, ListTasksResponse};

use super::Supervisor;
use crate::error::RequestError;
use crate::task::glob;
use crate::task::{Side, State, TaskRecord};

/// How many tasks one answer holds at most, and how many where nothing is said.
const PAGE_MAX: u32 = 1000;

/// The place of a task in every list: the oldest first.
type Place = (i64, TaskId);

impl Supervisor {
    /// The tasks that a request asks for, without what grows with their tables.
    pub(crate) async fn list(&self, request: &ListTasksRequest) -> Result<ListTasksResponse, RequestError> {
        let after = place(&request.page_token)?;
        let wanted = |record: &TaskRecord| {
            let is_after = after.as_ref().is_none_or(|after| place_of(record) > *after);
            is_after && matches(request, record)
        };
        let released = if request.include_released { self.store.list_released().await? } else { Vec::new() };
        let released = released.into_iter().filter(wanted);
        let mut tasks: HashMap<Place, v1::Task> =
            released.map(|record| (place_of(&record), brief(record.to_task(Vec::new())))).collect();
        // One that was released a moment ago may be in both.
        let live = self.views().into_iter().filter(|view| wanted(&view.record));
        let live = live.filter(|view| request.include_released || view.record.state != State::Released);
        tasks.extend(live.map(|view| (place_of(&view.record), brief(self.with_alerts(view.summary())))));

        let mut tasks: Vec<(Place, v1::Task)> = tasks.into_iter().collect();
        tasks.sort_by(|(left, _), (right, _)| left.cmp(right));
        let size = if request.page_size == 0 { PAGE_MAX } else { request.page_size.min(PAGE_MAX) };
        let has_more = tasks.len() > size as usize;
        tasks.truncate(size as usize);
        let last = tasks.last().filter(|_| has_more).map(|(place, _)| token(place));
        let tasks = tasks.into_iter().map(|(_, task)| task).collect();
        Ok(ListTasksResponse { tasks, next_page_token: last.unwrap_or_default() })
    }
}

fn matches(request: &ListTasksRequest, record: &TaskRecord) -> bool {
    let ListTasksRequest { environment, states, agent, endpoint, name, .. } = request;
    let is_wanted =
        |wanted: &str, found: &dyn Fn(Side) -> bool| wanted.is_empty() || Side::BOTH.into_iter().any(found);
    (environment.is_empty() || *environment == record.spec.environment)
        && (states.is_empty() || states.contains(&record.state.shown().into()))
        && (name.is_empty() || glob::overlap(name, &record.spec.name))
        && is_wanted(agent, &|side| record.agent(side) == agent)
        && is_wanted(endpoint, &|side| record.endpoint(side).is_some_and(|it| it.endpoint == *endpoint))
}

fn brief(mut task: v1::Task) -> v1::Task {
    if let Some(copy) = task.progress.as_mut().and_then(|progress| progress.copy.as_mut()) {
        copy.tables.clear();
    }
    task
}

fn place_of(record: &TaskRecord) -> Place {
    (record.created_at_us, record.task_id.clone())
}

fn token((created_at_us, task_id): &Place) -> String {
    format!("{created_at_us}.{task_id}")
}

fn place(token: &str) -> Result<Option<Place>, RequestError> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts = token.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
    parts
        .map(Some)
        .ok_or_else(|| RequestError::invalid("page_token", "is none that a list has answered with"))
}
