//! A schema of many tables without rows: Strait's whole task beside `pg_dump --schema-only | psql`.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use strait_proto::v1::TaskState;
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::version::client_program;
use strait_tests::wait::patience;
use tokio::process::Command;

/// With keys, indexes, defaults and a foreign key each.
const TABLES: f64 = 5000.0;

/// One round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Synchronised {
    /// How many tables there are.
    pub(crate) tables: u64,
    /// `pg_dump --schema-only | psql`.
    pub(crate) dump_seconds: f64,
    /// Strait's prechecks.
    pub(crate) precheck_seconds: f64,
    /// From the start to the copy: catalogs are read, and all that stands before rows is created.
    pub(crate) schema_seconds: f64,
    /// From the start to the end of the task: keys and indexes are there too, and every table was copied and is followed.
    pub(crate) task_seconds: f64,
}

/// Measures both, in fresh databases.
pub(crate) async fn measure(pair: &Pair, scale: f64) -> Result<Synchronised> {
    let tables = (TABLES * scale).round().max(1.0) as u64;
    let mut scenario = Scenario::on(pair, "bench").await?;
    create(&scenario.source, tables).await?;
    let dump_seconds = dump(pair, &scenario.source).await?;

    let spec = scenario.spec();
    scenario.create_with_processes(spec).await?;
    let begun = Instant::now();
    scenario.tasks.precheck(scenario.task_id()).await?;
    let prechecked = scenario.wait_for(TaskState::Ready).await;
    scenario.explain(prechecked).await?;
    let precheck_seconds = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    scenario.tasks.start(scenario.task_id(), true).await?;
    let past =
        |task: &strait_proto::v1::Task| matches!(task.state(), TaskState::FullSync | TaskState::Finished);
    let deadline = patience() * 10;
    scenario.tasks.wait_until(scenario.task_id(), "the schema stands", deadline, past).await?;
    let schema_seconds = begun.elapsed().as_secs_f64();
    scenario.tasks.wait_for(scenario.task_id(), TaskState::Finished, deadline).await?;
    let task_seconds = begun.elapsed().as_secs_f64();

    let count = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'bench'";
    let (wanted, found) = (scenario.source.number(count).await?, scenario.destination.number(count).await?);
    ensure!(wanted == found, "{found} indexes instead of {wanted}");
    scenario.finish().await?;
    Ok(Synchronised { tables, dump_seconds, precheck_seconds, schema_seconds, task_seconds })
}

async fn create(source: &Database, tables: u64) -> Result<()> {
    // One transaction would need a lock for each of them.
    const AT_ONCE: u64 = 200;
    source.run("CREATE SCHEMA bench").await?;
    for first in (0..tables).step_by(usize::try_from(AT_ONCE)?) {
        let last = tables.min(first + AT_ONCE) - 1;
        source
            .run(&format!(
                "DO $$ BEGIN FOR n IN {first}..{last} LOOP EXECUTE format(
                   'CREATE TABLE bench.t%1$s (id bigserial PRIMARY KEY, parent bigint, code text NOT NULL DEFAULT ''none'',
                        amount numeric(12, 2) CHECK (amount >= 0), at timestamptz DEFAULT now(), UNIQUE (code, at));
                    CREATE INDEX ON bench.t%1$s (parent)', n); END LOOP; END $$"
            ))
            .await?;
    }
    Ok(())
}

async fn dump(pair: &Pair, source: &Database) -> Result<f64> {
    let destination = Database::create(&pair.destination, "dumped").await?;
    let (pg_dump, psql) = (client_program("pg_dump")?, client_program("psql")?);
    let begun = Instant::now();
    let mut shell = Command::new("sh");
    let pipe = "\"$0\" --schema-only \"$2\" | \"$1\" --no-psqlrc --quiet --output /dev/null \"$3\"";
    shell.args(["-c", pipe]).args([&pg_dump, &psql]).args([source.uri(), destination.uri()]);
    let status = shell.stdin(Stdio::null()).status().await.context("run pg_dump and psql")?;
    ensure!(status.success(), "pg_dump | psql ended with {status}");
    let seconds = begun.elapsed().as_secs_f64();
    destination.remove().await;
    Ok(seconds)
}
