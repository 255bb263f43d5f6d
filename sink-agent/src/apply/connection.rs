//! A connection that writes rows: its settings, and statements that are prepared once.

use hashbrown::HashMap;
use strait_postgres::{Client, ConnectionUri};
use strait_proto::TaskId;
use tokio_postgres::Statement;

use crate::error::{Context as _, Error};
use crate::store;

/// Prepared statements that are kept; beyond it all are forgotten and prepared again.
const STATEMENTS_MAX: usize = 1_000;

/// Rows are found through an index, by values from arrays of any length. Plans that are made once and hold
/// for ever need no statistics for that, and would be wrong where a table was small or empty when they were
/// made: so nothing but index lookups is offered. A statement that compares texts turns hash joins on for
/// itself.
const PLANNER_SQL: &str =
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
SET enable_mergejoin = off; SET jit = off";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A connection for COPY or for changes.
pub(crate) struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Foreign keys and ordinary triggers do not fire.
    pub(crate) replica_role: bool,
}

impl Connection {
    /// Connects for a task.
    pub(crate) async fn open(uri: &ConnectionUri, task_id: &TaskId) -> Result<Self, Error> {
        let client = store::connect(uri, task_id).await?;
        let replica_role = set_replica_role(&client).await?;
        Ok(Self { client, statements: HashMap::new(), replica_role })
    }

    /// The same for a connection that applies changes.
    pub(crate) async fn open_for_changes(uri: &ConnectionUri, task_id: &TaskId) -> Result<Self, Error> {
        let connection = Self::open(uri, task_id).await?;
        connection.client.batch_execute(PLANNER_SQL).await.context("set up the connection for changes")?;
        Ok(connection)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Prepares a statement, or finds it prepared.
    pub(crate) async fn prepare(&mut self, text: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// For the session, not for each transaction: every change of the role throws all plans away.
async fn set_replica_role(client: &Client) -> Result<bool, Error> {
    let set = client.batch_execute("SET session_replication_role = replica").await;
    match set.context("set session_replication_role") {
        Ok(()) => Ok(true),
        Err(error) if error.sqlstate() == Some(INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(error),
    }
}
