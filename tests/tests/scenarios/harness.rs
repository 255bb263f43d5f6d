//! The harness itself: what it promises to the scenarios.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use strait_tests::compare;
use strait_tests::database::Database;
use strait_tests::footprint::Footprint;
use strait_tests::packages::Unavailable;
use strait_tests::pair::Pair;
use strait_tests::proxy::Proxy;
use strait_tests::server::{Server, ServerOptions, StopMode};
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience, skipped};
use strait_tests::workload::Workload;

#[tokio::test(flavor = "multi_thread")]
async fn every_supported_version_starts_with_logical_wal() -> Result<()> {
    for version in PgVersion::ALL {
        let server = match Server::start(ServerOptions::new(version)).await {
            Ok(server) => server,
            Err(error) if error.is::<Unavailable>() => {
                skipped(&error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let database = Database::create(&server, "versions").await?;
        ensure!(database.number("SHOW server_version_num").await? / 10_000 == i64::from(version.major()));
        ensure!(database.text("SHOW wal_level").await? == "logical");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_recovers_what_was_committed() -> Result<()> {
    let version = PgVersion::default_pair()?.0;
    let server = Server::start(ServerOptions::new(version).durable()).await?;
    let database = Database::create(&server, "crash").await?;
    database.run("CREATE TABLE t (i int)").await?;
    database.run("INSERT INTO t VALUES (1)").await?;
    server.kill().await?;
    server.start_again().await?;
    ensure!(database.text("SELECT * FROM t").await? == "1");
    server.restart(StopMode::Immediate).await?;
    server.restart(StopMode::Fast).await?;
    ensure!(database.text("SELECT * FROM t").await? == "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_scram_refuses_a_wrong_password() -> Result<()> {
    let version = PgVersion::default_pair()?.0;
    let server = Server::start(ServerOptions::new(version).scram("right")).await?;
    server.connect("postgres").await?;
    let wrong = server.uri("postgres").replace(":right@", ":wrong@");
    ensure!(tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_cuts_freezes_and_refuses() -> Result<()> {
    let pair = Pair::shared().await?;
    let database = Database::create(&pair.source, "proxied").await?;
    let proxy = Proxy::new(SocketAddr::from((Ipv4Addr::LOCALHOST, pair.source.port()))).await?;
    let uri = pair.source.uri_through(proxy.port(), database.name());
    let connect = async || -> Result<_> {
        let (client, connection) = tokio_postgres::connect(&uri, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    };

    let client = connect().await?;
    client.batch_execute("SELECT 1").await?;
    proxy.cut();
    eventually("the cut connection ends", patience(), async || Ok(client.is_closed().then_some(()))).await?;

    let client = connect().await?;
    proxy.pause();
    let frozen = tokio::time::timeout(Duration::from_millis(200), client.batch_execute("SELECT 1")).await;
    ensure!(frozen.is_err(), "an answer passed a frozen proxy");
    proxy.resume();
    client.batch_execute("SELECT 1").await?;

    proxy.refuse();
    ensure!(connect().await.is_err(), "a refusing proxy let a connection through");
    proxy.resume();
    connect().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_sees_a_single_wrong_value_and_a_missing_duplicate() -> Result<()> {
    let pair = Pair::shared().await?;
    let source = Database::create(&pair.source, "compared").await?;
    let destination = Database::create(&pair.destination, "compared").await?;
    let fill = "INSERT INTO t SELECT g / 2, 'x' FROM generate_series(1, 1000) g";
    source.run("CREATE TABLE t (i int, v text)").await?;
    source.run(fill).await?;
    // Another column order and a column more do not count.
    destination.run("CREATE TABLE t (v text, extra int DEFAULT 7, i int)").await?;
    destination.run("INSERT INTO t (i, v) SELECT g / 2, 'x' FROM generate_series(1, 1000) g").await?;
    compare::assert_equal(&source, &destination).await?;

    destination.run("UPDATE t SET v = 'y' WHERE i = 500").await?;
    let error = compare::difference(&source, &destination, "t").await?.context("a changed value")?;
    ensure!(error.contains("(500,x)") && error.contains("(500,y)"), "{error}");
    destination
        .run("UPDATE t SET v = 'x'; DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE i = 7)")
        .await?;
    let error = compare::difference(&source, &destination, "t").await?.context("a missing duplicate")?;
    ensure!(error.contains("missing at the destination: 1\n    (7,x)"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_footprint_shows_a_slot_and_a_changed_identity() -> Result<()> {
    let pair = Pair::shared().await?;
    let database = Database::create(&pair.source, "footprint").await?;
    database.run("CREATE TABLE t (i int)").await?;
    let before = Footprint::of(&database).await?;
    database.run("INSERT INTO t VALUES (1)").await?;
    before.assert_unchanged(&database).await?;
    database.run("ALTER TABLE t REPLICA IDENTITY FULL").await?;
    ensure!(before.assert_unchanged(&database).await.is_err());
    database.run("ALTER TABLE t REPLICA IDENTITY DEFAULT").await?;
    database.run("SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')").await?;
    ensure!(before.assert_unchanged(&database).await.is_err());
    database.run("SELECT pg_drop_replication_slot('left_behind')").await?;
    before.assert_unchanged(&database).await
}

/// PostgreSQL's own subscription stands in for Strait: if the load outlives a restart of the source and both sides end equal,
/// the load, the restart and the comparison do their work.
#[tokio::test(flavor = "multi_thread")]
async fn a_native_subscription_survives_the_workload() -> Result<()> {
    let pair = Pair::own().await?;
    let source = Database::create(&pair.source, "native").await?;
    let destination = Database::create(&pair.destination, "native").await?;
    Workload::prepare(&source).await?;
    Workload::prepare(&destination).await?;
    // What native replication cannot do is left out: whole rows with json.
    let tables: Vec<String> = compare::tables(&source)
        .await?
        .into_iter()
        .filter(|table| !["load.keyless", "load.whole"].contains(&table.as_str()))
        .collect();
    let list = tables.join(", ");
    destination.run(&format!("TRUNCATE {list} CASCADE")).await?;
    // Nor can it truncate linked tables while it still copies one of them.
    destination
        .run(
            "DO $$ DECLARE key record; BEGIN
                FOR key IN SELECT conrelid::regclass AS child, conname FROM pg_constraint
                           WHERE contype = 'f' AND conparentid = 0
                LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', key.child, key.conname); END LOOP;
            END $$",
        )
        .await?;
    source.run(&format!("CREATE PUBLICATION p FOR TABLE {list}")).await?;
    let connection =
        format!("host=127.0.0.1 port={} user=postgres dbname={}", pair.source.port(), source.name());
    destination.run(&format!("CREATE SUBSCRIPTION s CONNECTION '{connection}' PUBLICATION p")).await?;

    let workload = Workload::start(&source, 4, 400);
    eventually("the load has begun", patience(), async || Ok((workload.committed() > 300).then_some(())))
        .await?;
    pair.source.restart(StopMode::Fast).await?;
    let before = workload.committed();
    eventually("the load goes on", patience(), async || {
        Ok((workload.committed() > before + 300).then_some(()))
    })
    .await?;
    workload.stop().await?;
    let compared = compare::eventually_tables_equal(&source, &destination, &tables, patience()).await;
    compared.map_err(|error| error.context(pair.destination.log_tail(20)))
}
