//! A connection that writes rows: its settings, and statements that are prepared once.

use hashbrown::{HashMap, HashSet};
use strait_postgres::{Client, ConnectionUri, Dialect};
use strait_proto::TaskId;
use tokio_postgres::Statement;

use super::staged::TemporaryTable;
use crate::error::{Context as _, Error};
use crate::store;

/// Prepared statements that are kept; beyond it all are forgotten and prepared again.
const STATEMENTS_MAX: usize = 1_000;

/// Temporary tables that a session keeps; beyond it all are dropped and made again.
const TEMPORARY_TABLES_MAX: usize = 200;

/// Rows are found through an index, by values from arrays of any length. Plans that are made once and hold
/// for ever need no statistics for that, and would be wrong where a table was small or empty when they were
/// made: so nothing but index lookups is offered. A statement that compares texts turns hash joins on for
/// itself.
const PLANNER_SQL: &str =
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
SET enable_mergejoin = off; SET jit = off";

const SET_ROLE: &str = "SET session_replication_role = replica";
/// In the family the setting reverts on the segments once they have been idle for a while, so each transaction has its own.
const SET_ROLE_LOCALLY: &str = "SET LOCAL session_replication_role = replica";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A connection for COPY or for changes.
pub(crate) struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    temporary: HashSet<String>,
    dialect: Dialect,
    /// Foreign keys and ordinary triggers do not fire.
    pub(crate) replica_role: bool,
}

impl Connection {
    /// Connects for a task.
    pub(crate) async fn open(uri: &ConnectionUri, task_id: &TaskId) -> Result<Self, Error> {
        let client = store::connect(uri, task_id).await?;
        let dialect = client.server().await.context("look at the destination")?.dialect;
        let replica_role = set_replica_role(&client, dialect).await?;
        let (statements, temporary) = (HashMap::new(), HashSet::new());
        Ok(Self { client, statements, temporary, dialect, replica_role })
    }

    /// The same for a connection that applies changes.
    pub(crate) async fn open_for_changes(uri: &ConnectionUri, task_id: &TaskId) -> Result<Self, Error> {
        let connection = Self::open(uri, task_id).await?;
        // In the family rows are joined with those of a stage, segment by segment.
        if connection.dialect == Dialect::PostgreSql {
            connection
                .client
                .batch_execute(PLANNER_SQL)
                .await
                .context("set up the connection for changes")?;
        }
        Ok(connection)
    }

    /// Begins a transaction that writes rows with `begin`.
    pub(crate) fn begin(&self, begin: &str) -> String {
        match self.dialect {
            Dialect::Greenplum if self.replica_role => format!("{begin}; {SET_ROLE_LOCALLY}"),
            Dialect::Greenplum | Dialect::PostgreSql => begin.to_owned(),
        }
    }

    /// Makes temporary tables, or empties them.
    pub(crate) async fn make(&mut self, tables: &[TemporaryTable]) -> Result<(), Error> {
        const DOING: &str = "make a temporary table";
        let known = tables.iter().all(|table| self.temporary.contains(&table.name));
        if !known && self.temporary.len() >= TEMPORARY_TABLES_MAX {
            let names: Vec<String> = self.temporary.drain().collect();
            let drop = format!("DROP TABLE IF EXISTS {}", names.join(", "));
            self.client.batch_execute(&drop).await.context("drop temporary tables")?;
        }
        for table in tables {
            self.client.batch_execute(&table.create()).await.context(DOING)?;
            self.temporary.insert(table.name.clone());
        }
        Ok(())
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

/// For the session, not for each transaction, where that holds: every change of the role throws all plans away.
async fn set_replica_role(client: &Client, dialect: Dialect) -> Result<bool, Error> {
    let set = match dialect {
        Dialect::PostgreSql => client.batch_execute(SET_ROLE).await,
        Dialect::Greenplum => {
            let set = client.batch_execute(&format!("BEGIN; {SET_ROLE_LOCALLY}")).await;
            client.batch_execute("ROLLBACK").await.context("try session_replication_role")?;
            set
        }
    };
    match set.context("set session_replication_role") {
        Ok(()) => Ok(true),
        Err(error) if error.sqlstate() == Some(INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(error),
    }
}
