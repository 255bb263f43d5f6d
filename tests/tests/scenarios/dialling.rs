//! Either side dials: where the source's zone cannot reach the destination's, the destination's reaches the source's.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use strait_proto::v1::TaskState;
use strait_tests::proxy::Proxy;
use strait_tests::scenario::Scenario;
use strait_tests::server::free_port;

/// The sink-agent can be dialled by nobody; the source-agent can, through what is returned.
async fn one_way(scenario: &mut Scenario) -> Result<Proxy> {
    let listen = free_port()?;
    let proxy = Proxy::new(SocketAddr::from((Ipv4Addr::LOCALHOST, listen))).await?;
    scenario.layout().source_listen = Some(listen);
    scenario.layout().sink_to_source = Some(proxy.port());
    // Nobody listens here.
    scenario.layout().source_to_sink = free_port()?;
    Ok(proxy)
}

async fn lives(mut scenario: Scenario) -> Result<()> {
    let proxy = one_way(&mut scenario).await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.source.run("INSERT INTO t SELECT n, n::text FROM generate_series(1, 5000) n").await?;
    scenario.start().await?;
    scenario.assert_equal().await?;
    for n in 0..3 {
        scenario.source.run(&format!("UPDATE t SET b = '{n}' WHERE a % 3 = {n}")).await?;
        proxy.cut();
        scenario.assert_equal().await?;
    }
    // The way is gone for a while, as behind a translation of addresses that starts anew.
    proxy.refuse();
    scenario.source.run("DELETE FROM t WHERE a % 7 = 0").await?;
    scenario.wait_for(TaskState::Retrying).await?;
    proxy.resume();
    scenario.assert_equal().await?;
    ensure!(proxy.passed() > 0, "nothing passed the other way");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_agent_that_nobody_can_dial_dials() -> Result<()> {
    let mut scenario = Scenario::new("dialling_tls").await?;
    scenario.encrypt()?;
    lives(scenario).await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_plain_text_as_well() -> Result<()> {
    lives(Scenario::new("dialling_plain").await?).await
}
