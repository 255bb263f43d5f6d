//! The source's primary is lost and a standby is promoted: the task goes on along the new timeline if nothing is missing
//! there, and otherwise stops and says exactly what is.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::TaskState;
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::server::Server;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience};
use strait_tests::workload::Workload;

/// A primary that waits for its standby before it sends changes, or does not, and a destination.
async fn pair(waits_for_standby: bool) -> Result<Option<Pair>> {
    let version = PgVersion::V17;
    let Some(pair) = Pair::of_versions(version, version).await? else { return Ok(None) };
    if waits_for_standby {
        let primary = pair.source.connect("postgres").await?;
        primary.batch_execute("ALTER SYSTEM SET synchronized_standby_slots = 'standby'").await?;
    }
    Ok(Some(pair))
}

/// Both servers, whichever is the primary.
fn either(database: &Database, standby: &Server) -> String {
    let (first, second) = (database.server().port(), standby.port());
    let name = database.name();
    format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/{name}?target_session_attrs=read-write")
}

/// Waits until the standby could take the task over.
async fn slot_is_copied(scenario: &Scenario, standby: &Server) -> Result<()> {
    let copied = format!(
        "SELECT FROM pg_replication_slots WHERE slot_name = 'dts_sync_{}' AND synced AND NOT temporary",
        scenario.task_id()
    );
    eventually("the standby has a copy of the slot", patience(), async || {
        // It is copied once the primary's has moved on: an idle database moves it too.
        scenario.settle().await?;
        Ok(standby.connect("postgres").await?.query_opt(&copied, &[]).await?.map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_is_followed_and_nothing_is_lost() -> Result<()> {
    let Some(pair) = pair(true).await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "failover").await?;
    Workload::prepare(&scenario.source).await?;
    let standby = pair.source.standby(&[]).await?;
    scenario.layout().source_uri = either(&scenario.source, &standby);
    scenario.start_processes().await?;
    slot_is_copied(&scenario, &standby).await?;

    let workload = Workload::start(&scenario.source, 3, 150);
    let wanted = workload.committed() + 100;
    eventually("the load runs", patience(), async || Ok((workload.committed() > wanted).then_some(())))
        .await?;
    pair.source.kill().await?;
    standby.promote().await?;
    workload.stop().await?;

    let promoted = scenario.source.on(&standby);
    let old = std::mem::replace(&mut scenario.source, promoted);
    let workload = Workload::start(&scenario.source, 3, 150);
    // It has inherited the setting, and nobody follows it: the task says why nothing comes.
    eventually("the task says what the source waits for", patience(), async || {
        let events = scenario.tasks.events(scenario.task_id()).await?;
        Ok(events
            .iter()
            .any(|event| event.contains("take the slot out of synchronized_standby_slots"))
            .then_some(()))
    })
    .await?;
    scenario.source.run("ALTER SYSTEM RESET synchronized_standby_slots").await?;
    scenario.source.run("SELECT pg_reload_conf()").await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.settle().await?;
    workload.stop().await?;
    scenario.assert_equal().await?;

    // The old primary comes back, which the endpoint names first: it is never followed again.
    old.server().start_again().await?;
    old.run("INSERT INTO load.keyless VALUES (-1, 'of an abandoned history', NULL)").await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    let task = scenario.wait_for(TaskState::Retrying).await?;
    let failure = task.failure.context("a retrying task says why")?;
    ensure!(!failure.definite && failure.cause.contains("was the primary before"), "{failure:?}");
    old.server().kill().await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_what_the_destination_has_stops_the_task() -> Result<()> {
    let Some(pair) = pair(false).await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "failover_gap").await?;
    scenario.source.run("CREATE TABLE t (a int)").await?;
    let standby = pair.source.standby(&[]).await?;
    scenario.layout().source_uri = either(&scenario.source, &standby);
    scenario.start().await?;
    slot_is_copied(&scenario, &standby).await?;

    // It falls behind, and the destination does not wait for it.
    let cut = standby.connect("postgres").await?;
    cut.batch_execute("ALTER SYSTEM SET primary_conninfo = ''").await?;
    cut.batch_execute("SELECT pg_reload_conf()").await?;
    eventually("the standby is cut off", patience(), async || {
        Ok(cut.query_opt("SELECT FROM pg_stat_wal_receiver", &[]).await?.is_none().then_some(()))
    })
    .await?;
    scenario.source.run("INSERT INTO t VALUES (1)").await?;
    scenario.assert_equal().await?;
    pair.source.kill().await?;
    standby.promote().await?;

    let task = scenario.tasks.wait_for(scenario.task_id(), TaskState::Failed, patience()).await?;
    let failure = task.failure.context("a failed task says why")?;
    ensure!(
        failure.definite
            && failure.cause.contains("is at the destination and not at the source")
            && failure.remedy.contains("synchronized_standby_slots"),
        "{failure:?}"
    );
    scenario.source = scenario.source.on(&standby);
    scenario.finish().await
}
