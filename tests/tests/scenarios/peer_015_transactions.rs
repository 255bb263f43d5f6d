//! 015 to 018: large and interleaved transactions, nested savepoints, rollbacks to several levels.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

async fn with_little_decoding_memory(stem: &str) -> Result<Scenario> {
    let scenario = Scenario::new(stem).await?;
    // Reaches the walsender as well, and makes it spill whatever is not tiny.
    let name = scenario.source.name();
    scenario.source.run(&format!("ALTER DATABASE {name} SET logical_decoding_work_mem = '64kB'")).await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text, c int DEFAULT 0)").await?;
    scenario.source.run("CREATE TABLE keyless (a int, b text)").await?;
    scenario.source.run("INSERT INTO t VALUES (1, 'foo'), (2, 'bar')").await?;
    Ok(scenario)
}

#[tokio::test(flavor = "multi_thread")]
async fn interleaved_transactions_arrive_whole_and_only_after_their_commit() -> Result<()> {
    let mut scenario = with_little_decoding_memory("p015_interleaved").await?;
    scenario.start().await?;
    let (first, second) = (scenario.source.connect().await?, scenario.source.connect().await?);
    first.batch_execute("BEGIN; INSERT INTO t SELECT g, md5(g::text) FROM generate_series(3, 5000) g; UPDATE t SET b = 'x' || b WHERE mod(a, 2) = 0; DELETE FROM t WHERE mod(a, 3) = 0").await?;
    second.batch_execute("BEGIN; INSERT INTO t SELECT g, md5(g::text) FROM generate_series(5001, 9999) g; INSERT INTO keyless SELECT 1, 'y' FROM generate_series(1, 5000); DELETE FROM t WHERE a > 5000 AND mod(a, 3) = 0").await?;
    first.batch_execute("INSERT INTO keyless SELECT 2, 'x' FROM generate_series(1, 5000)").await?;
    scenario.assert_arrived("SELECT count(*) FROM t", "2").await?;
    second.batch_execute("COMMIT").await?;
    scenario
        .assert_arrived(
            "SELECT count(*) FILTER (WHERE a = 1), count(*) FILTER (WHERE a = 2) FROM keyless",
            "5000|0",
        )
        .await?;
    first.batch_execute("COMMIT").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_survives_savepoints_arrives() -> Result<()> {
    let mut scenario = with_little_decoding_memory("p018_savepoints").await?;
    scenario.start().await?;
    let insert = |from: u32, to: u32| {
        format!("INSERT INTO t SELECT g, md5(g::text) FROM generate_series({from}, {to}) g;")
    };
    for sql in [
        // Nested and released.
        format!("BEGIN; {} SAVEPOINT s1; {} SAVEPOINT s2; {} SAVEPOINT s3; {} COMMIT", insert(3, 500), insert(501, 1000), insert(1001, 1500), insert(1501, 2000)),
        // Back to several levels, out of order.
        format!("BEGIN; {} SAVEPOINT s1; {} SAVEPOINT s2; {} ROLLBACK TO s1; {} SAVEPOINT s3; {} ROLLBACK TO s1; {} COMMIT",
            insert(3001, 3500), insert(3501, 4000), insert(4001, 4500), insert(3501, 3600), insert(4001, 4100), insert(3501, 3550)),
        // Everything back.
        format!("BEGIN; {} SAVEPOINT s1; {} ROLLBACK TO s1; DELETE FROM t; TRUNCATE keyless; ROLLBACK", insert(5001, 5500), insert(5501, 6000)),
        // A rolled back change of a row between two that stay.
        "BEGIN; UPDATE t SET c = 1; SAVEPOINT s; UPDATE t SET c = 2; DELETE FROM t WHERE a > 100; ROLLBACK TO s; UPDATE t SET c = c + 10 WHERE a < 50; COMMIT".to_owned(),
    ] {
        scenario.source.run(&sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_subtransactions_arrive() -> Result<()> {
    let mut scenario = with_little_decoding_memory("p016_subtransactions").await?;
    scenario.start().await?;
    scenario
        .source
        .run(
            "DO $$ BEGIN
                 FOR i IN 3..3000 LOOP
                     BEGIN
                         INSERT INTO t VALUES (i, 'sub');
                         IF i % 5 = 0 THEN RAISE EXCEPTION 'no'; END IF;
                     EXCEPTION WHEN raise_exception THEN NULL;
                     END;
                 END LOOP;
             END $$",
        )
        .await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

/// A transaction that began before the slot did and ends after the copy belongs to neither half twice, nor to none.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_around_the_start_of_the_copy_count_once() -> Result<()> {
    let mut scenario = with_little_decoding_memory("p100_straddling").await?;
    let writers: Vec<_> =
        futures_util::future::try_join_all((0..4).map(|_| scenario.source.connect())).await?;
    let stop = tokio_util::sync::CancellationToken::new();
    let tasks: Vec<_> = writers
        .into_iter()
        .enumerate()
        .map(|(number, client)| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut round = 0;
                while !stop.is_cancelled() {
                    round += 1;
                    let key = number * 1_000_000 + 10 + round;
                    let sql = format!(
                        "BEGIN; INSERT INTO t VALUES ({key}, 'w'); SELECT pg_sleep(0.02); INSERT INTO keyless VALUES ({number}, 'w'); COMMIT"
                    );
                    client.batch_execute(&sql).await?;
                }
                Ok::<_, tokio_postgres::Error>(())
            })
        })
        .collect();
    scenario.start().await?;
    scenario.settle().await?;
    stop.cancel();
    for task in tasks {
        task.await??;
    }
    scenario.assert_equal().await?;
    scenario.finish().await
}
