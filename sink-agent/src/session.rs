//! Sessions of a task: from OpenTask until the next OpenTask, or until the assignment ends.
//!
//! At any time at most one session of a task is open here, and everything that its calls do ends with it.
//! That is for promptness: what keeps an older session from writing is the fence in the server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strait_postgres::{Client, ConnectionUri};
use strait_proto::{TaskId, v1};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply::connection::Connection;
use crate::error::Error;
use crate::store::{self, Claim};

/// Connections of either kind that wait for the next chunk, or the next table.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long the calls of an ended session may take to notice; they do nothing then but unwind.
const UNWIND_DEADLINE: Duration = Duration::from_secs(10);

/// An open session.
pub(crate) struct Session {
    task_id: TaskId,
    uri: ConnectionUri,
    claim: Mutex<Claim>,
    /// The model that was applied last, to look tables up.
    model: Mutex<Arc<v1::SchemaModel>>,
    idle: Mutex<Vec<Connection>>,
    idle_building: Mutex<Vec<Client>>,
    /// How many connections may make keys and indexes at once.
    builders: Semaphore,
    calls: TaskTracker,
    stop: CancellationToken,
    /// The change stream and its successor: a newer one ends an older one.
    stream: tokio::sync::Mutex<CancellationToken>,
    assignment_stop: CancellationToken,
}

impl Session {
    /// A session that holds `claim` until `assignment_stop`, and builds keys and indexes on so many connections at once.
    pub(crate) fn new(
        uri: ConnectionUri,
        claim: Claim,
        model: Option<v1::SchemaModel>,
        build_connections: usize,
        assignment_stop: CancellationToken,
    ) -> Self {
        Self {
            task_id: claim.task_id.clone(),
            uri,
            claim: Mutex::new(claim),
            model: Mutex::new(Arc::new(model.unwrap_or_default())),
            idle: Mutex::new(Vec::new()),
            idle_building: Mutex::new(Vec::new()),
            builders: Semaphore::new(build_connections.max(1)),
            calls: TaskTracker::new(),
            stop: assignment_stop.child_token(),
            stream: tokio::sync::Mutex::new(CancellationToken::new()),
            assignment_stop,
        }
    }

    pub(crate) fn task_id(&self) -> &TaskId {
        &self.task_id
    }

    pub(crate) fn uri(&self) -> &ConnectionUri {
        &self.uri
    }

    /// What the session holds the task by.
    pub(crate) fn claim(&self) -> Claim {
        lock(&self.claim).clone()
    }

    pub(crate) fn model(&self) -> Arc<v1::SchemaModel> {
        Arc::clone(&lock(&self.model))
    }

    pub(crate) fn set_model(&self, model: v1::SchemaModel) {
        *lock(&self.model) = Arc::new(model);
    }

    /// The table of the model that a call names.
    pub(crate) fn table(&self, table_id: u32) -> Result<v1::Table, Error> {
        let model = self.model();
        let table = model.tables.iter().find(|table| table.table_id == table_id);
        table.cloned().ok_or_else(|| Error::protocol(format!("table {table_id} is not in the schema model")))
    }

    /// A connection with the session's ordinary settings.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        store::connect(&self.uri, &self.task_id).await
    }

    /// A connection that writes rows: one that waits, or a new one.
    pub(crate) async fn writing_connection(&self) -> Result<Connection, Error> {
        let waiting = lock(&self.idle).pop();
        match waiting {
            Some(connection) if !connection.client().is_closed() => Ok(connection),
            _ => Connection::open(&self.uri, &self.task_id).await,
        }
    }

    /// Gives a connection back that has no transaction open.
    pub(crate) fn give_back(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_CONNECTIONS_MAX && !self.stop.is_cancelled() {
            idle.push(connection);
        }
    }

    /// Waits until one more connection may make keys and indexes.
    pub(crate) async fn permit_to_build(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it: there is always a permit to wait for.
        self.builders.acquire().await.ok()
    }

    /// A connection that makes objects, one that waits or a new one; see [`store::build`].
    pub(crate) async fn building_connection(&self) -> Result<Client, Error> {
        let waiting = lock(&self.idle_building).pop();
        if let Some(client) = waiting.filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let client = self.connect().await?;
        store::build(&client).await?;
        Ok(client)
    }

    /// Gives a connection that makes objects back; no transaction is open on it.
    pub(crate) fn give_back_building(&self, client: Client) {
        let mut idle = lock(&self.idle_building);
        if idle.len() < IDLE_CONNECTIONS_MAX && !self.stop.is_cancelled() {
            idle.push(client);
        }
    }

    /// Runs a call's work until it is done or the session ends.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let _call = self.calls.token();
        tokio::select! {
            result = work => result,
            () = self.stop.cancelled() => Err(self.why_ended()),
        }
    }

    /// Runs the change stream of the session; another one that still runs ends first.
    pub(crate) async fn run_stream<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let stop = self.stop.child_token();
        let previous = std::mem::replace(&mut *self.stream.lock().await, stop.clone());
        previous.cancel();
        self.run(async {
            tokio::select! {
                result = work => result,
                () = stop.cancelled() => Err(Error::Replaced),
            }
        })
        .await
    }

    /// Takes the task over from whatever the session had running in the server, for a change stream.
    pub(crate) async fn claim_again(&self, client: &Client, name: &str) -> Result<Claim, Error> {
        lock(&self.idle).clear();
        let epoch = self.claim().epoch;
        let claim = store::claim(client, &self.task_id, name, epoch).await?;
        *lock(&self.claim) = claim.clone();
        Ok(claim)
    }

    /// Ends the session and waits until none of its calls does anything any more.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        lock(&self.idle).clear();
        self.calls.close();
        strait_runtime::drain("the calls of a session", UNWIND_DEADLINE, self.calls.wait()).await;
    }

    fn why_ended(&self) -> Error {
        if self.assignment_stop.is_cancelled() { Error::Stopped } else { Error::Replaced }
    }
}

/// What is behind these locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
