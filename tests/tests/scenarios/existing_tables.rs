//! Tables that stand at the destination before the task: refused, or used as they are.

use anyhow::{Result, ensure};
use strait_proto::v1::{ExistingTables, PrecheckOutcome, TaskSpec, TaskState};
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

fn proceeding(spec: TaskSpec) -> TaskSpec {
    TaskSpec { existing_tables: ExistingTables::Proceed.into(), ..spec }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_keeps_the_destinations_rows_and_changes_overwrite_them() -> Result<()> {
    let mut scenario = Scenario::new("proceed").await?;
    let keyed = r#"CREATE TABLE "Kept ""1""" (id int PRIMARY KEY, v text, g int GENERATED ALWAYS AS (id * 2) STORED)"#;
    scenario.source.run(keyed).await?;
    scenario
        .source
        .run(r#"INSERT INTO "Kept ""1""" VALUES (1, 'source'), (2, 'source'), (3, 'source')"#)
        .await?;
    scenario.source.run("CREATE TABLE loose (a int); INSERT INTO loose VALUES (1), (1), (2)").await?;
    scenario.source.run("CREATE TABLE fresh (a int PRIMARY KEY); INSERT INTO fresh VALUES (1)").await?;
    let destination = &scenario.destination;
    destination
        .run(r#"CREATE TABLE "Kept ""1""" (note text DEFAULT 'own', v text, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, g int)"#)
        .await?;
    destination
        .run(r#"INSERT INTO "Kept ""1""" (id, v) OVERRIDING SYSTEM VALUE VALUES (1, 'destination'), (9, 'destination')"#)
        .await?;
    destination.run("CREATE TABLE loose (a int); INSERT INTO loose VALUES (1)").await?;
    let spec = proceeding(scenario.spec());
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let item = task.precheck.iter().find(|item| item.name == "destination.existing_tables");
    let told = format!("{item:?}");
    ensure!(item.is_some_and(|item| item.outcome() == PrecheckOutcome::Warning), "{told}");
    ensure!(told.contains("loose") && told.contains("copied rows are added"), "{told}");
    scenario.run_until(TaskState::Incremental).await?;

    let rows = r#"SELECT id, v, note FROM "Kept ""1""" ORDER BY id"#;
    let wanted = "1|destination|own\n2|source|own\n3|source|own\n9|destination|own";
    scenario.assert_arrived(rows, wanted).await?;
    scenario.assert_arrived("SELECT a, count(*) FROM loose GROUP BY a ORDER BY a", "1|3\n2|1").await?;
    scenario.assert_arrived("SELECT a FROM fresh", "1").await?;

    scenario
        .source
        .run(r#"UPDATE "Kept ""1""" SET v = 'later' WHERE id = 1; DELETE FROM "Kept ""1""" WHERE id = 2"#)
        .await?;
    scenario.source.run(r#"INSERT INTO "Kept ""1""" VALUES (9, 'later')"#).await?;
    scenario.assert_arrived(rows, "1|later|own\n3|source|own\n9|later|own").await?;
    // What stood before has no more than before: no constraint, no index.
    let keys =
        "SELECT count(*) FROM pg_index WHERE indrelid IN ('loose'::regclass, '\"Kept \"\"1\"\"\"'::regclass)";
    scenario.assert_arrived(keys, "1").await?;
    scenario.finish().await
}

/// Whatever dies, a row of the source is copied once: the rows of another snapshot are not mixed in.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_rows_are_merged_loses_and_repeats_nothing() -> Result<()> {
    let mut scenario = Scenario::new("proceed_kill").await?;
    scenario.source.run("CREATE TABLE keyed (id int PRIMARY KEY, v int)").await?;
    scenario.source.run("CREATE TABLE loose (id int, pad text)").await?;
    scenario.source.run("INSERT INTO keyed SELECT g, 0 FROM generate_series(1, 60000) g").await?;
    scenario
        .source
        .run("INSERT INTO loose SELECT g, repeat('x', 200) FROM generate_series(1, 60000) g")
        .await?;
    scenario
        .destination
        .run("CREATE TABLE keyed (id int PRIMARY KEY, v int); CREATE TABLE loose (id int, pad text)")
        .await?;
    scenario.destination.run("INSERT INTO keyed VALUES (-1, -1)").await?;
    let spec = proceeding(scenario.spec());
    scenario.create_with_processes(spec).await?;
    scenario.tasks.start(scenario.task_id(), false).await?;
    for (round, part) in [Part::SourceAgent, Part::SinkAgent, Part::SourceAgent].into_iter().enumerate() {
        let phase = |state| matches!(state, TaskState::FullSync | TaskState::Incremental);
        eventually("the copy is under way", patience(), async || {
            Ok(phase(scenario.task().await?.state()).then_some(()))
        })
        .await?;
        scenario.processes()?.kill(part).await?;
        scenario.source.run(&format!("UPDATE keyed SET v = v + 1 WHERE id % 3 = {round}")).await?;
        scenario.source.run(&format!("DELETE FROM keyed WHERE id = {}", round + 100)).await?;
        scenario.processes()?.start_again(part).await?;
        scenario.tasks.agents_connected().await?;
    }
    scenario.wait_for(TaskState::Incremental).await?;
    for query in [
        "SELECT count(*), sum(v), sum(id) FROM keyed WHERE id > 0",
        "SELECT count(*), count(DISTINCT id) FROM loose",
    ] {
        scenario.assert_same_answer(query).await?;
    }
    scenario.assert_arrived("SELECT v FROM keyed WHERE id < 0", "-1").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_take_the_rows_is_told_before() -> Result<()> {
    let mut scenario = Scenario::new("proceed_unfit").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.source.run("CREATE TABLE v (a int PRIMARY KEY)").await?;
    scenario
        .destination
        .run("CREATE TABLE t (a bigint, must text NOT NULL); CREATE VIEW v AS SELECT 1 AS a")
        .await?;
    let spec = proceeding(scenario.spec());
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    ensure!(task.state() == TaskState::PrecheckFailed, "{}", task.state());
    let item = task.precheck.iter().find(|item| item.name == "destination.existing_tables");
    let told = item.map(|item| item.cause.clone()).unwrap_or_default();
    for words in [
        r#""public"."t" has no column "b""#,
        r#"nothing fills column "must", which is NOT NULL"#,
        r#"column "a" is bigint there and integer at the source"#,
        "has no primary or unique key",
        r#""public"."v" is not a table"#,
    ] {
        ensure!(told.contains(words), "{words} is missing in: {told}");
    }
    scenario.finish().await
}
