//! A long backlog is read in slices over SQL, a short one streamed, and nothing is lost, repeated or reordered where one
//! takes over from the other.

use std::time::Duration;

use anyhow::{Result, ensure};
use strait_proto::v1::{StreamMode, TaskState};
use strait_tests::pair::Pair;
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::tasks::stream_of;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, from_environment, patience};
use strait_tests::workload::Workload;

const TABLES: &str = "
    CREATE TABLE backlog (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, v text);
    CREATE TABLE backlog_keyless (n int, v text)";

/// Some 60 MB of log in small transactions: inserts, changes of earlier rows, deletes, rows without a key.
const BACKLOG: &str = "
    DO $$ BEGIN FOR i IN 1..25000 LOOP
        INSERT INTO backlog (id, v) SELECT coalesce(max(id), 0) + 1, repeat('b', 1500) FROM backlog;
        IF i % 3 = 0 THEN UPDATE backlog SET n = n + i WHERE id = i / 2; END IF;
        IF i % 7 = 0 THEN DELETE FROM backlog WHERE id = i / 3; END IF;
        IF i % 5 = 0 THEN INSERT INTO backlog_keyless VALUES (i % 10, 'same'); END IF;
        COMMIT;
    END LOOP; END $$";

async fn write_backlog(scenario: &Scenario) -> Result<()> {
    scenario
        .source
        .run_each(&["SET synchronous_commit = off", BACKLOG, "SET synchronous_commit = on"])
        .await?;
    // Makes the log visible as flushed.
    scenario.source.run("INSERT INTO backlog_keyless VALUES (0, 'end')").await
}

async fn pause(scenario: &Scenario) -> Result<()> {
    scenario.tasks.pause(scenario.task_id()).await?;
    Ok(())
}

async fn resume(scenario: &Scenario) -> Result<()> {
    scenario.tasks.resume(scenario.task_id()).await?;
    Ok(())
}

async fn reaches(scenario: &Scenario, mode: StreamMode) -> Result<()> {
    let waited = eventually(&format!("the task is in mode {mode:?}"), patience(), async || {
        let task = scenario.task().await?;
        Ok(stream_of(&task).is_ok_and(|stream| stream.mode() == mode).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

/// How often the source-agent's log says so.
fn said(scenario: &mut Scenario, words: &str) -> Result<usize> {
    Ok(scenario.processes()?.log(Part::SourceAgent).matches(words).count())
}

const TO_SLICES: &str = "working off a backlog in slices";
const TO_STREAM: &str = "changing to the stream";

#[tokio::test(flavor = "multi_thread")]
async fn a_long_backlog_is_read_in_slices_and_what_follows_is_streamed() -> Result<()> {
    // Of its own: another database's log is a backlog as well, as long as nobody has looked.
    let pair = Pair::own().await?;
    let mut scenario = Scenario::on(&pair, "catch_up").await?;
    scenario.source.run(TABLES).await?;
    Workload::prepare(&scenario.source).await?;
    scenario.start_processes().await?;
    reaches(&scenario, StreamMode::Streaming).await?;
    ensure!(said(&mut scenario, TO_SLICES)? == 0, "a short backlog was read in slices");

    pause(&scenario).await?;
    write_backlog(&scenario).await?;
    // Changes go on while the one takes over from the other.
    let workload = Workload::start(&scenario.source, 2, 200);
    resume(&scenario).await?;
    scenario.settle().await?;
    reaches(&scenario, StreamMode::Streaming).await?;
    workload.stop().await?;
    scenario.assert_equal().await?;
    // More than once where the machine is so slow that the writing makes another one.
    let (to_slices, to_stream) = (said(&mut scenario, TO_SLICES)?, said(&mut scenario, TO_STREAM)?);
    ensure!(to_slices > 0 && to_stream > 0, "{to_slices} times to slices, {to_stream} times to the stream");
    let copies = "SELECT count(*) FROM pg_replication_slots
                   WHERE slot_name LIKE '%catch\\_up' AND database = current_database()";
    ensure!(scenario.source.number(copies).await? == 0, "the copy of the slot is still there");
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

/// A stopped sink lets a backlog grow behind a stream that is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_grows_while_streaming_is_read_in_slices() -> Result<()> {
    let mut scenario = Scenario::new("catch_up_growing").await?;
    scenario.source.run(TABLES).await?;
    scenario.start_processes().await?;
    reaches(&scenario, StreamMode::Streaming).await?;
    // The destination's table is locked: nothing can be applied, and the stream fills up.
    let holder = scenario.destination.connect().await?;
    holder.batch_execute("BEGIN; LOCK TABLE backlog IN ACCESS EXCLUSIVE MODE").await?;
    for _ in 0..3 {
        write_backlog(&scenario).await?;
    }
    holder.batch_execute("ROLLBACK").await?;
    scenario.assert_equal().await?;
    reaches(&scenario, StreamMode::Streaming).await?;
    ensure!(said(&mut scenario, TO_SLICES)? > 0, "the backlog was streamed");
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_catching_up() -> Result<()> {
    let mut scenario = Scenario::new("catch_up_killed").await?;
    scenario.source.run(TABLES).await?;
    scenario.start_processes().await?;
    for round in 0..from_environment("STRAIT_TEST_KILLS", 3) {
        pause(&scenario).await?;
        write_backlog(&scenario).await?;
        resume(&scenario).await?;
        let before = said(&mut scenario, TO_SLICES)?;
        eventually("the backlog is being read in slices", patience(), async || {
            Ok((said(&mut scenario, TO_SLICES)? > before).then_some(()))
        })
        .await?;
        // Anywhere in its course, which takes a few seconds.
        tokio::time::sleep(Duration::from_millis(150 * (round % 12))).await;
        let part = if round % 2 == 0 { Part::SourceAgent } else { Part::SinkAgent };
        scenario.processes()?.kill(part).await?;
        scenario.processes()?.start_again(part).await?;
        scenario.settle().await?;
        scenario.wait_for(TaskState::Incremental).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

/// Larger than a slice, rolled back in part or as a whole, beside one that is still open: what a slice brings of a transaction
/// that it does not end counts for nothing, and the transaction comes again.
#[tokio::test(flavor = "multi_thread")]
async fn large_transactions_of_a_backlog_arrive_once_with_their_commits() -> Result<()> {
    // Of its own: nobody else's slot has to wait for the transaction that stays open.
    let pair = Pair::own().await?;
    let mut scenario = Scenario::on(&pair, "catch_up_large").await?;
    let name = scenario.source.name();
    scenario.source.run(&format!("ALTER DATABASE {name} SET logical_decoding_work_mem = '64kB'")).await?;
    scenario.source.run(TABLES).await?;
    scenario.start_processes().await?;
    reaches(&scenario, StreamMode::Streaming).await?;
    pause(&scenario).await?;
    let holder = scenario.source.connect().await?;
    holder
        .batch_execute("BEGIN; INSERT INTO backlog_keyless SELECT g, 'open' FROM generate_series(1, 20000) g")
        .await?;
    let insert = "INSERT INTO backlog (id, v) SELECT g, repeat('l', 400) FROM generate_series";
    scenario
        .source
        .run_each(&[
            &format!(
                "BEGIN; {insert}(1, 50000) g; SAVEPOINT s; UPDATE backlog SET n = 1 WHERE id % 3 = 0; ROLLBACK TO s;
                 DELETE FROM backlog WHERE id % 5 = 0; COMMIT"
            ),
            "DO $$ BEGIN FOR i IN 1..200 LOOP INSERT INTO backlog_keyless VALUES (i % 3, 'small'); COMMIT; END LOOP; END $$",
            &format!("BEGIN; {insert}(100001, 120000) g; TRUNCATE backlog; ROLLBACK"),
            "UPDATE backlog SET n = n + 1 WHERE id % 2 = 0",
            "INSERT INTO backlog_keyless VALUES (0, 'end')",
        ])
        .await?;
    resume(&scenario).await?;
    scenario.assert_arrived("SELECT count(*) FROM backlog_keyless WHERE v = 'end'", "1").await?;
    scenario.assert_arrived("SELECT count(*) FROM backlog_keyless WHERE v = 'open'", "0").await?;
    holder.batch_execute("UPDATE backlog SET n = -1 WHERE id = 1; COMMIT").await?;
    scenario.assert_equal().await?;
    ensure!(said(&mut scenario, TO_SLICES)? > 0, "the backlog was streamed");
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

/// The slot itself moves by what is durable and by nothing else, in this mode too.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_never_passes_the_durable_checkpoint_while_catching_up() -> Result<()> {
    let mut scenario = Scenario::new("catch_up_slot").await?;
    scenario.source.run(TABLES).await?;
    scenario.start_processes().await?;
    pause(&scenario).await?;
    write_backlog(&scenario).await?;
    resume(&scenario).await?;
    let slot = format!(
        "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'dts_sync_{}'",
        scenario.task_id()
    );
    let arrived = "SELECT count(*) FROM backlog_keyless WHERE v = 'end'";
    eventually("the backlog is worked off", patience(), async || {
        let confirmed = scenario.source.number(&slot).await?;
        // Read afterwards: the checkpoint only grows.
        let durable =
            scenario.destination.number("SELECT applied_lsn - '0/0' FROM strait.checkpoint").await?;
        ensure!(confirmed <= durable, "the slot confirmed {confirmed}, the checkpoint holds {durable}");
        Ok((scenario.destination.number(arrived).await? > 0).then_some(()))
    })
    .await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

/// The copy needs a slot of its own: without one the backlog is streamed, and the task says so.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_free_slot_the_backlog_is_streamed() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let source = ServerOptions::new(source).set("max_replication_slots", "1");
    let pair = Pair::of(source, ServerOptions::new(destination)).await?;
    let mut scenario = Scenario::on(&pair, "catch_up_no_slot").await?;
    scenario.source.run(TABLES).await?;
    scenario.start_processes().await?;
    pause(&scenario).await?;
    write_backlog(&scenario).await?;
    resume(&scenario).await?;
    scenario.assert_equal().await?;
    reaches(&scenario, StreamMode::Streaming).await?;
    let events = scenario.tasks.events(scenario.task_id()).await?;
    ensure!(events.iter().any(|event| event.contains("no free replication slot")), "{events:#?}");
    scenario.finish().await
}

/// A transaction that stays open makes every slice read the same log again: it is left to the stream.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes half a gigabyte: part of the soak"]
async fn behind_a_transaction_that_stays_open_the_backlog_is_streamed() -> Result<()> {
    let mut scenario = Scenario::new("catch_up_pinned").await?;
    scenario.source.run(TABLES).await?;
    scenario.start_processes().await?;
    pause(&scenario).await?;
    let holder = scenario.source.connect().await?;
    holder.batch_execute("BEGIN; INSERT INTO backlog_keyless VALUES (-1, 'open')").await?;
    for _ in 0..8 {
        write_backlog(&scenario).await?;
    }
    resume(&scenario).await?;
    scenario.settle().await?;
    holder.batch_execute("COMMIT").await?;
    scenario.assert_equal().await?;
    ensure!(
        said(&mut scenario, "a transaction is open for long")? > 0,
        "slices read the same log again and again"
    );
    scenario.finish().await
}
