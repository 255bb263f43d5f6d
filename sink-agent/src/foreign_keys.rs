//! Foreign keys, added behind the change stream.
//!
//! They wait until every table stands at one source position. Adding one takes a moment, between two
//! transactions of the stream and without a look at the rows; validating reads the table, on a connection of
//! its own, while changes flow on: every committed state of the destination is one that the source had, so
//! what was valid there is valid here.

use std::collections::VecDeque;
use std::time::Duration;

use strait_postgres::{Client, ConnectionUri};
use strait_proto::{Lsn, TaskId, v1};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{Context as _, Error};
use crate::schema::{self, ForeignKey};
use crate::store::{self, BEGIN, ForeignKeyState, in_transaction, set_foreign_key_state};

/// How long adding one may wait for its locks while the stream waits for it.
const LOCK_TIMEOUT_MS: u32 = 3_000;
/// The pause before something that may pass is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Without this role the destination would enforce them while changes arrive out of order.
const NO_REPLICA_ROLE: &str = "the destination's user may not set session_replication_role, so that foreign keys would be enforced row by \
     row while changes are applied: GRANT SET ON PARAMETER session_replication_role TO the user (PostgreSQL 15 \
     and later), or use a superuser";

/// The foreign keys of a task that do not stand as they should yet.
pub(crate) struct ForeignKeys {
    task_id: TaskId,
    /// From here on every table stands at one position.
    begins_lsn: Lsn,
    /// They do.
    reached: bool,
    to_add: VecDeque<ForeignKey>,
    to_validate: VecDeque<ForeignKey>,
    validating: Option<Validation>,
    /// Results that were known from the start.
    known: Vec<v1::ObjectResult>,
    next_attempt: Instant,
}

/// The validation of one foreign key; aborted when dropped, so that it does not outlive the session.
struct Validation {
    key: ForeignKey,
    task: JoinHandle<Result<(), Error>>,
    /// True, or closed, once there is a result.
    finished: watch::Receiver<bool>,
}

impl Validation {
    fn start(uri: ConnectionUri, task_id: TaskId, key: ForeignKey) -> Self {
        let (finish, finished) = watch::channel(false);
        let validated = key.clone();
        let task = tokio::spawn(async move {
            let result = validate(uri, task_id, validated).await;
            // Nobody waits for it any more where nobody listens.
            let _ = finish.send(true);
            result
        });
        Self { key, task, finished }
    }

    fn is_finished(&self) -> bool {
        *self.finished.borrow() || self.finished.has_changed().is_err()
    }

    async fn finished(&self) {
        // An error means that the task is gone: finished as well.
        let _ = self.finished.clone().wait_for(|finished| *finished).await;
    }
}

impl Drop for Validation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ForeignKeys {
    /// Finds out which foreign keys of the model are left to do.
    pub(crate) async fn load(
        client: &Client,
        task_id: &TaskId,
        model: &v1::SchemaModel,
        begins_lsn: Lsn,
        replica_role: bool,
    ) -> Result<Self, Error> {
        let states = store::foreign_key_states(client, task_id).await?;
        let mut keys = Self {
            task_id: task_id.clone(),
            begins_lsn,
            reached: false,
            to_add: VecDeque::new(),
            to_validate: VecDeque::new(),
            validating: None,
            known: Vec::new(),
            next_attempt: Instant::now(),
        };
        for key in schema::foreign_keys(model) {
            match states.get(&name(&key)) {
                Some(ForeignKeyState::Done | ForeignKeyState::Failed) => {}
                Some(ForeignKeyState::Skipped) if !replica_role => {}
                _ if !replica_role => {
                    let skipped = ForeignKeyState::Skipped;
                    set_foreign_key_state(client, task_id, &name(&key), skipped, NO_REPLICA_ROLE).await?;
                    keys.known.push(key.result(v1::ObjectOutcome::Skipped, NO_REPLICA_ROLE, ""));
                }
                _ => keys.sort_in(client, key).await?,
            }
        }
        Ok(keys)
    }

    async fn sort_in(&mut self, client: &Client, key: ForeignKey) -> Result<(), Error> {
        let state = schema::foreign_key_state(client, &key).await.context("look for a foreign key")?;
        match (state, &key.validate_sql) {
            (schema::ForeignKeyState::Absent, _) => self.to_add.push_back(key),
            (schema::ForeignKeyState::Added, Some(_)) => self.to_validate.push_back(key),
            (schema::ForeignKeyState::Added | schema::ForeignKeyState::Validated, _) => {
                set_foreign_key_state(client, &self.task_id, &name(&key), ForeignKeyState::Done, "").await?;
            }
        }
        Ok(())
    }

    /// No foreign key waits any more.
    pub(crate) fn are_done(&self) -> bool {
        self.known.is_empty()
            && self.to_add.is_empty()
            && self.to_validate.is_empty()
            && self.validating.is_none()
    }

    /// Waits until a step may have something to do. Cancel-safe.
    pub(crate) async fn due(&self) {
        let waits = !self.to_add.is_empty() || (!self.to_validate.is_empty() && self.validating.is_none());
        let attempt = async {
            match self.reached && waits {
                true => tokio::time::sleep_until(self.next_attempt).await,
                false => std::future::pending().await,
            }
        };
        let validated = async {
            match &self.validating {
                Some(validation) => validation.finished().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = attempt => {}
            () = validated => {}
        }
    }

    /// Does one thing that can be done now, between two transactions of `client`; returns the results that it
    /// led to.
    pub(crate) async fn step(
        &mut self,
        client: &Client,
        uri: &ConnectionUri,
        durable_lsn: Lsn,
    ) -> Result<Vec<v1::ObjectResult>, Error> {
        let mut results = std::mem::take(&mut self.known);
        self.reached = durable_lsn >= self.begins_lsn;
        if self.validating.as_ref().is_some_and(Validation::is_finished) {
            results.extend(self.validated(client).await?);
        }
        if !self.reached || Instant::now() < self.next_attempt {
            return Ok(results);
        }
        if let Some(key) = self.to_add.pop_front() {
            results.extend(self.add(client, key).await?);
        }
        if self.validating.is_none()
            && let Some(key) = self.to_validate.pop_front()
        {
            self.validating = Some(Validation::start(uri.clone(), self.task_id.clone(), key));
        }
        Ok(results)
    }

    async fn add(&mut self, client: &Client, key: ForeignKey) -> Result<Option<v1::ObjectResult>, Error> {
        let begin = format!("{BEGIN}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}");
        let (task_id, key_name) = (&self.task_id, name(&key));
        let state = if key.validate_sql.is_some() { ForeignKeyState::Added } else { ForeignKeyState::Done };
        let added = in_transaction(client, &begin, async {
            client.batch_execute(&key.add_sql).await.context("add a foreign key")?;
            set_foreign_key_state(client, task_id, &key_name, state, "").await
        })
        .await;
        match added {
            Ok(()) if key.validate_sql.is_some() => {
                self.to_validate.push_back(key);
                Ok(None)
            }
            Ok(()) => Ok(Some(key.result(v1::ObjectOutcome::Created, "", ""))),
            Err(error) if client.is_closed() => Err(error),
            Err(error) if error.failure().definite => {
                self.failed(client, &key, &key.add_sql, &error).await.map(Some)
            }
            Err(error) => {
                tracing::info!(key = key_name.2, error = error.failure().cause, "add a foreign key later");
                self.to_add.push_front(key);
                self.next_attempt = Instant::now() + RETRY_INTERVAL;
                Ok(None)
            }
        }
    }

    async fn validated(&mut self, client: &Client) -> Result<Option<v1::ObjectResult>, Error> {
        let Some(mut validation) = self.validating.take() else { return Ok(None) };
        let key = validation.key.clone();
        let outcome = match (&mut validation.task).await {
            Ok(outcome) => outcome,
            Err(ended) => {
                Err(Error::NotNow(format!("validating a foreign key stopped unexpectedly: {ended}")))
            }
        };
        match outcome {
            Ok(()) => {
                set_foreign_key_state(client, &self.task_id, &name(&key), ForeignKeyState::Done, "").await?;
                Ok(Some(key.result(v1::ObjectOutcome::Created, "", "")))
            }
            Err(error) if error.failure().definite => {
                let statement = key.validate_sql.clone().unwrap_or_default();
                self.failed(client, &key, &statement, &error).await.map(Some)
            }
            Err(error) => {
                tracing::info!(key = key.name, error = error.failure().cause, "validate a foreign key later");
                self.to_validate.push_front(key);
                self.next_attempt = Instant::now() + RETRY_INTERVAL;
                Ok(None)
            }
        }
    }

    async fn failed(
        &self,
        client: &Client,
        key: &ForeignKey,
        statement: &str,
        error: &Error,
    ) -> Result<v1::ObjectResult, Error> {
        let cause = error.failure().cause;
        set_foreign_key_state(client, &self.task_id, &name(key), ForeignKeyState::Failed, &cause).await?;
        Ok(key.result(v1::ObjectOutcome::Failed, &cause, statement))
    }
}

async fn validate(uri: ConnectionUri, task_id: TaskId, key: ForeignKey) -> Result<(), Error> {
    let Some(validate_sql) = &key.validate_sql else { return Ok(()) };
    const DOING: &str = "validate a foreign key";
    let client = store::connect(&uri, &task_id).await?;
    client.batch_execute(validate_sql).await.context(DOING)
}

fn name(key: &ForeignKey) -> (String, String, String) {
    (key.table.schema.clone(), key.table.name.clone(), key.name.clone())
}
