//! Latency, hop by hop: whatever holds the stream up shows where it is, and nowhere else.
//!
//! Each hop is a duration on one host's clock, so clocks that differ cannot show; what a test can do is to slow one part
//! down and see the others unmoved.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use strait_proto::v1::{Hop, HopLatency, RateLimits, Task, TaskState, Throttle};
use strait_tests::pair::Pair;
use strait_tests::proxy::Proxy;
use strait_tests::scenario::Scenario;
use strait_tests::tasks::stream_of;
use strait_tests::wait::patience;

fn hops_of(task: &Task) -> Option<HopLatency> {
    stream_of(task).ok()?.hops
}

/// Waits for a report whose hops are like this.
async fn wait_for_hops(scenario: &Scenario, what: &str, wanted: impl Fn(HopLatency) -> bool) -> Result<Task> {
    let is_there = |task: &Task| hops_of(task).is_some_and(&wanted);
    scenario.tasks.wait_until(scenario.task_id(), what, patience(), is_there).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_shows_in_the_network_alone() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(150);
    let delay_us = DELAY.as_micros() as u64;
    let mut scenario = Scenario::new("hops_line").await?;
    let sink = SocketAddr::from((Ipv4Addr::LOCALHOST, scenario.layout().sink_port));
    let proxy = Proxy::with_delay(sink, DELAY).await?;
    scenario.layout().source_to_sink = proxy.port();
    scenario.start().await?;
    scenario.settle().await?;
    let task = wait_for_hops(&scenario, "the delay is the network's", |hops| {
        let HopLatency { decode_us, send_us, network_us, apply_us, .. } = hops;
        network_us >= delay_us * 9 / 10 && [decode_us, send_us, apply_us].iter().all(|us| *us < delay_us / 2)
    })
    .await?;
    let latency_us = stream_of(&task)?.latency_us;
    ensure!(latency_us >= 2 * delay_us * 9 / 10, "there and back in {latency_us} µs");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_waits_shows_in_applying_alone() -> Result<()> {
    // Servers of its own: log of other databases, which has to be decoded as well, is a wait of another hop.
    let pair = Pair::own().await?;
    let mut scenario = Scenario::on(&pair, "hops_apply").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    let blocker = scenario.destination.connect().await?;
    blocker.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await?;
    scenario.source.run("INSERT INTO t VALUES (1)").await?;
    let stands = |task: &Task| {
        stream_of(task).is_ok_and(|stream| {
            let bytes = stream.bytes.unwrap_or_default();
            stream.oldest_heartbeat_at() == Hop::Destination
                && stream.oldest_heartbeat_us > 6_000_000
                && stream.latency_us > 6_000_000
                && bytes.to_apply > 0
                && bytes.in_flight > 0
        })
    };
    scenario.tasks.wait_until(scenario.task_id(), "the stream stands", patience(), stands).await?;
    blocker.batch_execute("COMMIT").await?;
    wait_for_hops(&scenario, "the wait was the destination's", |hops| {
        let HopLatency { decode_us, send_us, network_us, apply_us, .. } = hops;
        apply_us > 4_000_000 && [decode_us, send_us, network_us].iter().all(|us| *us < apply_us / 2)
    })
    .await?;
    let moves = |task: &Task| {
        stream_of(task)
            .is_ok_and(|stream| stream.latency_us < 1_000_000 && stream.oldest_heartbeat_us < 1_000_000)
    };
    scenario.tasks.wait_until(scenario.task_id(), "the stream moves again", patience(), moves).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_shows_in_sending_alone() -> Result<()> {
    let mut scenario = Scenario::new("hops_throttle").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY)").await?;
    let limits = RateLimits { rows_per_second: 20, bytes_per_second: 0 };
    let mut spec = scenario.spec();
    spec.throttle = Some(Throttle { incremental: Some(limits) });
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    // What comes behind the frame that waits is not read from the walsender, and waits with it.
    scenario.source.run("INSERT INTO t SELECT generate_series(1, 100)").await?;
    let waits = |task: &Task| {
        stream_of(task).is_ok_and(|stream| stream.throttled && stream.oldest_heartbeat_at() == Hop::Send)
    };
    scenario.tasks.wait_until(scenario.task_id(), "heartbeats wait", patience(), waits).await?;
    wait_for_hops(&scenario, "the wait was for sending", |hops| {
        let HopLatency { decode_us, send_us, network_us, apply_us, .. } = hops;
        send_us > 2_000_000 && [decode_us, network_us, apply_us].iter().all(|us| *us < send_us / 4)
    })
    .await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
