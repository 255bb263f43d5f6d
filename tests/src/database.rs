//! One database of a test server, spoken to without any of the product's code.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::server::Server;
use crate::version::client_program;

/// A database and a session on it. The session comes back by itself after the server was away.
pub struct Database {
    server: Arc<Server>,
    name: String,
    session: Mutex<Option<Arc<Client>>>,
}

impl Database {
    /// Makes an empty database whose name begins with `stem`.
    pub async fn create(server: &Arc<Server>, stem: &str) -> Result<Self> {
        Self::create_with(server, stem, "").await
    }

    /// The same with more of `CREATE DATABASE`: an encoding, a template.
    pub async fn create_with(server: &Arc<Server>, stem: &str, options: &str) -> Result<Self> {
        let name = server.fresh_name(stem);
        let maintenance = server.connect("postgres").await?;
        maintenance
            .batch_execute(&format!("CREATE DATABASE {name} {options}"))
            .await
            .with_context(|| format!("create database {name}"))?;
        Ok(Self { server: Arc::clone(server), name, session: Mutex::new(None) })
    }

    /// The same database on a server that has a copy of it, such as a standby.
    pub fn on(&self, server: &Arc<Server>) -> Self {
        Self { server: Arc::clone(server), name: self.name.clone(), session: Mutex::new(None) }
    }

    /// The same database with a session of its own.
    #[must_use]
    pub fn again(&self) -> Self {
        self.on(&self.server)
    }

    /// The server that holds it.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URI, password included.
    pub fn uri(&self) -> String {
        self.server.uri(&self.name)
    }

    /// Another session.
    pub async fn connect(&self) -> Result<Client> {
        self.server.connect(&self.name).await
    }

    /// Runs statements in one go, as `psql -c` does: several are one transaction.
    pub async fn run(&self, sql: &str) -> Result<()> {
        self.session()
            .await?
            .batch_execute(sql)
            .await
            .with_context(|| format!("run on {}: {}", self.name, brief(sql)))
    }

    /// Runs each of the statements in a transaction of its own, or outside of one where it must be.
    pub async fn run_each(&self, statements: &[&str]) -> Result<()> {
        for sql in statements {
            self.run(sql).await?;
        }
        Ok(())
    }

    /// Runs a script with psql, whose own commands it may use.
    pub async fn run_script(&self, script: &Path) -> Result<()> {
        let mut psql = Command::new(client_program("psql")?);
        psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file"])
            .arg(script)
            .arg(self.uri());
        let output = psql.stdin(Stdio::null()).output().await.context("run psql")?;
        if !output.status.success() {
            bail!("psql --file {script:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// What a query answers, as `psql -At` prints it: `|` between columns, one line a row, nothing for NULL.
    pub async fn text(&self, sql: &str) -> Result<String> {
        Ok(self.rows(sql).await?.join("\n"))
    }

    /// The same, a string a row.
    pub async fn rows(&self, sql: &str) -> Result<Vec<String>> {
        let session = self.session().await?;
        let answer =
            session.simple_query(sql).await.with_context(|| format!("ask {}: {}", self.name, brief(sql)))?;
        let mut rows = Vec::new();
        for message in answer {
            if let SimpleQueryMessage::Row(row) = message {
                let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or_default()).collect();
                rows.push(values.join("|"));
            }
        }
        Ok(rows)
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        let text = self.text(sql).await?;
        text.parse().with_context(|| format!("{sql} answered {text:?}"))
    }

    /// Where the server's log stands now, as a number.
    pub async fn wal_position(&self) -> Result<u64> {
        Ok(u64::try_from(self.number("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").await?)?)
    }

    /// Removes the database. What still uses it keeps it, without complaint: the server goes away anyway.
    pub async fn remove(self) {
        let Ok(maintenance) = self.server.connect("postgres").await else { return };
        maintenance.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await.ok();
    }

    async fn session(&self) -> Result<Arc<Client>> {
        let mut session = self.session.lock().await;
        if let Some(client) = session.as_ref()
            && !client.is_closed()
        {
            return Ok(Arc::clone(client));
        }
        Ok(Arc::clone(session.insert(Arc::new(self.connect().await?))))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on PostgreSQL {}", self.name, self.server.version())
    }
}

fn brief(sql: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    sql.chars().take(CHARACTERS_MAX).collect()
}
