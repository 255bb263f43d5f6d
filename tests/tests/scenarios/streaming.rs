//! 015 to 023 with transactions that arrive before they have committed: what they leave is what the source has.
//!
//! The source's memory for decoding is 64 kB, so that whatever is not tiny is streamed; each scenario sees that it was.

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use strait_proto::v1::TaskState;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::server::{ServerOptions, StopMode};
use strait_tests::version::PgVersion::{self, V14, V16, V18};
use strait_tests::wait::{eventually, from_environment, patience};
use strait_tests::workload::Workload;

/// Two tables, and a walsender that streams whatever is not tiny.
pub(crate) async fn with_little_decoding_memory(scenario: &Scenario) -> Result<()> {
    let name = scenario.source.name();
    scenario.source.run(&format!("ALTER DATABASE {name} SET logical_decoding_work_mem = '64kB'")).await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text, c int DEFAULT 0)").await?;
    scenario.source.run("CREATE TABLE keyless (a int, b text)").await?;
    scenario.source.run("INSERT INTO t VALUES (1, 'foo'), (2, 'bar')").await
}

/// A pair whose source streams every transaction at every change; None where the version cannot be had on this machine.
pub(crate) async fn streaming_everything(source: PgVersion) -> Result<Option<Pair>> {
    let (_, destination) = PgVersion::default_pair()?;
    if Pair::of_versions(source, destination).await?.is_none() {
        return Ok(None);
    }
    let source = ServerOptions::new(source).set("debug_logical_replication_streaming", "immediate");
    Pair::of(source, ServerOptions::new(destination)).await.map(Some)
}

async fn on(pair: &Pair, stem: &str) -> Result<Scenario> {
    let scenario = Scenario::on(pair, stem).await?;
    with_little_decoding_memory(&scenario).await?;
    Ok(scenario)
}

pub(crate) async fn assert_streamed(scenario: &Scenario, at_least: i64) -> Result<()> {
    let waited = eventually("the source counts what it has streamed", patience(), async || {
        Ok((scenario.streamed().await? >= at_least).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

fn insert(from: u32, to: u32) -> String {
    format!("INSERT INTO t SELECT g, md5(g::text) FROM generate_series({from}, {to}) g;")
}

/// Proto 2, and proto 4 with the parallel mode.
#[tokio::test(flavor = "multi_thread")]
async fn interleaved_transactions_of_every_protocol_arrive_at_their_commits() -> Result<()> {
    let (default, destination) = PgVersion::default_pair()?;
    for source in [default, V14, V16, V18] {
        let Some(pair) = Pair::of_versions(source, destination).await? else { continue };
        let mut scenario = on(&pair, "streaming_interleaved").await?;
        scenario.start().await?;
        let (first, second) = (scenario.source.connect().await?, scenario.source.connect().await?);
        for round in 0..3_u32 {
            let (a, b) = (1000 + round * 20_000, 11_000 + round * 20_000);
            first.batch_execute(&format!("BEGIN; {}", insert(a, a + 3000))).await?;
            second.batch_execute(&format!("BEGIN; {}", insert(b, b + 3000))).await?;
            let more = "INSERT INTO keyless SELECT g % 10, 'y' FROM generate_series(1, 3000) g;";
            first
                .batch_execute(&format!("{more} SAVEPOINT s; DELETE FROM t WHERE a >= {a} AND a < {b}"))
                .await?;
            second
                .batch_execute(&format!("{more} UPDATE t SET c = c + 1 WHERE a >= {b} AND a % 3 = 0"))
                .await?;
            first.batch_execute("ROLLBACK TO s; UPDATE t SET c = 7 WHERE a = 1").await?;
            assert_streamed(&scenario, i64::from(round + 1) * 2).await?;
            // Neither is seen before its commit, and a small one in between is not held up.
            let count = format!("SELECT count(*) FROM t WHERE a >= {a}");
            scenario.assert_arrived(&count, "0").await?;
            second.batch_execute(if round == 1 { "ROLLBACK" } else { "COMMIT" }).await?;
            scenario.assert_arrived(&count, if round == 1 { "0" } else { "3001" }).await?;
            first.batch_execute("COMMIT").await?;
            scenario.assert_equal().await?;
        }
        ensure!(scenario.conflicts().await? == 0);
        scenario.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_take_back_exactly_what_they_must() -> Result<()> {
    let mut scenario = on(&Pair::shared().await?, "streaming_savepoints").await?;
    scenario.start().await?;
    for sql in [
        // Nested and released; the second time the outer one goes back after all.
        format!("BEGIN; {} SAVEPOINT a; {} SAVEPOINT b; {} RELEASE b; {} RELEASE a; {} COMMIT",
            insert(3, 1500), insert(1501, 3000), insert(3001, 4500), insert(4501, 6000), insert(6001, 7500)),
        format!("BEGIN; {} SAVEPOINT a; {} SAVEPOINT b; {} RELEASE b; {} ROLLBACK TO a; {} COMMIT",
            insert(10_003, 11_500), insert(11_501, 13_000), insert(13_001, 14_500), insert(14_501, 16_000), insert(11_501, 12_000)),
        // The outer one writes after its child alone, and both go back.
        format!("BEGIN; {} SAVEPOINT a; SAVEPOINT b; {} RELEASE b; {} ROLLBACK TO a; {} COMMIT",
            insert(20_000, 21_500), insert(21_501, 23_000), insert(23_001, 24_500), insert(24_501, 26_000)),
        // Back to several levels, out of order, again and again.
        format!("BEGIN; {} SAVEPOINT s1; {} SAVEPOINT s2; {} ROLLBACK TO s1; {} SAVEPOINT s3; {} ROLLBACK TO s3; {} ROLLBACK TO s1; {} COMMIT",
            insert(30_000, 31_500), insert(31_501, 33_000), insert(33_001, 34_500), insert(31_501, 33_000), insert(33_001, 34_500), insert(33_001, 34_500), insert(31_501, 31_600)),
        // Everything back.
        format!("BEGIN; {} SAVEPOINT s1; {} ROLLBACK TO s1; DELETE FROM t; TRUNCATE keyless; ROLLBACK", insert(40_000, 41_500), insert(41_501, 43_000)),
        // A TRUNCATE that goes back, and one that stays.
        "BEGIN; INSERT INTO keyless SELECT g, 'gone' FROM generate_series(1, 3000) g; SAVEPOINT s; TRUNCATE t; ROLLBACK TO s; TRUNCATE keyless; INSERT INTO keyless SELECT g, 'x' FROM generate_series(1, 3000) g; COMMIT".to_owned(),
    ] {
        scenario.source.run(&sql).await?;
        scenario.assert_equal().await?;
    }
    // Thousands of subtransactions, a third of them back.
    scenario
        .source
        .run(
            "DO $$ BEGIN FOR i IN 50000..53000 LOOP BEGIN INSERT INTO t VALUES (i, 'sub'); UPDATE t SET c = i WHERE a = 2; IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$",
        )
        .await?;
    scenario.assert_equal().await?;
    assert_streamed(&scenario, 6).await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_and_go_within_streamed_transactions() -> Result<()> {
    let mut scenario = on(&Pair::shared().await?, "streaming_ddl").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("ALTER TABLE t ADD COLUMN d int, ADD COLUMN e text, ADD COLUMN f text").await?;
    let fill = |from: u32, more: &str| {
        format!("INSERT INTO t SELECT g, 'v', g{more} FROM generate_series({from}, {from} + 1499) g;")
    };
    for sql in [
        // Before, between, after.
        format!(
            "BEGIN; {} ALTER TABLE t ADD COLUMN d int; {} UPDATE t SET d = 1 WHERE a < 200; COMMIT",
            fill(100, ""),
            fill(2000, ", g")
        ),
        // A column that goes back, with rows that had it, in one savepoint and in two.
        format!(
            "BEGIN; {} SAVEPOINT s; ALTER TABLE t ADD COLUMN e text; {} ROLLBACK TO s; {} COMMIT",
            fill(4000, ", 1"),
            fill(6000, ", 2, 'gone'"),
            fill(6000, ", 3")
        ),
        format!(
            "BEGIN; SAVEPOINT s; ALTER TABLE t ADD COLUMN e text; {} SAVEPOINT s2; ALTER TABLE t ADD COLUMN f text; {} ROLLBACK TO s2; {} COMMIT",
            fill(8000, ", 1, 'e'"),
            fill(10_000, ", 1, 'e', 'gone'"),
            fill(10_000, ", 2, 'e'")
        ),
        // All of it goes back, and what follows is as before.
        format!(
            "BEGIN; ALTER TABLE t ADD COLUMN f text, DROP COLUMN c; {} ROLLBACK",
            "INSERT INTO t SELECT g, 'v', 1, 'e', 'f' FROM generate_series(20000, 23000) g;"
        ),
        format!(
            "INSERT INTO t VALUES (30000, 'small', 1, 2, 'e'); BEGIN; {} COMMIT",
            fill(31_000, ", 1, 'e'")
        ),
        format!(
            "BEGIN; ALTER TABLE t ADD COLUMN f text; {} ALTER TABLE t DROP COLUMN c; UPDATE t SET d = 9 WHERE a < 3000; COMMIT",
            fill(40_000, ", 1, 'e', 'f'")
        ),
        "INSERT INTO t VALUES (50000, 'last', 1, 'e', 'f')".to_owned(),
    ] {
        scenario.source.run(&sql).await.with_context(|| sql.clone())?;
        scenario.settle().await?;
    }
    scenario.assert_same_answer("SELECT a, b, d, e, f FROM t ORDER BY a").await?;
    assert_streamed(&scenario, 6).await?;
    scenario.finish().await
}

/// What nobody can know before the commit makes a transaction come whole, and streaming comes back after it.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_a_streamed_transaction_makes_or_truncates_come_right() -> Result<()> {
    let mut scenario = on(&Pair::shared().await?, "streaming_partitions").await?;
    scenario
        .source
        .run(
            "CREATE TABLE p (a int PRIMARY KEY, b text) PARTITION BY RANGE (a);
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10000);
             CREATE TABLE h (a int PRIMARY KEY, b text) PARTITION BY HASH (a);
             CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);",
        )
        .await?;
    scenario.start().await?;
    let fill = |table: &str, from: u32| {
        format!("INSERT INTO {table} SELECT g, md5(g::text) FROM generate_series({from}, {from} + 2999) g;")
    };
    for sql in [
        format!("{} {}", fill("p", 0), fill("h", 0)),
        // Made by the transaction itself.
        format!(
            "BEGIN; {} CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10000) TO (20000); {} COMMIT",
            fill("p", 3000),
            fill("p", 10_000)
        ),
        // A leaf with bounds, within a savepoint too.
        format!(
            "BEGIN; TRUNCATE p1; {} SAVEPOINT s; TRUNCATE p2; {} ROLLBACK TO s; COMMIT",
            fill("p", 0),
            fill("p", 10_000)
        ),
        // A hash leaf alone would stop the task, if it were not rolled back.
        format!("BEGIN; {} TRUNCATE h1; {} ROLLBACK", fill("h", 5000), fill("h", 8000)),
        format!("BEGIN; {} TRUNCATE h; {} COMMIT", fill("h", 5000), fill("h", 8000)),
    ] {
        scenario.source.run(&sql).await.with_context(|| sql.clone())?;
        scenario.settle().await?;
    }
    scenario.assert_equal().await?;
    let before = scenario.streamed().await?;
    eventually("streaming comes back", patience(), async || {
        scenario.source.run(&format!("BEGIN; {} ROLLBACK", insert(1000, 4000))).await?;
        scenario.settle().await?;
        Ok((scenario.streamed().await? > before).then_some(()))
    })
    .await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_within_streamed_transactions_write_nothing() -> Result<()> {
    let mut scenario = on(&Pair::shared().await?, "streaming_messages").await?;
    scenario.start().await?;
    let emit = "SELECT pg_logical_emit_message(true, 'strait', repeat('m', 100000)), pg_logical_emit_message(true, 'p', repeat('m', 100000)), pg_logical_emit_message(false, 'p', 'x');";
    for end in ["COMMIT", "ROLLBACK", "ROLLBACK TO s; COMMIT"] {
        scenario
            .source
            .run(&format!(
                "BEGIN; DELETE FROM t WHERE a > 10; {} {emit} SAVEPOINT s; {emit} {} {end}",
                insert(100, 1500),
                insert(2000, 3500)
            ))
            .await?;
        scenario.assert_equal().await?;
    }
    // Nothing but messages.
    scenario.source.run(&format!("BEGIN; {emit} {emit} ROLLBACK")).await?;
    scenario.source.run(&format!("BEGIN; {emit} {emit} COMMIT")).await?;
    scenario.assert_equal().await?;
    assert_streamed(&scenario, 3).await?;
    scenario.finish().await
}

// On servers of its own: a prepared transaction holds up every slot that is created meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn large_prepared_transactions_arrive_at_their_commit() -> Result<()> {
    let pair = Pair::own().await?;
    let mut scenario = on(&pair, "streaming_prepared").await?;
    scenario.start().await?;
    let source = &scenario.source;
    let fill = |from: u32, name: &str| {
        format!(
            "BEGIN; {} SAVEPOINT s; {} ROLLBACK TO s; {} PREPARE TRANSACTION '{name}'",
            insert(from, from + 1500),
            insert(from + 2000, from + 3500),
            insert(from + 4000, from + 5500)
        )
    };
    source.run(&fill(10_000, "kept")).await?;
    source.run(&fill(20_000, "gone")).await?;
    assert_streamed(&scenario, 2).await?;
    scenario.assert_arrived("SELECT count(*) FROM t", "2").await?;
    source.run_each(&["ROLLBACK PREPARED 'gone'"]).await?;
    scenario.assert_arrived("SELECT count(*) FROM t", "2").await?;
    pair.source.restart(StopMode::Immediate).await?;
    pair.destination.restart(StopMode::Immediate).await?;
    source.run_each(&["COMMIT PREPARED 'kept'"]).await?;
    scenario.assert_equal().await?;
    ensure!(scenario.destination.number("SELECT count(*) FROM t").await? == 2 + 3002);
    scenario.finish().await
}

/// Several sessions at random: every statement of every transaction, savepoint and rollback meets every other.
#[tokio::test(flavor = "multi_thread")]
async fn random_transactions_side_by_side_leave_what_the_source_has() -> Result<()> {
    const SESSIONS: usize = 4;
    let seed = from_environment("STRAIT_TEST_SEED", rand::random());
    eprintln!("random transactions: STRAIT_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scenario = on(&Pair::shared().await?, "streaming_random").await?;
    scenario.start().await?;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push((scenario.source.connect().await?, Vec::<String>::new(), false));
    }
    for step in 0..from_environment("STRAIT_TEST_STEPS", 250) {
        let number = random.random_range(0..SESSIONS);
        let (client, savepoints, open) = &mut sessions[number];
        // Keys of one session alone, so that none waits for another.
        let base = number * 1_000_000 + 1000;
        let from = base + random.random_range(0..5000);
        let to = from + random.random_range(1..800);
        let sql = match random.random_range(0..12) {
            _ if !*open => {
                *open = true;
                "BEGIN".to_owned()
            }
            0 | 1 => {
                let end = if random.random_bool(0.7) { "COMMIT" } else { "ROLLBACK" };
                (*open, *savepoints) = (false, Vec::new());
                end.to_owned()
            }
            2 | 3 => {
                savepoints.push(format!("s{step}"));
                format!("SAVEPOINT s{step}")
            }
            4 | 5 if !savepoints.is_empty() => {
                let savepoint = savepoints.choose(&mut random).context("there is one")?.clone();
                savepoints.truncate(savepoints.iter().position(|it| *it == savepoint).unwrap_or(0) + 1);
                format!("ROLLBACK TO {savepoint}")
            }
            6 if !savepoints.is_empty() => {
                let savepoint = savepoints.choose(&mut random).context("there is one")?.clone();
                savepoints.truncate(savepoints.iter().position(|it| *it == savepoint).unwrap_or(0));
                format!("RELEASE {savepoint}")
            }
            7 => format!("DELETE FROM t WHERE a BETWEEN {from} AND {to}"),
            8 => format!("UPDATE t SET c = c + {step} WHERE a BETWEEN {from} AND {to}"),
            9 => format!("INSERT INTO keyless SELECT {number}, 'k' FROM generate_series({from}, {to})"),
            _ => format!(
                "INSERT INTO t SELECT g, repeat(md5(g::text), 3), {step} FROM generate_series({from}, {to}) g ON CONFLICT (a) DO UPDATE SET b = excluded.b || 'x'"
            ),
        };
        client.batch_execute(&sql).await.with_context(|| sql.clone())?;
        if step % 50 == 49 {
            // Only what has committed is there, whatever is open.
            scenario.assert_equal().await?;
        }
    }
    for (client, _, open) in &sessions {
        if *open {
            client.batch_execute("COMMIT").await?;
        }
    }
    scenario.assert_equal().await?;
    assert_streamed(&scenario, 5).await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

/// With every single transaction streamed, change by change, under a load of every sort.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_which_everything_is_streamed_arrives() -> Result<()> {
    for version in [V16, V18] {
        let Some(pair) = streaming_everything(version).await? else { continue };
        let mut scenario = Scenario::on(&pair, "streaming_all").await?;
        Workload::prepare(&scenario.source).await?;
        let workload = Workload::start(&scenario.source, 4, 200);
        scenario.start().await?;
        let begun = workload.committed();
        eventually("the load goes on", patience(), async || {
            Ok((workload.committed() > begun + 500).then_some(()))
        })
        .await?;
        workload.stop().await?;
        scenario.assert_equal().await?;
        assert_streamed(&scenario, 300).await?;
        scenario.wait_for(TaskState::Incremental).await?;
        scenario.finish().await?;
    }
    Ok(())
}
