//! What is measured: a replication between two fresh databases that can be held and let go.

use anyhow::Result;
use strait_proto::v1::TaskState;
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

/// Whose replication.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// PostgreSQL's publication and subscription.
    Native,
    /// Strait's three processes.
    Strait,
}

impl Kind {
    /// For reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native subscription",
            Self::Strait => "strait",
        }
    }
}

/// A running replication of schema `bench`.
pub(crate) enum Subject {
    /// Subscription `bench`.
    Native {
        /// The publisher.
        source: Database,
        /// The subscriber.
        destination: Database,
    },
    /// A task.
    Strait(Box<Scenario>),
}

const TABLES: &str = "
    CREATE SCHEMA bench;
    CREATE TABLE bench.arrivals (id bigint PRIMARY KEY, payload text);
    CREATE TABLE bench.singles (id bigint PRIMARY KEY, n int, payload text);
    CREATE TABLE bench.bulk (id bigint PRIMARY KEY, n int, payload text)";

impl Subject {
    /// Makes the tables and starts to replicate them.
    pub(crate) async fn start(pair: &Pair, kind: Kind) -> Result<Self> {
        match kind {
            Kind::Native => {
                let source = Database::create(&pair.source, "bench_native").await?;
                let destination = Database::create(&pair.destination, "bench_native").await?;
                source.run(TABLES).await?;
                destination.run(TABLES).await?;
                source.run("CREATE PUBLICATION bench FOR ALL TABLES").await?;
                let port = pair.source.port();
                let connection = format!("host=127.0.0.1 port={port} user=postgres dbname={}", source.name());
                destination
                    .run(&format!(
                        "CREATE SUBSCRIPTION bench CONNECTION '{connection}' PUBLICATION bench WITH (binary)"
                    ))
                    .await?;
                let open = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
                eventually("the subscription is ready", patience(), async || {
                    Ok((destination.number(open).await? == 0).then_some(()))
                })
                .await?;
                Ok(Self::Native { source, destination })
            }
            Kind::Strait => {
                let mut scenario = Scenario::on(pair, "bench_strait").await?;
                scenario.source.run(TABLES).await?;
                scenario.start_processes().await?;
                Ok(Self::Strait(Box::new(scenario)))
            }
        }
    }

    /// The database that is written to.
    pub(crate) fn source(&self) -> &Database {
        match self {
            Self::Native { source, .. } => source,
            Self::Strait(scenario) => &scenario.source,
        }
    }

    /// The database in which it arrives.
    pub(crate) fn destination(&self) -> &Database {
        match self {
            Self::Native { destination, .. } => destination,
            Self::Strait(scenario) => &scenario.destination,
        }
    }

    /// Lets a backlog grow: returns once nothing reads the source any more.
    pub(crate) async fn hold(&self) -> Result<()> {
        match self {
            Self::Native { destination, .. } => destination.run("ALTER SUBSCRIPTION bench DISABLE").await?,
            Self::Strait(scenario) => scenario.tasks.pause(scenario.task_id()).await.map(drop)?,
        }
        let readers =
            "SELECT count(*) FROM pg_replication_slots WHERE active AND database = current_database()";
        eventually("the slot is at rest", patience(), async || {
            Ok((self.source().number(readers).await? == 0).then_some(()))
        })
        .await
    }

    /// Lets it go; returns once it runs again.
    pub(crate) async fn release(&self) -> Result<()> {
        match self {
            Self::Native { destination, .. } => destination.run("ALTER SUBSCRIPTION bench ENABLE").await,
            Self::Strait(scenario) => {
                scenario.tasks.resume(scenario.task_id()).await?;
                scenario.wait_for(TaskState::Incremental).await.map(drop)
            }
        }
    }

    /// Ends the replication.
    pub(crate) async fn finish(self) -> Result<()> {
        match self {
            Self::Native { destination, .. } => destination.run_each(&["DROP SUBSCRIPTION bench"]).await,
            Self::Strait(scenario) => scenario.finish().await,
        }
    }
}
