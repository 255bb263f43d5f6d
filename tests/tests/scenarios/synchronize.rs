//! Parts of a task: the schema, the rows that are there, later changes, each by itself and together.

use anyhow::{Result, ensure};
use strait_proto::v1::{ExistingTables, Synchronization, TaskSpec, TaskState};
use strait_tests::compare;
use strait_tests::pair::Pair;
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience};

const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('low', 'high');
    CREATE TABLE parent (id serial PRIMARY KEY, m mood DEFAULT 'low');
    CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent, note text);
    CREATE INDEX child_note ON child (note);
    CREATE TABLE loose (a int, b text)";
const ROWS: &str = "
    INSERT INTO parent (m) SELECT 'high' FROM generate_series(1, 500);
    INSERT INTO child SELECT g, g, 'n' || g FROM generate_series(1, 500) g;
    INSERT INTO loose SELECT g % 7, 'l' FROM generate_series(1, 500) g";
/// What the task leaves or makes at the source while it stands.
const CAPTURE: &str = "SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())
                            + (SELECT count(*) FROM pg_publication)";
const OBJECTS: &str = "
    SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1";

fn with(spec: TaskSpec, parts: &[Synchronization], existing: ExistingTables) -> TaskSpec {
    let synchronize = parts.iter().map(|part| (*part).into()).collect();
    TaskSpec { synchronize, existing_tables: existing.into(), ..spec }
}

/// Starts it as anybody would, without `once`, and waits for its end.
async fn finish_by_itself(scenario: &Scenario) -> Result<()> {
    scenario.tasks.start(scenario.task_id(), false).await?;
    let finished = scenario.wait_for(TaskState::Finished).await;
    scenario.explain(finished).await?;
    ensure!(scenario.source.number(CAPTURE).await? == 0, "a slot or a publication is left at the source");
    Ok(())
}

/// Neither needs anything of logical decoding: the source has none.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_alone_and_then_the_rows_alone_end_by_themselves() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let replica = ServerOptions::new(source).set("wal_level", "replica");
    let pair = Pair::of(replica, ServerOptions::new(destination)).await?;
    let mut scenario = Scenario::on(&pair, "parts").await?;
    scenario.source.run(SCHEMA).await?;
    scenario.source.run(ROWS).await?;
    let spec = with(scenario.spec(), &[Synchronization::Schema], ExistingTables::Fail);
    scenario.create_in_process(spec).await?;
    finish_by_itself(&scenario).await?;
    compare::assert_same_answer(&scenario.source, &scenario.destination, OBJECTS).await?;
    let rows =
        "SELECT (SELECT count(*) FROM parent) + (SELECT count(*) FROM child) + (SELECT count(*) FROM loose)";
    ensure!(scenario.destination.number(rows).await? == 0, "rows came with the schema");
    scenario.tasks.release(scenario.task_id()).await?;

    let spec = with(scenario.spec(), &[Synchronization::Full], ExistingTables::Proceed);
    scenario.create(spec).await?;
    finish_by_itself(&scenario).await?;
    compare::assert_equal(&scenario.source, &scenario.destination).await?;
    compare::assert_same_answer(&scenario.source, &scenario.destination, OBJECTS).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_and_rows_end_without_a_slot_and_with_keys_and_sequences() -> Result<()> {
    let mut scenario = Scenario::new("schema_full").await?;
    scenario.source.run(SCHEMA).await?;
    scenario.source.run(ROWS).await?;
    let parts = [Synchronization::Schema, Synchronization::Full];
    let spec = with(scenario.spec(), &parts, ExistingTables::Fail);
    scenario.create_in_process(spec).await?;
    finish_by_itself(&scenario).await?;
    scenario.source.run("INSERT INTO loose VALUES (-1, 'too late')").await?;
    compare::assert_same_answer(&scenario.source, &scenario.destination, OBJECTS).await?;
    let next = "SELECT last_value, is_called FROM parent_id_seq";
    compare::assert_same_answer(&scenario.source, &scenario.destination, next).await?;
    scenario.source.run("DELETE FROM loose WHERE a = -1").await?;
    compare::assert_equal(&scenario.source, &scenario.destination).await?;
    scenario.finish().await
}

/// No change will bring tables of two snapshots together, so they have to be of one, whatever dies.
#[tokio::test(flavor = "multi_thread")]
async fn rows_alone_are_of_one_snapshot_even_after_kill_9() -> Result<()> {
    let mut scenario = Scenario::new("one_snapshot").await?;
    for (table, rows) in [("first", 1_000), ("second", 80_000), ("third", 80_000)] {
        scenario.source.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY, v int, pad text)")).await?;
        let fill =
            format!("INSERT INTO {table} SELECT g, 0, repeat('x', 100) FROM generate_series(1, {rows}) g");
        scenario.source.run(&fill).await?;
    }
    let parts = [Synchronization::Schema, Synchronization::Full];
    let spec = with(scenario.spec(), &parts, ExistingTables::Fail);
    scenario.create_with_processes(spec).await?;
    scenario.tasks.start(scenario.task_id(), false).await?;
    for part in [Part::SourceAgent, Part::SinkAgent, Part::SourceAgent] {
        eventually("the copy is under way", patience(), async || {
            let state = scenario.task().await?.state();
            Ok(matches!(state, TaskState::FullSync | TaskState::Finished).then_some(()))
        })
        .await?;
        scenario.processes()?.kill(part).await?;
        scenario
            .source
            .run("UPDATE first SET v = v + 1; UPDATE second SET v = v + 1; UPDATE third SET v = v + 1")
            .await?;
        scenario.processes()?.start_again(part).await?;
        scenario.tasks.agents_connected().await?;
    }
    let finished = scenario.wait_for(TaskState::Finished).await;
    scenario.explain(finished).await?;
    let values = "SELECT count(DISTINCT v), count(*) FROM (TABLE first UNION ALL TABLE second UNION ALL TABLE third) AS rows";
    let found = scenario.destination.text(values).await?;
    ensure!(found == "1|161000", "values of more than one snapshot, or missing rows: {found}");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_alone_begin_where_the_task_begins() -> Result<()> {
    let mut scenario = Scenario::new("changes_alone").await?;
    scenario.source.run(SCHEMA).await?;
    scenario.source.run(ROWS).await?;
    let parts = [Synchronization::Schema, Synchronization::Incremental];
    let spec = with(scenario.spec(), &parts, ExistingTables::Fail);
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO loose VALUES (1000, 'new')").await?;
    scenario
        .source
        .run("INSERT INTO parent VALUES (1000, 'low'); INSERT INTO child VALUES (1000, 1000)")
        .await?;
    scenario.assert_arrived("SELECT count(*) FROM loose", "1").await?;
    scenario.assert_arrived("SELECT id FROM parent UNION ALL SELECT id FROM child", "1000\n1000").await?;
    scenario.tasks.release(scenario.task_id()).await?;

    // On tables that are equal: nothing is copied, and nothing that is there is touched.
    for database in [&scenario.source, &scenario.destination] {
        database.run("TRUNCATE parent, child, loose; INSERT INTO parent VALUES (1), (2)").await?;
    }
    let spec = with(scenario.spec(), &[Synchronization::Incremental], ExistingTables::Proceed);
    scenario.create(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("UPDATE parent SET m = 'high' WHERE id = 1; DELETE FROM parent WHERE id = 2").await?;
    scenario.source.run("INSERT INTO loose VALUES (1, 'x'), (1, 'x')").await?;
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0, "conflicts on equal tables");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_its_reason() -> Result<()> {
    let mut scenario = Scenario::new("senseless").await?;
    scenario.source.run("CREATE TABLE only_here (a int PRIMARY KEY)").await?;
    let spec = with(scenario.spec(), &[Synchronization::Full], ExistingTables::Proceed);
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    ensure!(task.state() == TaskState::PrecheckFailed, "{}", task.state());
    let items = format!("{:?}", task.precheck);
    ensure!(items.contains("leaves schema out") && items.contains("public.only_here"), "{items}");
    let senseless = with(scenario.spec(), &[Synchronization::Full], ExistingTables::Fail);
    let refused = scenario.tasks.create(senseless).await;
    let words = refused.err().map(|status| status.message().to_owned()).unwrap_or_default();
    ensure!(words.contains("synchronize") && words.contains("existing_tables: proceed"), "{words}");
    scenario.finish().await
}
