//! One huge transaction passes in constant memory.
//!
//! `STRAIT_TEST_ROWS` says how many rows it has (300,000; `make soak` 5,000,000).

use std::time::Duration;

use anyhow::{Result, ensure};
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::wait::{from_environment, patience};

const MEMORY_BYTES_MAX: u64 = 300 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_transaction_passes_in_constant_memory() -> Result<()> {
    let rows = from_environment("STRAIT_TEST_ROWS", 300_000);
    let deadline = patience() + Duration::from_micros(rows * 1000);
    let mut scenario = Scenario::new("large").await?;
    scenario
        .source
        .run("CREATE TABLE large (id int PRIMARY KEY, n int, v text); CREATE TABLE keyless (n int, v text)")
        .await?;
    scenario.start_processes().await?;
    let sql = format!(
        "BEGIN;
         INSERT INTO large SELECT g, g, repeat(md5(g::text), 6) FROM generate_series(1, {rows}) g;
         INSERT INTO keyless SELECT g % 100, 'v' FROM generate_series(1, {rows} / 10) g;
         UPDATE large SET n = -n WHERE id % 2 = 0;
         SAVEPOINT s; DELETE FROM large; ROLLBACK TO s;
         DELETE FROM large WHERE id % 4 = 0;
         UPDATE large SET id = -id WHERE id % 5 = 0;
         COMMIT"
    );
    scenario.source.run(&sql).await?;
    scenario.settle_within(deadline).await?;
    scenario.assert_equal().await?;
    ensure!(scenario.streamed().await? > 0, "the transaction has not passed through the spool");
    for part in [Part::SourceAgent, Part::SinkAgent, Part::Coordinator] {
        let peak = scenario.processes()?.memory_peak(part)?;
        eprintln!("{part:?}: memory peak {} MiB", peak >> 20);
        ensure!(peak < MEMORY_BYTES_MAX, "{part:?} has held {} MiB", peak >> 20);
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_many_megabytes_pass() -> Result<()> {
    let mut scenario = Scenario::new("wide").await?;
    scenario.source.run("CREATE TABLE wide (id int PRIMARY KEY, n int, v text, b bytea)").await?;
    let fill = |from: u32| {
        format!(
            "INSERT INTO wide SELECT g, 0, repeat('wide', 5000000), decode(repeat('00ff', 2000000), 'hex') FROM generate_series({from}, {from} + 2) g"
        )
    };
    scenario.source.run(&fill(1)).await?;
    scenario.start_processes().await?;
    scenario.source.run(&fill(11)).await?;
    scenario.source.run("UPDATE wide SET n = 1; UPDATE wide SET v = v || 'x' WHERE id % 2 = 0").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
