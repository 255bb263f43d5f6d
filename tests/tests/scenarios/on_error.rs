//! `on_error`: what the destination does not accept either stops the task with the reason, or is left out alone and kept.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{OnError, TaskSpec, TaskState};
use strait_tests::scenario::Scenario;
use strait_tests::wait::patience;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n int, v text);
     INSERT INTO t SELECT g, g, 'v' || g FROM generate_series(1, 10) g";

/// Started with `on_error: skip`.
async fn skipping(stem: &str, tables: &str) -> Result<Scenario> {
    let mut scenario = Scenario::new(stem).await?;
    scenario.source.run(tables).await?;
    let spec = TaskSpec { on_error: OnError::Skip.into(), ..scenario.spec() };
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    Ok(scenario)
}

/// Waits until the status tells so many conflicts of a table, and so many of them not applied.
async fn told(scenario: &Scenario, table: &str, conflicts: u64, not_applied: u64) -> Result<()> {
    scenario
        .tasks
        .wait_until(scenario.task_id(), "the table's conflicts are told", patience(), |task| {
            let stream = task.progress.as_ref().and_then(|progress| progress.stream.as_ref());
            let counted = stream.and_then(|stream| {
                stream
                    .table_conflicts
                    .iter()
                    .find(|counted| counted.table.as_ref().is_some_and(|it| it.name == table))
            });
            counted.is_some_and(|it| it.conflicts == conflicts && it.not_applied == not_applied)
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_is_not_accepted_is_left_out_and_kept() -> Result<()> {
    let scenario = skipping("on_error_skip", TABLE).await?;
    scenario
        .destination
        .run(
            "ALTER TABLE t ADD CONSTRAINT small CHECK (n < 1000), ALTER COLUMN v TYPE varchar(8),
                 ALTER COLUMN n SET NOT NULL;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF new.v = 'refused' THEN RAISE EXCEPTION 'not here'; END IF;
                 RETURN new;
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
             ALTER TABLE t ENABLE ALWAYS TRIGGER refuse",
        )
        .await?;
    // One transaction: what is right with it is applied, before, between and after what is not.
    scenario
        .source
        .run(
            "BEGIN;
             INSERT INTO t VALUES (11, 11, 'good');
             INSERT INTO t VALUES (12, 5000, 'check');
             UPDATE t SET v = 'good' WHERE id = 1;
             UPDATE t SET v = 'much too long' WHERE id = 2;
             INSERT INTO t VALUES (13, NULL, 'null');
             INSERT INTO t SELECT g, g, 'many' FROM generate_series(100, 700) g;
             UPDATE t SET v = 'refused' WHERE id = 3;
             DELETE FROM t WHERE id = 4;
             COMMIT",
        )
        .await?;
    scenario
        .assert_arrived(
            "SELECT id, n, v FROM t WHERE id < 100 AND id <> ALL ('{5,6,7,8,9,10}') ORDER BY id",
            "1|1|good\n2|2|v2\n3|3|v3\n11|11|good",
        )
        .await?;
    scenario.assert_arrived("SELECT count(*) FROM t WHERE v = 'many'", "601").await?;
    scenario
        .assert_arrived(
            "SELECT operation, reason, row_key, new_row ->> 'n', new_row ->> 'v', message LIKE '%SQLSTATE 2%'
                    OR message LIKE 'not here%'
               FROM strait.conflict ORDER BY row_key",
            "insert|not_applied|id=12|5000|check|t\ninsert|not_applied|id=13||null|t\n\
             update|not_applied|id=2|2|much too long|t\nupdate|not_applied|id=3|3|refused|t",
        )
        .await?;
    told(&scenario, "t", 4, 4).await?;
    // A row that is not there was counted when it was left out, and is again whenever it is missed.
    scenario.source.run("UPDATE t SET v = 'x' WHERE id = 12; UPDATE t SET n = 7 WHERE id = 1").await?;
    scenario.assert_arrived("SELECT n FROM t WHERE id = 1", "7").await?;
    scenario
        .assert_arrived(
            "SELECT reason, row_key FROM strait.conflict ORDER BY conflict_id DESC LIMIT 1",
            "row_missing|id=12",
        )
        .await?;
    told(&scenario, "t", 5, 4).await?;
    let events = scenario.tasks.events(scenario.task_id()).await?;
    ensure!(events.iter().any(|event| event.contains("does not accept")), "{events:?}");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_the_task_stops_with_the_reason_and_goes_on_once_it_is_mended() -> Result<()> {
    let mut scenario = Scenario::new("on_error_stop").await?;
    scenario.source.run(TABLE).await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("ALTER TABLE t ADD CONSTRAINT small CHECK (n < 1000)").await?;
    scenario.source.run("BEGIN; INSERT INTO t VALUES (11, 1, 'x'), (12, 5000, 'x'); COMMIT").await?;
    let task = scenario.wait_for(TaskState::Failed).await?;
    let failure = task.failure.context("a failed task has a failure")?;
    for word in ["public.t", "id=12", "constraint small", "23514"] {
        ensure!(failure.cause.contains(word), "{word}: {failure:?}");
    }
    ensure!(failure.remedy.contains("on_error: skip"), "{failure:?}");
    ensure!(scenario.destination.number("SELECT count(*) FROM t WHERE id > 10").await? == 0);
    scenario.destination.run("ALTER TABLE t DROP CONSTRAINT small").await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_raises_stops_the_task_and_is_not_tried_for_ever() -> Result<()> {
    let mut scenario = Scenario::new("on_error_trigger").await?;
    scenario.source.run(TABLE).await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario
        .destination
        .run(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not here'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse();
             ALTER TABLE t ENABLE ALWAYS TRIGGER refuse",
        )
        .await?;
    scenario.source.run("INSERT INTO t VALUES (11, 1, 'x')").await?;
    let failure = scenario.wait_for(TaskState::Failed).await?.failure.context("a failure")?;
    ensure!(failure.definite && failure.cause.contains("not here"), "{failure:?}");
    scenario.destination.run("DROP TRIGGER refuse ON t").await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_the_way_of_partial_expression_and_exclusion_indexes_are_removed() -> Result<()> {
    let mut scenario = Scenario::new("on_error_obstacle").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, n int, v text);
             CREATE UNIQUE INDEX partial ON t (lower(v)) WHERE n > 0;
             CREATE TABLE booking (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
             INSERT INTO t VALUES (1, 1, 'one'), (2, 1, 'two');
             INSERT INTO booking VALUES (1, '[1,10)'), (2, '[20,30)')",
        )
        .await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario
        .destination
        .run(
            "INSERT INTO t VALUES (100, 1, 'NEW'), (101, 1, 'Moved'), (102, -1, 'new');
             INSERT INTO booking VALUES (100, '[40,45)'), (101, '[45,50)'), (102, '[60,70)')",
        )
        .await?;
    for sql in [
        "INSERT INTO t VALUES (3, 1, 'new')",
        "UPDATE t SET v = 'moved' WHERE id = 2",
        "INSERT INTO booking VALUES (3, '[42,48)')",
        "UPDATE booking SET during = '[65,66)' WHERE id = 2",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario
        .assert_arrived("SELECT id, n, v FROM t ORDER BY id", "1|1|one\n2|1|moved\n3|1|new\n102|-1|new")
        .await?;
    scenario
        .assert_arrived("SELECT id, during FROM booking ORDER BY id", "1|[1,10)\n2|[65,66)\n3|[42,48)")
        .await?;
    scenario
        .assert_arrived(
            "SELECT table_name, reason, row_key, destination_row ->> 'id' FROM strait.conflict ORDER BY 1, 4",
            "booking|row_displaced|id=3|100\nbooking|row_displaced|id=3|101\nbooking|row_displaced|id=2|102\n\
             t|row_displaced|id=3|100\nt|row_displaced|id=2|101",
        )
        .await?;
    told(&scenario, "booking", 3, 0).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_rows_fault_is_never_skipped() -> Result<()> {
    let scenario = skipping("on_error_rights", TABLE).await?;
    // The row is right; that a function is gone is not its fault.
    scenario
        .destination
        .run(
            "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM missing(); RETURN new; END $$;
             CREATE TRIGGER gone BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION gone();
             ALTER TABLE t ENABLE ALWAYS TRIGGER gone",
        )
        .await?;
    scenario.source.run("INSERT INTO t VALUES (11, 1, 'x')").await?;
    scenario
        .tasks
        .wait_until(scenario.task_id(), "the failure is told", patience(), |task| {
            task.failure.as_ref().is_some_and(|failure| failure.cause.contains("missing()"))
        })
        .await?;
    ensure!(scenario.destination.number("SELECT count(*) FROM strait.conflict").await? == 0);
    scenario.destination.run("DROP TRIGGER gone ON t").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
