//! An idle database holds back no log: its slot moves while others on the same server write.

use anyhow::{Result, ensure};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::version::PgVersion::{self, V12, V15};
use strait_tests::wait::{eventually, patience};

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_of_an_idle_database_follows_the_server() -> Result<()> {
    slot_follows(&Pair::own().await?).await
}

/// There an update of a table stands in for the logical message.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_of_an_idle_old_database_follows_as_well() -> Result<()> {
    match Pair::of_versions(V12, PgVersion::installed().unwrap_or(V15)).await? {
        Some(pair) => slot_follows(&pair).await,
        None => Ok(()),
    }
}

async fn slot_follows(pair: &Pair) -> Result<()> {
    let mut scenario = Scenario::on(pair, "idle").await?;
    let busy = Database::create(&pair.source, "busy").await?;
    busy.run("CREATE TABLE noise (v text)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    for _ in 0..3 {
        busy.run("INSERT INTO noise SELECT repeat('n', 500) FROM generate_series(1, 20000)").await?;
        let position = busy.wal_position().await?;
        // The restart position needs the server's own snapshots of running transactions; a checkpoint logs one.
        busy.run("CHECKPOINT").await?;
        eventually("the slot has passed the other database's log", patience(), async || {
            let passed = format!(
                "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'dts_sync_{}'
                 AND confirmed_flush_lsn - '0/0' >= {position} AND restart_lsn - '0/0' >= {position} - 1000000",
                scenario.task_id()
            );
            Ok((scenario.source.number(&passed).await? == 1).then_some(()))
        })
        .await?;
    }
    ensure!(scenario.destination.number("SELECT count(*) FROM fence").await? > 0);
    scenario.finish().await
}

/// What the slot has confirmed is durable at the destination, at any time: the slot may never be ahead.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_never_passes_the_durable_checkpoint() -> Result<()> {
    let mut scenario = Scenario::new("never_ahead").await?;
    scenario.source.run("CREATE TABLE t (a int)").await?;
    scenario.start().await?;
    let writer = scenario.source.connect().await?;
    for round in 0..100 {
        writer.batch_execute(&format!("INSERT INTO t VALUES ({round})")).await?;
        let slot = format!(
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'dts_sync_{}'",
            scenario.task_id()
        );
        let confirmed = scenario.source.number(&slot).await?;
        // Read afterwards: the checkpoint only grows.
        let durable =
            scenario.destination.number("SELECT applied_lsn - '0/0' FROM strait.checkpoint").await?;
        ensure!(confirmed <= durable, "the slot confirmed {confirmed}, the checkpoint holds {durable}");
    }
    scenario.assert_equal().await?;
    scenario.finish().await
}
