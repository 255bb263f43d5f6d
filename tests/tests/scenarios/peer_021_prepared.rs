//! 021 to 023: two-phase commits arrive when they commit, and not at all when they are rolled back.

use anyhow::{Result, ensure};
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::server::StopMode;

// On servers of its own: a prepared transaction holds up every slot that is created meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_transactions_arrive_at_their_commit() -> Result<()> {
    let pair = Pair::own().await?;
    let mut scenario = Scenario::on(&pair, "p021_prepared").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.start().await?;
    let source = &scenario.source;

    source.run("BEGIN; INSERT INTO t VALUES (1, 'prepared'); PREPARE TRANSACTION 'one'").await?;
    source.run("INSERT INTO t VALUES (2, 'in between')").await?;
    scenario.assert_arrived("SELECT string_agg(a::text, ',' ORDER BY a) FROM t", "2").await?;
    source.run_each(&["COMMIT PREPARED 'one'"]).await?;
    scenario.assert_arrived("SELECT string_agg(a::text, ',' ORDER BY a) FROM t", "1,2").await?;

    source.run("BEGIN; INSERT INTO t VALUES (3, 'gone'); PREPARE TRANSACTION 'two'").await?;
    source.run_each(&["ROLLBACK PREPARED 'two'"]).await?;
    source
        .run("BEGIN; INSERT INTO t SELECT g, 'many' FROM generate_series(100, 4000) g; SAVEPOINT s; DELETE FROM t WHERE a < 3000; ROLLBACK TO s; PREPARE TRANSACTION 'three'")
        .await?;
    // Across crashes of either side.
    pair.source.restart(StopMode::Immediate).await?;
    pair.destination.restart(StopMode::Immediate).await?;
    source.run_each(&["COMMIT PREPARED 'three'"]).await?;
    scenario.assert_equal().await?;
    ensure!(scenario.destination.number("SELECT count(*) FROM t").await? == 3903);
    scenario.finish().await
}

/// Either side dies between the two phases, right after each outcome was decided, and with a decision still open.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_about_a_prepared_transaction_survives_a_crash_of_either_side() -> Result<()> {
    let pair = Pair::own().await?;
    let mut scenario = Scenario::on(&pair, "p021_crashes").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text); CREATE TABLE keyless (a int)").await?;
    scenario.start().await?;
    let source = &scenario.source;
    for (round, server) in [&pair.source, &pair.destination].into_iter().enumerate() {
        let first = 1_000 * round;
        for (name, from, to) in [("kept", first, first + 400), ("dropped", first + 400, first + 800)] {
            source
                .run(&format!(
                    "BEGIN; INSERT INTO t SELECT g, 'prepared' FROM generate_series({from}, {to} - 1) g; SAVEPOINT s;
                     INSERT INTO keyless SELECT generate_series(1, 50); ROLLBACK TO s;
                     INSERT INTO keyless VALUES ({from}), ({from}); PREPARE TRANSACTION '{name}'"
                ))
                .await?;
        }
        source.run(&format!("INSERT INTO t VALUES ({}, 'in between')", first + 900)).await?;
        server.kill().await?;
        server.start_again().await?;
        source.run_each(&["COMMIT PREPARED 'kept'", "ROLLBACK PREPARED 'dropped'"]).await?;
        server.restart(StopMode::Immediate).await?;
        scenario.assert_equal().await?;
        let count = 401 * (round as i64 + 1);
        ensure!(scenario.destination.number("SELECT count(*) FROM t").await? == count);
        ensure!(scenario.destination.number("SELECT count(*) FROM keyless").await? == 2 * (round as i64 + 1));
    }
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}
