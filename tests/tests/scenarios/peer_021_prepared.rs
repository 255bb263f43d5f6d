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
