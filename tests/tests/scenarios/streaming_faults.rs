//! What goes wrong while a transaction arrives before it has committed: it comes again, whole, and nothing is left behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Result, ensure};
use strait_tests::processes::Part;
use strait_tests::proxy::Proxy;
use strait_tests::scenario::Scenario;
use strait_tests::version::PgVersion::V18;
use strait_tests::wait::{eventually, patience};
use strait_tests::workload::Workload;
use tempfile::TempDir;

use crate::streaming::{assert_streamed, streaming_everything, with_little_decoding_memory};

/// Some two megabytes.
const FILL: &str = "INSERT INTO t SELECT g, repeat(md5(g::text), 4) FROM generate_series(100, 10099) g;";

/// The three processes with a spool directory of their own.
async fn with_spool(stem: &str, bytes_max: u64) -> Result<(Scenario, TempDir)> {
    let directory = tempfile::Builder::new().prefix("strait-spool-").tempdir()?;
    let mut scenario = Scenario::new(stem).await?;
    with_little_decoding_memory(&scenario).await?;
    scenario.layout().spool = directory.path().to_owned();
    scenario.layout().spool_bytes_max = bytes_max;
    Ok((scenario, directory))
}

/// Waits until most of [`FILL`] lies at the destination's side.
async fn spooled(scenario: &mut Scenario) -> Result<()> {
    let waited = eventually("the transaction lies on disk", patience(), async || {
        Ok((scenario.processes()?.spooled_bytes()? > 1 << 20).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

/// Waits until the source-agent has said something so many times.
async fn said(scenario: &mut Scenario, text: &str, times: usize) -> Result<()> {
    let waited = eventually(text, patience(), async || {
        let log = scenario.processes()?.log(Part::SourceAgent);
        Ok((log.lines().filter(|line| line.contains(text)).count() == times).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

fn assert_nothing_left(spool: &Path) -> Result<()> {
    let left: Vec<_> = std::fs::read_dir(spool)?.collect::<Result<_, _>>()?;
    ensure!(left.is_empty(), "left in the spool: {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_lies_at_the_destinations_side_before_it_commits() -> Result<()> {
    let (mut scenario, spool) = with_spool("spooled", 1 << 30).await?;
    scenario.start_processes().await?;
    let client = scenario.source.connect().await?;
    for end in ["COMMIT", "ROLLBACK"] {
        client.batch_execute(&format!("BEGIN; DELETE FROM t; {FILL}")).await?;
        spooled(&mut scenario).await?;
        let before = scenario.destination.number("SELECT count(*) FROM t").await?;
        scenario.settle().await?;
        ensure!(
            scenario.destination.number("SELECT count(*) FROM t").await? == before,
            "seen before its commit"
        );
        client.batch_execute(end).await?;
        scenario.assert_equal().await?;
        eventually("the file is gone", patience(), async || {
            Ok((scenario.processes()?.spooled_bytes()? == 0).then_some(()))
        })
        .await?;
    }
    assert_nothing_left(spool.path())?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_while_a_transaction_is_streamed_it_comes_again_whole() -> Result<()> {
    let (mut scenario, spool) = with_spool("streaming_kills", 1 << 30).await?;
    scenario.start_processes().await?;
    let client = scenario.source.connect().await?;
    for part in [Part::SinkAgent, Part::SourceAgent, Part::Coordinator] {
        client.batch_execute(&format!("BEGIN; DELETE FROM t; {FILL}")).await?;
        spooled(&mut scenario).await?;
        scenario.processes()?.kill(part).await?;
        assert_nothing_left(spool.path())?;
        client.batch_execute("SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; UPDATE t SET c = c + 1").await?;
        scenario.processes()?.start_again(part).await?;
        spooled(&mut scenario).await?;
        client.batch_execute("COMMIT").await?;
        // Once more while it is being applied.
        if part == Part::SinkAgent {
            scenario.processes()?.crash(part).await?;
        }
        scenario.assert_equal().await?;
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_line_makes_a_streamed_transaction_come_again_whole() -> Result<()> {
    let (mut scenario, spool) = with_spool("streaming_cut", 1 << 30).await?;
    let sink = SocketAddr::from((Ipv4Addr::LOCALHOST, scenario.layout().sink_port));
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, scenario.source.server().port()));
    let (to_sink, to_source) = (Proxy::new(sink).await?, Proxy::new(source).await?);
    let source_uri = scenario.source.server().uri_through(to_source.port(), scenario.source.name());
    scenario.layout().source_to_sink = to_sink.port();
    scenario.layout().source_uri = source_uri;
    scenario.start_processes().await?;
    let client = scenario.source.connect().await?;
    for proxy in [&to_sink, &to_source] {
        client.batch_execute(&format!("BEGIN; DELETE FROM t; {FILL}")).await?;
        spooled(&mut scenario).await?;
        proxy.cut();
        client.batch_execute("UPDATE t SET c = c + 1").await?;
        scenario.settle().await?;
        client.batch_execute("COMMIT").await?;
        scenario.assert_equal().await?;
    }
    assert_nothing_left(spool.path())?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_does_not_fit_into_the_spool_comes_whole() -> Result<()> {
    const BYTES_MAX: u64 = 600 << 10;
    let (mut scenario, _spool) = with_spool("spool_full", BYTES_MAX).await?;
    scenario.start_processes().await?;
    let client = scenario.source.connect().await?;
    for (round, end) in ["COMMIT", "ROLLBACK"].into_iter().enumerate() {
        client.batch_execute(&format!("BEGIN; DELETE FROM t; {FILL}")).await?;
        said(&mut scenario, "has to come whole", round + 1).await?;
        // Others go on meanwhile.
        scenario.settle().await?;
        client.batch_execute(&format!("UPDATE t SET c = c + 1; {end}")).await?;
        scenario.assert_equal().await?;
        said(&mut scenario, "transactions in progress are streamed again", round + 1).await?;
        // One that fits is streamed again.
        client
            .batch_execute(
                "BEGIN; INSERT INTO keyless SELECT g, repeat('k', 100) FROM generate_series(1, 3000) g",
            )
            .await?;
        let waited = eventually("a smaller one lies on disk", patience(), async || {
            let bytes = scenario.processes()?.spooled_bytes()?;
            ensure!(bytes <= BYTES_MAX, "{bytes} bytes in the spool");
            Ok((bytes > 100 << 10).then_some(()))
        })
        .await;
        scenario.explain(waited).await?;
        client.batch_execute("COMMIT").await?;
        scenario.assert_equal().await?;
    }
    let log = scenario.processes()?.log(Part::SinkAgent);
    ensure!(log.contains("the spool is full"), "the sink-agent says nothing of it");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn either_agent_is_killed_under_a_load_of_which_everything_is_streamed() -> Result<()> {
    let Some(pair) = streaming_everything(V18).await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "streaming_all_kills").await?;
    Workload::prepare(&scenario.source).await?;
    scenario.start_processes().await?;
    let workload = Workload::start(&scenario.source, 4, 100);
    for round in 0..4 {
        let before = workload.committed();
        eventually("the load goes on", patience(), async || {
            Ok((workload.committed() > before + 100).then_some(()))
        })
        .await?;
        scenario.processes()?.crash(if round % 2 == 0 { Part::SinkAgent } else { Part::SourceAgent }).await?;
        scenario.settle().await?;
    }
    workload.stop().await?;
    scenario.assert_equal().await?;
    assert_streamed(&scenario, 100).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_transactions_come_whole() -> Result<()> {
    let (mut scenario, _spool) = with_spool("no_spool", 0).await?;
    scenario.start_processes().await?;
    scenario.source.run(FILL).await?;
    scenario.assert_equal().await?;
    ensure!(scenario.streamed().await? == 0);
    scenario.finish().await
}
