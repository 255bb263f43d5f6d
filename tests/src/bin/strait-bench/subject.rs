//! What is measured: a replication between two fresh databases that can be held and let go.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use strait_proto::v1::TaskState;
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::processes::{Part, Processes};
use strait_tests::scenario::Scenario;
use strait_tests::server::Server;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience};

/// Whose replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// PostgreSQL's publication and subscription, as they come.
    NativeText,
    /// Values in binary.
    NativeBinary,
    /// Binary, and large transactions are sent before they commit.
    NativeStreaming,
    /// The same, applied by parallel workers.
    NativeParallel,
    /// Strait's three processes.
    Strait,
}

impl Kind {
    /// In the order in which they are shown.
    pub(crate) const ALL: [Self; 5] =
        [Self::NativeText, Self::NativeBinary, Self::NativeStreaming, Self::NativeParallel, Self::Strait];

    /// For options and reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NativeText => "native-text",
            Self::NativeBinary => "native-binary",
            Self::NativeStreaming => "native-streaming",
            Self::NativeParallel => "native-parallel",
            Self::Strait => "strait",
        }
    }

    /// Whether the two servers have what it takes.
    pub(crate) fn exists_on(self, pair: &Pair) -> bool {
        let oldest = pair.source.version().min(pair.destination.version());
        match self {
            Self::NativeText | Self::Strait => true,
            Self::NativeBinary | Self::NativeStreaming => oldest >= PgVersion::V14,
            Self::NativeParallel => oldest >= PgVersion::V16,
        }
    }

    /// The subscription's options. All that matter are said: their defaults differ between versions.
    const fn subscription_options(self) -> Option<&'static str> {
        match self {
            Self::NativeText => Some("binary = off, streaming = off"),
            Self::NativeBinary => Some("binary = on, streaming = off"),
            Self::NativeStreaming => Some("binary = on, streaming = on"),
            Self::NativeParallel => Some("binary = on, streaming = parallel"),
            Self::Strait => None,
        }
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|kind| kind.name() == text) {
            Some(kind) => Ok(kind),
            None => bail!("{text:?} is none of {:?}", Self::ALL.map(Self::name)),
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

impl Subject {
    /// Makes the tables, fills them at the source and replicates them; returns once only later changes are left to carry.
    pub(crate) async fn start(pair: &Pair, kind: Kind, tables: &str, fill: &str) -> Result<Self> {
        let tables = format!("CREATE SCHEMA bench; {tables}");
        let subject = match kind.subscription_options() {
            Some(options) => Self::start_native(pair, options, &tables, fill).await?,
            None => Self::start_strait(pair, &tables, fill).await?,
        };
        // Autovacuum is off: its moment would be chance.
        tokio::try_join!(
            subject.source().run("VACUUM ANALYZE"),
            subject.destination().run("VACUUM ANALYZE")
        )?;
        Ok(subject)
    }

    async fn start_native(pair: &Pair, options: &str, tables: &str, fill: &str) -> Result<Self> {
        let source = Database::create(&pair.source, "bench").await?;
        let destination = Database::create(&pair.destination, "bench").await?;
        source.run_each(&[tables, fill, "CREATE PUBLICATION bench FOR ALL TABLES"]).await?;
        destination.run(tables).await?;
        let (port, name) = (pair.source.port(), source.name());
        let connection = format!("host=127.0.0.1 port={port} user=postgres dbname={name}");
        destination
            .run(&format!(
                "CREATE SUBSCRIPTION bench CONNECTION '{connection}' PUBLICATION bench WITH (slot_name = {name}, {options})"
            ))
            .await?;
        let copying = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
        eventually("the subscription is ready", patience(), async || {
            Ok((destination.number(copying).await? == 0).then_some(()))
        })
        .await?;
        Ok(Self::Native { source, destination })
    }

    async fn start_strait(pair: &Pair, tables: &str, fill: &str) -> Result<Self> {
        let mut scenario = Scenario::on(pair, "bench").await?;
        scenario.source.run_each(&[tables, fill]).await?;
        scenario.start_processes().await?;
        Ok(Self::Strait(Box::new(scenario)))
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

    /// The processes beside the servers, where there are any.
    pub(crate) fn processes(&mut self) -> Result<Option<&mut Processes>> {
        match self {
            Self::Native { .. } => Ok(None),
            Self::Strait(scenario) => scenario.processes().map(Some),
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

    /// Lets it go. What follows is what is measured: nothing is waited for.
    pub(crate) async fn release(&self) -> Result<()> {
        match self {
            Self::Native { destination, .. } => destination.run("ALTER SUBSCRIPTION bench ENABLE").await,
            Self::Strait(scenario) => Ok(scenario.tasks.resume(scenario.task_id()).await.map(drop)?),
        }
    }

    /// Fails where the replication has given up.
    pub(crate) async fn assert_alive(&mut self) -> Result<()> {
        let Self::Strait(scenario) = self else { return Ok(()) };
        scenario.processes()?.assert_running()?;
        let state = scenario.task().await?.state();
        let alive = ensure_alive(state);
        scenario.explain(alive).await
    }

    /// Ends the replication and removes the databases.
    pub(crate) async fn finish(self) -> Result<()> {
        match self {
            Self::Native { source, destination } => {
                // Disabled, it leaves at once; its slot goes with it.
                destination
                    .run_each(&["ALTER SUBSCRIPTION bench DISABLE", "DROP SUBSCRIPTION bench"])
                    .await?;
                destination.remove().await;
                source.remove().await;
            }
            Self::Strait(scenario) => {
                let databases = [&scenario.source, &scenario.destination]
                    .map(|database| (Arc::clone(database.server()), database.name().to_owned()));
                scenario.finish().await?;
                for (server, name) in databases {
                    remove(&server, &name).await?;
                }
            }
        }
        Ok(())
    }
}

/// The agents, whose memory and CPU time are measured.
pub(crate) const AGENTS: [Part; 2] = [Part::SourceAgent, Part::SinkAgent];

fn ensure_alive(state: TaskState) -> Result<()> {
    ensure!(state != TaskState::Failed, "the task has failed");
    Ok(())
}

async fn remove(server: &Arc<Server>, name: &str) -> Result<()> {
    let maintenance = server.connect("postgres").await?;
    Ok(maintenance.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?)
}
