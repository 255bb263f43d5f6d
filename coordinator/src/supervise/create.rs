//! Creating tasks, once each however often it is asked for.

use std::sync::Arc;

use strait_proto::v1::{self, CreateTaskRequest, TaskSpec};
use strait_proto::{Epoch, TaskId};

use super::{Found, Supervisor, TASKS_MAX, TaskView, to_task};
use crate::clock::now_us;
use crate::error::RequestError;
use crate::store::LoadedTask;
use crate::task::spec::{Difference, differences};
use crate::task::{State, TaskRecord, name};

/// The longest client token, in bytes.
const TOKEN_BYTES_MAX: usize = 128;

/// What is known of a task that may be the one asked for.
struct Existing {
    record: TaskRecord,
    task: v1::Task,
}

impl Supervisor {
    /// Stores a new task, or finds the one that an earlier call of this kind made.
    pub(crate) async fn create(
        self: &Arc<Self>,
        request: CreateTaskRequest,
    ) -> Result<v1::Task, RequestError> {
        let CreateTaskRequest { spec, client_token, task_id, validate_only } = request;
        let spec = spec.ok_or_else(|| RequestError::invalid("spec", "is required"))?;
        let spec = self.checked(spec)?;
        let given_id = parse_id(&task_id)?;
        if client_token.len() > TOKEN_BYTES_MAX {
            return Err(RequestError::invalid(
                "client_token",
                format!("is longer than {TOKEN_BYTES_MAX} bytes"),
            ));
        }

        let _creating = self.creating.lock().await;
        let by_token = self.by_token(&client_token).await?;
        if let Some(existing) = by_token.filter(|existing| !existing.is_replaced_by(given_id.as_ref())) {
            let what = format!("client_token {client_token:?} made task {}", existing.record.task_id);
            return existing.if_same(&spec, given_id.as_ref(), what);
        }
        let by_id = match &given_id {
            Some(task_id) => self.existing(task_id).await?,
            None => None,
        };
        let (epoch, assigned) = match (by_id, &given_id) {
            (Some(existing), _) if existing.record.state == State::Released => (existing.record.epoch, false),
            (Some(existing), _) => {
                let what = format!("task {} exists", existing.record.task_id);
                return existing.if_same(&spec, None, what);
            }
            // A store that was lost since may have known this id: the databases may hold what it made, and its epochs.
            (None, Some(_)) => (epoch_after_loss(), true),
            (None, None) => (Epoch::default(), false),
        };
        let task_id = match given_id {
            Some(task_id) => task_id,
            None => self.fresh_id().await?,
        };
        let record = TaskRecord { assigned, ..new_record(task_id, spec, client_token, epoch) };
        if validate_only {
            return Ok(record.to_task(Vec::new()));
        }
        self.insert(record).await
    }

    /// The task that would be made, under an id that nobody keeps.
    pub(super) fn described(&self, spec: Option<TaskSpec>) -> Result<TaskRecord, RequestError> {
        let spec = spec.ok_or_else(|| RequestError::invalid("spec", "is required"))?;
        let spec = self.checked(spec)?;
        Ok(new_record(TaskId::from_entropy(&rand::random()), spec, String::new(), Epoch::default()))
    }

    async fn insert(self: &Arc<Self>, record: TaskRecord) -> Result<v1::Task, RequestError> {
        let live = self.views().iter().filter(|view| view.record.state != State::Released).count();
        if live >= TASKS_MAX {
            return Err(RequestError::TooMany { what: "tasks", limit: TASKS_MAX });
        }
        let last_event_id =
            self.store.insert_task(&record, format!("created as {}", record.spec.name)).await?;
        let handle = self.spawn(LoadedTask { record, objects: Vec::new(), last_event_id }, false);
        Ok(handle.latest().task())
    }

    async fn by_token(&self, client_token: &str) -> Result<Option<Existing>, RequestError> {
        let Some(record) = self.store.find_by_token(client_token).await? else {
            return Ok(None);
        };
        self.existing(&record.task_id).await
    }

    async fn existing(&self, task_id: &TaskId) -> Result<Option<Existing>, RequestError> {
        Ok(self.find_id(task_id).await?.map(|found| match found {
            Found::Live(handle) => {
                let view: TaskView = handle.latest();
                Existing { record: TaskRecord::clone(&view.record), task: view.task() }
            }
            Found::Released(released) => Existing { task: to_task(&released), record: released.record },
        }))
    }

    async fn fresh_id(&self) -> Result<TaskId, RequestError> {
        loop {
            let task_id = TaskId::from_entropy(&rand::random());
            if self.find_id(&task_id).await?.is_none() {
                return Ok(task_id);
            }
        }
    }
}

impl Existing {
    /// Whoever names the id of a released task wants it anew.
    fn is_replaced_by(&self, given_id: Option<&TaskId>) -> bool {
        self.record.state == State::Released && given_id == Some(&self.record.task_id)
    }

    /// The task, where it is the one that was asked for.
    fn if_same(
        self,
        given: &TaskSpec,
        given_id: Option<&TaskId>,
        what: String,
    ) -> Result<v1::Task, RequestError> {
        let mut given = given.clone();
        if given.name.is_empty() && self.record.name_generated {
            given.name.clone_from(&self.record.spec.name);
        }
        let mut differences = differences(&self.record.spec, &given);
        if let Some(task_id) = given_id.filter(|task_id| **task_id != self.record.task_id) {
            let (existing, given) = (self.record.task_id.to_string(), task_id.to_string());
            differences.insert(0, Difference { field: "task_id".to_owned(), existing, given });
        }
        if differences.is_empty() { Ok(self.task) } else { Err(RequestError::Exists { what, differences }) }
    }
}

fn parse_id(task_id: &str) -> Result<Option<TaskId>, RequestError> {
    if task_id.is_empty() {
        return Ok(None);
    }
    let parsed: Result<TaskId, _> = task_id.parse();
    parsed.map(Some).map_err(|error| RequestError::invalid("task_id", error.to_string()))
}

/// Past every epoch that a lost store can have given: no task is assigned once a second for long.
fn epoch_after_loss() -> Epoch {
    Epoch(now_us().unsigned_abs() / 1_000_000)
}

fn new_record(task_id: TaskId, mut spec: TaskSpec, client_token: String, epoch: Epoch) -> TaskRecord {
    let name_generated = spec.name.is_empty();
    if name_generated {
        spec.name = name::generate(&spec, &task_id);
    }
    let now_us = now_us();
    TaskRecord {
        task_id,
        spec,
        name_generated,
        client_token,
        state: State::Created,
        epoch,
        assigned: false,
        once: false,
        created_at_us: now_us,
        state_changed_at_us: now_us,
        precheck: Vec::new(),
        progress: None,
    }
}
