//! A line between continents: long, narrow, and cut where it hurts.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use strait_proto::v1::TaskState;
use strait_source_agent::Compression;
use strait_tests::proxy::Proxy;
use strait_tests::scenario::Scenario;

const ROWS: u64 = 20_000;
/// Bytes of each row that say the same.
const FILLING: u64 = 500;

async fn over_long_line(stem: &str, compression: Compression) -> Result<(Scenario, Proxy)> {
    let mut scenario = Scenario::new(stem).await?;
    scenario.encrypt()?;
    let sink = SocketAddr::from((Ipv4Addr::LOCALHOST, scenario.layout().sink_port));
    let proxy = Proxy::long_line(sink).await?;
    scenario.layout().source_to_sink = proxy.port();
    scenario.layout().compression = compression;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    let fill = format!("INSERT INTO t SELECT n, repeat('x', {FILLING}) FROM generate_series(1, {ROWS}) n");
    scenario.source.run(&fill).await?;
    Ok((scenario, proxy))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_is_compressed_by_itself_and_survives_cuts_within_messages() -> Result<()> {
    // A line's delay as the kernel sees it ends at the proxy, so what is automatic elsewhere is asked for here.
    let (mut scenario, proxy) = over_long_line("wan", Compression::Zstd).await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    proxy.cut_after(40_007);
    scenario.run_until(TaskState::Incremental).await?;
    ensure!(proxy.passed() < ROWS * FILLING / 3, "{} bytes passed", proxy.passed());
    for bytes in [1, 10, 101, 1_009, 10_007] {
        proxy.cut_after(bytes);
        let update = format!("UPDATE t SET b = b || '{bytes}' WHERE a % 10 = {}", bytes % 10);
        scenario.source.run(&update).await?;
    }
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_can_be_declined() -> Result<()> {
    let (mut scenario, proxy) = over_long_line("wan_none", Compression::None).await?;
    scenario.start().await?;
    scenario.assert_equal().await?;
    ensure!(proxy.passed() > ROWS * FILLING, "{} bytes passed", proxy.passed());
    scenario.finish().await
}
