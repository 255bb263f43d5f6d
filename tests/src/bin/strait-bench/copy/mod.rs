//! A whole database copied: from the order until the destination holds equal tables with all their keys and indexes.
//!
//! The source is filled once a round; every way to copy it gets a fresh, empty destination.

mod load;
mod rivals;

use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use strait_proto::v1::TaskState;
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::usage::cpu_time_of_ended_children;
use strait_tests::wait::patience;
use tokio::process::Command;

pub(crate) use load::{Load, LoadKind};

use crate::meter::{Agents, Meter, Used};

/// How many connections each side has for those who use several: the default of the source-agent, and of pgcopydb.
const CONNECTIONS: u32 = 4;

/// A way to copy a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copier {
    /// `COPY TO | COPY FROM`, table after table, then the keys and indexes: no way that copies by rows does less.
    Pipe,
    /// `pg_dump | pg_restore`.
    DumpRestore,
    /// A subscription's initial synchronisation.
    Native,
    /// `pgcopydb clone`, as Debian packages it.
    Pgcopydb,
    /// A task of Strait's three processes, until its changes flow.
    Strait,
}

impl Copier {
    /// In the order in which they are shown.
    pub(crate) const ALL: [Self; 5] =
        [Self::Pipe, Self::DumpRestore, Self::Native, Self::Pgcopydb, Self::Strait];

    /// For options and reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::DumpRestore => "dump-restore",
            Self::Native => "native-sync",
            Self::Pgcopydb => "pgcopydb",
            Self::Strait => "strait",
        }
    }
}

impl FromStr for Copier {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|copier| copier.name() == text) {
            Some(copier) => Ok(copier),
            None => bail!("{text:?} is none of {:?}", Self::ALL.map(Self::name)),
        }
    }
}

/// One copy.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Copied {
    /// From the order until tables, keys and indexes stand.
    pub(crate) wall_seconds: f64,
    /// What was used meanwhile.
    #[serde(flatten)]
    pub(crate) used: Used,
    /// CPU seconds of the programs that were run for it, beside servers and agents.
    pub(crate) programs_cpu_seconds: f64,
}

impl Copied {
    /// What is used beside the servers: by the agents, or by the programs.
    pub(crate) fn others_cpu_seconds(&self) -> f64 {
        let of_both = |agents: &Agents| agents.source_agent_cpu_seconds + agents.sink_agent_cpu_seconds;
        self.programs_cpu_seconds + self.used.agents.as_ref().map_or(0.0, of_both)
    }

    /// The same for each hundred that both servers use.
    pub(crate) fn others_share_percent(&self) -> f64 {
        let servers = self.used.source_cpu_seconds + self.used.destination_cpu_seconds;
        100.0 * self.others_cpu_seconds() / servers
    }
}

/// Fills a source for a round.
pub(crate) async fn prepare(pair: &Pair, load: &Load) -> Result<Database> {
    let source = Database::create(&pair.source, "bench").await?;
    load.fill(&source).await.with_context(|| format!("fill {}", load.title))?;
    // Autovacuum is off; hint bits are set once, and not by whoever comes first.
    source.run("VACUUM ANALYZE").await?;
    Ok(source)
}

/// Copies `source` into a fresh database. None where the copier cannot be had.
pub(crate) async fn measure(
    pair: &Pair,
    copier: Copier,
    load: &Load,
    source: &Database,
) -> Result<Option<Copied>> {
    // Fetched before the clock runs; said where it cannot be had.
    if copier == Copier::Pgcopydb && rivals::pgcopydb().await?.is_none() {
        return Ok(None);
    }
    let destination = Database::create(&pair.destination, "bench").await?;
    for server in [&pair.source, &pair.destination] {
        server.connect("postgres").await?.batch_execute("CHECKPOINT").await?;
    }
    let copied = match copier {
        Copier::Strait => strait(pair, load, source, &destination).await?,
        rival => {
            let meter = Meter::start(pair, None)?;
            let programs = cpu_time_of_ended_children()?;
            let begun = Instant::now();
            rivals::copy(rival, load, source, &destination).await?;
            let wall_seconds = begun.elapsed().as_secs_f64();
            let programs = cpu_time_of_ended_children()?.saturating_sub(programs);
            let used = meter.stop(pair, None)?;
            rivals::clean_up(rival, source, &destination).await?;
            Copied { wall_seconds, used, programs_cpu_seconds: programs.as_secs_f64() }
        }
    };
    assert_equal(load, source, &destination).await?;
    destination.remove().await;
    Ok(Some(copied))
}

async fn strait(pair: &Pair, load: &Load, source: &Database, destination: &Database) -> Result<Copied> {
    let mut scenario = Scenario::between(source.again(), destination.again()).await?;
    let spec = scenario.spec();
    scenario.create_with_processes(spec).await?;
    let meter = Meter::start(pair, Some(scenario.processes()?))?;
    let begun = Instant::now();
    let task_id = scenario.task_id().to_owned();
    scenario.tasks.start(&task_id, false).await?;
    let deadline = patience().max(Duration::from_secs(1800));
    let arrived = scenario.tasks.wait_for(&task_id, TaskState::Incremental, deadline).await;
    scenario.explain(arrived).await?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    let used = meter.stop(pair, Some(scenario.processes()?))?;
    // Equal before the release, which leaves the rows alone.
    assert_equal(load, source, destination).await?;
    scenario.finish().await?;
    source.run("DROP TABLE public.fence").await?;
    Ok(Copied { wall_seconds, used, programs_cpu_seconds: 0.0 })
}

async fn assert_equal(load: &Load, source: &Database, destination: &Database) -> Result<()> {
    let indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'bench'";
    for sql in [load.state, indexes] {
        let (wanted, found) = (source.text(sql).await?, destination.text(sql).await?);
        ensure!(wanted == found, "{sql}\nthe source holds {wanted}, the destination {found}");
    }
    Ok(())
}

/// Runs a script of the shell; `$1` is the source, `$2` the destination.
async fn shell(script: &str, source: &Database, destination: &Database) -> Result<()> {
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", script, "bash"]).args([source.uri(), destination.uri()]);
    let output = shell.stdin(Stdio::null()).output().await.context("run bash")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}\nended with {}\n{errors}", output.status);
    Ok(())
}
