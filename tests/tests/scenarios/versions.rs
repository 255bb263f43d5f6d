//! Pairs of different versions, the oldest with the newest in both directions.

use anyhow::{Context, Result, ensure};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::version::PgVersion::{self, V12, V18};
use strait_tests::wait::{eventually, patience};
use strait_tests::workload::Workload;

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_goes_to_the_newest() -> Result<()> {
    synchronise(V12, V18).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_goes_to_the_oldest() -> Result<()> {
    synchronise(V18, V12).await
}

/// The pairs of the soak run: all of them, or those that `STRAIT_TEST_PAIRS` names, as in `12-15,18-13`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make soak` runs it"]
async fn every_version_goes_to_every_version() -> Result<()> {
    for (source, destination) in pairs()? {
        eprintln!("PostgreSQL {source} to {destination}");
        synchronise(source, destination).await?;
    }
    Ok(())
}

fn pairs() -> Result<Vec<(PgVersion, PgVersion)>> {
    let Ok(chosen) = std::env::var("STRAIT_TEST_PAIRS") else {
        let from = |source| PgVersion::ALL.map(|destination| (source, destination));
        return Ok(PgVersion::ALL.into_iter().flat_map(from).collect());
    };
    let pair = |pair: &str| {
        let (source, destination) = pair.split_once('-').context("a pair is written 12-15")?;
        Ok((source.parse()?, destination.parse()?))
    };
    chosen.split(',').map(pair).collect()
}

/// A setting that older servers do not know, and would refuse at the startup, is pinned all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_stays() -> Result<()> {
    let pair = Pair::shared().await?;
    let database = Database::create(&pair.destination, "timeout").await?;
    let settings = format!("ALTER DATABASE {} SET idle_session_timeout = '1min'", database.name());
    database.run(&settings).await?;
    let session = strait_postgres::connect(&database.uri().parse()?, "strait-tests").await?;
    let row = session.query_one("SELECT current_setting('idle_session_timeout')", &[]).await?;
    ensure!(row.get::<_, String>(0) == "0");
    Ok(())
}

async fn synchronise(source: PgVersion, destination: PgVersion) -> Result<()> {
    let Some(pair) = Pair::of_versions(source, destination).await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "versions").await?;
    Workload::prepare(&scenario.source).await?;
    let workload = Workload::start(&scenario.source, 3, 150);
    scenario.start().await?;
    let begun = workload.committed();
    eventually("the load goes on", patience(), async || {
        Ok((workload.committed() > begun + 300).then_some(()))
    })
    .await?;
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.foreign_keys_arrived().await?;
    scenario.finish().await
}
