//! Independent keys are applied at once, and nobody can tell in the end: not from the rows, not after a crash between two
//! lanes, not from what a process that was thought dead still does.

use anyhow::{Result, ensure};
use strait_proto::v1::{ApplyPolicy, CreateTaskRequest, TaskSpec, TaskState};
use strait_tests::processes::{Part, Signal};
use strait_tests::scenario::Scenario;
use strait_tests::server::free_port;
use strait_tests::wait::{eventually, from_environment, patience};
use tokio_postgres::Client;

const LOAD: &str = include_str!("../../sql/lanes.sql");

fn with_lanes(spec: TaskSpec, lanes: u32) -> TaskSpec {
    TaskSpec { apply: Some(ApplyPolicy { lanes }), ..spec }
}

/// Waits until batches have been applied in lanes: statistics count every line, those of transactions that were rolled back
/// too.
async fn lanes_were_used(scenario: &Scenario) -> Result<()> {
    let lines = "SELECT n_tup_ins FROM pg_stat_all_tables WHERE relid = 'strait.lane'::regclass";
    let waited = eventually("a batch is applied in lanes", patience(), async || {
        Ok((scenario.destination.number(lines).await? > 0).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

/// A row that was committed last may be visible first: what says that all has arrived is the position.
async fn assert_equal(scenario: &Scenario) -> Result<()> {
    let position = scenario.source.wal_position().await?;
    let reached =
        format!("SELECT count(*) FROM strait.checkpoint WHERE applied_lsn - '0/0'::pg_lsn >= {position}");
    let waited = eventually("the position is reached", patience(), async || {
        Ok((scenario.destination.number(&reached).await? == 1).then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.assert_equal().await
}

/// Nothing is applied in part.
async fn assert_no_lines(scenario: &Scenario) -> Result<()> {
    let lines = scenario.destination.number("SELECT count(*) FROM strait.lane").await?;
    ensure!(lines == 0, "{lines} lines of lanes are left");
    Ok(())
}

/// Before keys between tables stand and are validated, batches are applied whole.
async fn foreign_keys_done(scenario: &Scenario) -> Result<()> {
    scenario.foreign_keys_arrived().await?;
    eventually("foreign keys are validated", patience(), async || {
        let open = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated";
        let undone = "SELECT count(*) FROM strait.foreign_key WHERE state <> 'done'";
        let destination = &scenario.destination;
        Ok((destination.number(open).await? + destination.number(undone).await? == 0).then_some(()))
    })
    .await
}

/// A mixed load that arrives as one backlog after another.
async fn equal_with(lanes: u32) -> Result<()> {
    let mut scenario = Scenario::new(&format!("lanes_{lanes}")).await?;
    scenario.source.run(LOAD).await?;
    let spec = with_lanes(scenario.spec(), lanes);
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    foreign_keys_done(&scenario).await?;
    for _ in 0..2 {
        scenario.tasks.pause(scenario.task_id()).await?;
        scenario.source.run("CALL lanes.load(1500)").await?;
        scenario.tasks.resume(scenario.task_id()).await?;
        assert_equal(&scenario).await?;
    }
    if lanes > 1 {
        lanes_were_used(&scenario).await?;
    }
    assert_no_lines(&scenario).await?;
    ensure!(scenario.conflicts().await? == 0, "a change met what the source did not have");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lane_is_equal() -> Result<()> {
    equal_with(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lanes_are_equal() -> Result<()> {
    equal_with(2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn four_lanes_are_equal() -> Result<()> {
    equal_with(4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_lanes_are_equal() -> Result<()> {
    equal_with(8).await
}

/// What a row gives up is not in the source's log: the partition cannot see that two rows are tied by it.
#[tokio::test(flavor = "multi_thread")]
async fn unique_values_go_from_lane_to_lane() -> Result<()> {
    let mut scenario = Scenario::new("lanes_unique").await?;
    scenario
        .source
        .run(
            "CREATE TABLE places (id int PRIMARY KEY, k int UNIQUE);
             INSERT INTO places SELECT g, g FROM generate_series(1, 3000) g",
        )
        .await?;
    let spec = with_lanes(scenario.spec(), 4);
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    for sql in [
        // Exchanged in pairs.
        "UPDATE places SET k = NULL WHERE id <= 1500;
         UPDATE places SET k = id - 1500 WHERE id > 1500;
         UPDATE places SET k = id + 1500 WHERE id <= 1500",
        // Given up by a row that goes, taken by one that comes.
        "CREATE TEMPORARY TABLE gone AS SELECT id, k FROM places WHERE id % 3 = 0;
         DELETE FROM places WHERE id % 3 = 0;
         INSERT INTO places SELECT id + 10000, k FROM gone",
        // Moved along by one.
        "UPDATE places SET k = -k;
         UPDATE places SET k = 1 - k",
    ] {
        scenario.source.run(&format!("BEGIN; {sql}; COMMIT")).await?;
        assert_equal(&scenario).await?;
    }
    lanes_were_used(&scenario).await?;
    let told = scenario.tasks.events(scenario.task_id()).await?.join("\n");
    ensure!(told.contains("row by row"), "no lane was refused: {told}");
    ensure!(scenario.conflicts().await? == 0, "a row was displaced");
    scenario.finish().await
}

/// Rows of a keyless table go to the first lane, since they are the largest group; row 1 of `t` to another one.
const HALVES: &str = "CREATE TABLE t (id int PRIMARY KEY, v int);
     CREATE TABLE keyless (a int, v text);
     INSERT INTO t SELECT g, 0 FROM generate_series(1, 4000) g";
const CHANGE_HALVES: &str =
    "BEGIN; UPDATE t SET v = v + 1; INSERT INTO keyless SELECT 7, 'same' FROM generate_series(1, 1000);
     DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless LIMIT 10); COMMIT";

/// Four lanes have begun a batch; three have committed, and the one with row 1 waits for the client that this returns.
async fn between_lanes(scenario: &mut Scenario) -> Result<Client> {
    scenario.source.run(HALVES).await?;
    let spec = with_lanes(scenario.spec(), 4);
    scenario.create_with_processes(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    let blocker = scenario.destination.server().connect(scenario.destination.name()).await?;
    blocker.batch_execute("BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE").await?;
    scenario.source.run(CHANGE_HALVES).await?;
    let waited = eventually("three lanes have committed and one waits", patience(), async || {
        let committed = "SELECT count(DISTINCT lane) FROM strait.lane";
        let waiting = "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name LIKE 'strait-sink%' AND wait_event_type = 'Lock'";
        let destination = &scenario.destination;
        let between = destination.number(committed).await? == 3 && destination.number(waiting).await? == 1;
        Ok(between.then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    // That of the first lane has the rows without a key.
    let keyless = scenario.destination.number("SELECT count(*) FROM keyless").await?;
    let changed = scenario.destination.number("SELECT count(*) FROM t WHERE v = 1").await?;
    ensure!(keyless == 990 && changed > 0 && changed < 4000, "{keyless} {changed}");
    Ok(blocker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_lanes_is_completed_with_another_number_of_lanes() -> Result<()> {
    for lanes in [1, 2, 8] {
        let mut scenario = Scenario::new("lanes_crash").await?;
        let blocker = between_lanes(&mut scenario).await?;
        let task_id = scenario.task_id().to_owned();
        for part in Part::ALL {
            scenario.processes()?.kill(part).await?;
        }
        let lines = scenario.destination.number("SELECT count(DISTINCT lane) FROM strait.lane").await?;
        ensure!(lines == 3, "{lines} lanes have committed");
        // More of the same table, so that what is completed is not all that arrives.
        scenario.source.run(CHANGE_HALVES).await?;
        // A coordinator that has forgotten the task takes another number.
        scenario.processes()?.lose_store()?;
        for part in Part::ALL {
            scenario.processes()?.start_again(part).await?;
        }
        scenario.tasks.agents_connected().await?;
        let spec = Some(with_lanes(scenario.spec(), lanes));
        scenario
            .tasks
            .create_with(CreateTaskRequest { spec, task_id, ..CreateTaskRequest::default() })
            .await?;
        scenario.tasks.start(scenario.task_id(), false).await?;
        blocker.batch_execute("ROLLBACK").await?;
        scenario.wait_for(TaskState::Incremental).await?;
        assert_equal(&scenario).await?;
        assert_no_lines(&scenario).await?;
        ensure!(scenario.conflicts().await? == 0);
        scenario.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_sink_agent_that_wakes_up_between_two_lanes_disturbs_nothing() -> Result<()> {
    let mut scenario = Scenario::new("lanes_frozen").await?;
    let blocker = between_lanes(&mut scenario).await?;
    let epoch = scenario.task().await?.epoch;
    scenario.processes()?.signal(Part::SinkAgent, Signal::Stop).await?;
    let mut layout = scenario.layout().clone();
    layout.sink_port = free_port()?;
    layout.source_to_sink = layout.sink_port;
    scenario.processes()?.start_beside(Part::SinkAgent, &layout).await?;
    eventually("the replacement is assigned", patience(), async || {
        let task = scenario.task().await?;
        Ok((task.epoch > epoch && task.state() == TaskState::Incremental).then_some(()))
    })
    .await?;
    blocker.batch_execute("ROLLBACK").await?;
    scenario.settle().await?;
    scenario.processes()?.signal(Part::SinkAgent, Signal::Continue).await?;
    scenario.source.run(CHANGE_HALVES).await?;
    assert_equal(&scenario).await?;
    scenario.processes()?.kill(Part::SinkAgent).await?;
    assert_no_lines(&scenario).await?;
    scenario.finish().await
}

/// What stands in the server, whatever a client believes.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_lets_nobody_into_or_past_a_batch_who_does_not_hold_it() -> Result<()> {
    let mut scenario = Scenario::new("lanes_fence").await?;
    let _blocker = between_lanes(&mut scenario).await?;
    let destination = &scenario.destination;
    let held = "SELECT strait.hold_lane(task_id, epoch, nonce, applied_lsn) FROM strait.checkpoint";
    destination.run(held).await?;
    let hold = |arguments: &str| format!("SELECT strait.hold_lane({arguments}) FROM strait.checkpoint");
    let advance =
        "SELECT strait.advance(task_id, epoch, nonce, applied_lsn, applied_lsn + 1) FROM strait.checkpoint";
    for (sql, reason) in [
        (hold("task_id, epoch - 1, nonce, applied_lsn"), "no longer holds"),
        (hold("task_id, epoch, gen_random_uuid(), applied_lsn"), "no longer holds"),
        (hold("task_id, epoch, nonce, applied_lsn + 1"), "no longer holds"),
        (advance.to_owned(), "a part of a batch"),
    ] {
        let error = destination.run(&sql).await.expect_err(&sql);
        ensure!(format!("{error:#}").contains(reason), "{sql}: {error:#}");
    }
    _blocker.batch_execute("ROLLBACK").await?;
    assert_equal(&scenario).await?;
    scenario.finish().await
}

/// `STRAIT_TEST_KILLS` says how often.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_agent_killed_again_and_again_while_lanes_apply_loses_and_repeats_nothing() -> Result<()> {
    let mut scenario = Scenario::new("lanes_killed").await?;
    scenario.source.run(LOAD).await?;
    let spec = with_lanes(scenario.spec(), 4);
    scenario.create_with_processes(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    foreign_keys_done(&scenario).await?;
    let position = "SELECT applied_lsn FROM strait.checkpoint";
    let mut within = 0;
    for round in 1..=from_environment("STRAIT_TEST_KILLS", 5) {
        let before = scenario.destination.text(position).await?;
        // A backlog, so that there is something for lanes.
        scenario.processes()?.kill(Part::SinkAgent).await?;
        scenario.source.run("CALL lanes.load(1500)").await?;
        scenario.processes()?.start_again(Part::SinkAgent).await?;
        // By turns as soon as a lane has committed, and once the position moves.
        eventually("the backlog is being applied", patience(), async || {
            let lines = scenario.destination.number("SELECT count(*) FROM strait.lane").await?;
            let moved = scenario.destination.text(position).await? != before;
            Ok((moved || (lines > 0 && round % 2 == 0)).then_some(()))
        })
        .await?;
        scenario.processes()?.kill(Part::SinkAgent).await?;
        let lines = scenario.destination.number("SELECT count(*) FROM strait.lane").await?;
        within += u64::from(lines > 0);
        scenario.processes()?.start_again(Part::SinkAgent).await?;
        if round % 3 == 0 {
            assert_equal(&scenario).await?;
        }
    }
    eprintln!("{within} kills left a batch applied in part");
    assert_equal(&scenario).await?;
    lanes_were_used(&scenario).await?;
    assert_no_lines(&scenario).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.finish().await
}
