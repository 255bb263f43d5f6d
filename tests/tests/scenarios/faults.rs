//! Servers that restart, lines that break, passwords that change: the task goes on by itself, or says what it needs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{FailureKind, TaskState};
use strait_tests::pair::Pair;
use strait_tests::processes::Part;
use strait_tests::proxy::Proxy;
use strait_tests::scenario::Scenario;
use strait_tests::server::{ServerOptions, StopMode};
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience};
use strait_tests::workload::Workload;

#[tokio::test(flavor = "multi_thread")]
async fn either_server_restarts_and_crashes_under_load() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    // A destination whose commits do not wait for the disk must not be believed before it has written.
    let forgetful = ServerOptions::new(destination)
        .durable()
        .set("synchronous_commit", "off")
        .set("wal_writer_delay", "10s")
        .set("wal_writer_flush_after", "0");
    let pair = Pair::of(ServerOptions::new(source).durable(), forgetful).await?;
    let mut scenario = Scenario::on(&pair, "restarts").await?;
    Workload::prepare(&scenario.source).await?;
    scenario.start().await?;
    let workload = Workload::start(&scenario.source, 3, 150);
    for server in [&pair.source, &pair.destination] {
        for mode in [Some(StopMode::Fast), Some(StopMode::Immediate), None] {
            match mode {
                Some(mode) => server.restart(mode).await?,
                None => {
                    server.kill().await?;
                    server.start_again().await?;
                }
            }
            scenario.settle().await?;
        }
    }
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

/// A fast shutdown of the source waits until the walsender has sent and seen confirmed everything: it must not hang.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_shuts_down_promptly_while_it_is_replicated() -> Result<()> {
    let pair = Pair::own().await?;
    let mut scenario = Scenario::on(&pair, "shutdown").await?;
    scenario.source.run("CREATE TABLE t (i int)").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO t SELECT generate_series(1, 100000)").await?;
    let begun = std::time::Instant::now();
    pair.source.stop(StopMode::Fast).await?;
    ensure!(begun.elapsed() < Duration::from_secs(20), "the source took {:?} to shut down", begun.elapsed());
    pair.source.start_again().await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_flow_while_the_coordinator_is_away() -> Result<()> {
    let mut scenario = Scenario::new("no_coordinator").await?;
    scenario.source.run("CREATE TABLE t (a int, b text)").await?;
    scenario.start_processes().await?;
    scenario.settle().await?;
    let epoch = scenario.task().await?.epoch;
    scenario.processes()?.kill(Part::Coordinator).await?;
    for round in 0..5 {
        scenario.source.run(&format!("INSERT INTO t VALUES ({round}, 'without')")).await?;
        scenario.settle().await?;
    }
    scenario.processes()?.start_again(Part::Coordinator).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.tasks.agents_connected().await?;
    scenario.source.run("INSERT INTO t VALUES (6, 'with')").await?;
    scenario.assert_equal().await?;
    ensure!(scenario.task().await?.epoch == epoch, "a coordinator that came back disturbed what was running");
    scenario.finish().await
}

/// Every connection between two parts, one after the other: cut, frozen, refused.
#[tokio::test(flavor = "multi_thread")]
async fn any_connection_may_break() -> Result<()> {
    let mut scenario = Scenario::new("cuts").await?;
    Workload::prepare(&scenario.source).await?;
    let to = |port: u16| Proxy::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let (source_port, destination_port) =
        (scenario.source.server().port(), scenario.destination.server().port());
    let (coordinator_port, sink_port) = (scenario.layout().coordinator_port, scenario.layout().sink_port);
    let proxies = [
        ("source-agent to source", to(source_port).await?),
        ("sink-agent to destination", to(destination_port).await?),
        ("source-agent to sink-agent", to(sink_port).await?),
        ("source-agent to coordinator", to(coordinator_port).await?),
        ("sink-agent to coordinator", to(coordinator_port).await?),
    ];
    let source_uri = scenario.source.server().uri_through(proxies[0].1.port(), scenario.source.name());
    let destination_uri =
        scenario.destination.server().uri_through(proxies[1].1.port(), scenario.destination.name());
    let layout = scenario.layout();
    layout.source_uri = source_uri;
    layout.destination_uri = destination_uri;
    layout.source_to_sink = proxies[2].1.port();
    layout.source_to_coordinator = proxies[3].1.port();
    layout.sink_to_coordinator = proxies[4].1.port();
    scenario.start().await?;

    let workload = Workload::start(&scenario.source, 3, 150);
    for (name, proxy) in &proxies {
        let step = async || -> Result<()> {
            proxy.cut();
            scenario.settle().await?;
            proxy.pause();
            tokio::time::sleep(Duration::from_millis(500)).await;
            proxy.resume();
            scenario.settle().await?;
            proxy.pause();
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.cut();
            proxy.resume();
            scenario.settle().await?;
            proxy.refuse();
            tokio::time::sleep(Duration::from_millis(700)).await;
            proxy.resume();
            scenario.settle().await
        };
        step().await.with_context(|| format!("after {name} broke"))?;
    }
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_line_shows_as_retrying_with_its_cause() -> Result<()> {
    let mut scenario = Scenario::new("retrying").await?;
    let port = scenario.destination.server().port();
    let proxy = Proxy::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let uri = scenario.destination.server().uri_through(proxy.port(), scenario.destination.name());
    scenario.layout().destination_uri = uri;
    scenario.start().await?;
    scenario.settle().await?;
    proxy.refuse();
    scenario.source.run("INSERT INTO fence VALUES (-1)").await?;
    let task = scenario.wait_for(TaskState::Retrying).await?;
    ensure!(
        task.return_to() == TaskState::Incremental && task.retry_until_us > 0 && task.attempt > 0,
        "{task:?}"
    );
    let failure = task.failure.context("a retrying task says why")?;
    ensure!(
        failure.kind() == FailureKind::Connection && !failure.definite && !failure.cause.is_empty(),
        "{failure:?}"
    );
    proxy.resume();
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    ensure!(scenario.task().await?.failure.is_none(), "a task that runs again still shows its failure");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_survives_a_cut_line_without_starting_over() -> Result<()> {
    let mut scenario = Scenario::new("cut_copy").await?;
    scenario.source.run("CREATE TABLE large (a int, v text)").await?;
    scenario
        .source
        .run("INSERT INTO large SELECT g, repeat('v', 300) FROM generate_series(1, 300000) g")
        .await?;
    let sink_port = scenario.layout().sink_port;
    let proxy = Proxy::new(SocketAddr::from((Ipv4Addr::LOCALHOST, sink_port))).await?;
    scenario.layout().source_to_sink = proxy.port();
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    scenario.tasks.start(scenario.task_id(), false).await?;
    let chunks = "SELECT coalesce((SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'large'), 0)";
    for _ in 0..3 {
        let before = scenario.destination.number(chunks).await?;
        eventually("the copy moves on", patience(), async || {
            let over = scenario.task().await?.state() == TaskState::Incremental;
            Ok((over || scenario.destination.number(chunks).await? > before).then_some(()))
        })
        .await?;
        proxy.cut();
    }
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_fails_the_task_and_it_resumes_once_mended() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let pair = Pair::of(ServerOptions::new(source), ServerOptions::new(destination).scram("first")).await?;
    let mut scenario = Scenario::on(&pair, "password").await?;
    scenario.source.run("CREATE TABLE t (a int)").await?;
    // A role of Strait's own, so that the test itself keeps its way in.
    scenario.destination.run("CREATE ROLE strait SUPERUSER LOGIN PASSWORD 'first'").await?;
    let uri = scenario.destination.uri().replace("postgres:first@", "strait:first@");
    scenario.layout().destination_uri = uri;
    scenario.start().await?;
    scenario.settle().await?;

    scenario.destination.run("ALTER ROLE strait PASSWORD 'second'").await?;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'strait'";
    scenario.destination.text(end).await?;
    scenario.source.run("INSERT INTO t VALUES (1)").await?;
    let task = scenario.tasks.wait_for(scenario.task_id(), TaskState::Failed, patience()).await?;
    let failure = task.failure.context("a failed task says why")?;
    ensure!(failure.definite && failure.cause.contains("password"), "{failure:?}");

    scenario.destination.run("ALTER ROLE strait PASSWORD 'first'").await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO t VALUES (2)").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

/// Whatever was between the checkpoint and now is gone with the slot: only a person may decide to start over.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_stops_the_task_and_is_never_made_again() -> Result<()> {
    let mut scenario = Scenario::new("lost_slot").await?;
    scenario.source.run("CREATE TABLE t (a int)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    let slot = format!("dts_sync_{}", scenario.task_id());
    eventually("the slot is free", patience(), async || {
        Ok(scenario.source.text(&format!("SELECT pg_drop_replication_slot('{slot}')")).await.ok().map(drop))
    })
    .await?;
    scenario.source.run("INSERT INTO t VALUES (1)").await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    let task = scenario.tasks.wait_for(scenario.task_id(), TaskState::Failed, patience()).await?;
    let failure = task.failure.context("a failed task says why")?;
    ensure!(failure.definite && failure.cause.contains("slot") && !failure.remedy.is_empty(), "{failure:?}");
    ensure!(
        scenario
            .source
            .number("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")
            .await?
            == 0
    );
    scenario.finish().await
}
