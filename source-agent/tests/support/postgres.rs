//! A server of the harness, spoken to in the tests' words.

use std::sync::Arc;

use strait_postgres::Client;
use strait_tests::server::{self, ServerOptions, StopMode};
use strait_tests::version::PgVersion;

/// A running server; gone when dropped.
pub(crate) struct Server(Arc<server::Server>);

impl Server {
    /// The source's version is the one that the harness tests with.
    pub(crate) async fn start() -> Self {
        let (version, _) = PgVersion::default_pair().unwrap();
        Self(server::Server::start(ServerOptions::new(version)).await.unwrap())
    }

    pub(crate) async fn restart(&self) {
        self.0.restart(StopMode::Fast).await.unwrap();
    }

    pub(crate) fn uri(&self, database: &str) -> String {
        self.0.uri(database)
    }

    pub(crate) async fn connect(&self, database: &str) -> Client {
        let client = strait_postgres::connect(&self.uri(database).parse().unwrap(), "test").await.unwrap();
        client.batch_execute("SET search_path = public").await.unwrap();
        client
    }

    /// A fresh database.
    pub(crate) async fn database(&self, name: &str, sql: &str) -> Client {
        let admin = self.connect("postgres").await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let client = self.connect(name).await;
        client.batch_execute(sql).await.unwrap();
        client
    }
}
