//! Sources before PostgreSQL 14 do not stream logical messages, and 12 publishes no partitioned tables: what stands in
//! for both is as good, and leaves nothing behind either.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{PrecheckOutcome, TaskState};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::tasks::Tasks;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience};

/// The oldest source, with a destination that needs no download.
async fn pair() -> Result<Option<Pair>> {
    Pair::of_versions(PgVersion::V12, PgVersion::installed().unwrap_or(PgVersion::V15)).await
}

async fn latency_is_measured(tasks: &Tasks, task: &str) -> Result<()> {
    let measured = |task: &strait_proto::v1::Task| {
        let stream = task.progress.as_ref().and_then(|progress| progress.stream.as_ref());
        stream.is_some_and(|stream| stream.latency_us > 0 && stream.confirmed_flush_lsn > 0)
    };
    tasks.wait_until(task, "the heartbeat comes back", patience(), measured).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeats_table_is_shared_and_goes_with_the_last_task() -> Result<()> {
    let Some(pair) = pair().await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "heartbeat").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    scenario.start().await?;

    let second = Database::create(&pair.destination, "second").await?;
    let mut spec = scenario.spec();
    spec.name = "second".into();
    spec.destination.as_mut().context("a destination")?.database = second.name().to_owned();
    let other = scenario.tasks.create(spec).await?.task_id;
    scenario.tasks.start(&other, false).await?;
    scenario.tasks.wait_for(&other, TaskState::Incremental, patience()).await?;

    latency_is_measured(&scenario.tasks, scenario.task_id()).await?;
    latency_is_measured(&scenario.tasks, &other).await?;
    ensure!(scenario.source.number("SELECT count(*) FROM strait.heartbeat").await? == 2);
    scenario.assert_arrived("SELECT to_regclass('strait.heartbeat') IS NULL", "t").await?;
    let task = scenario.task().await?;
    ensure!(!task.objects.iter().any(|object| object.schema == "strait"), "{:?}", task.objects);

    scenario.tasks.release(&other).await?;
    ensure!(scenario.source.number("SELECT count(*) FROM strait.heartbeat").await? == 1);
    scenario.source.run("INSERT INTO t VALUES (2)").await?;
    scenario.assert_equal().await?;
    // Sees that the schema is gone.
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_into_the_schema_stays() -> Result<()> {
    let Some(pair) = pair().await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "kept").await?;
    scenario.source.run("CREATE SCHEMA strait; CREATE TABLE strait.checkpoint (theirs text)").await?;
    scenario.source.run("INSERT INTO strait.checkpoint VALUES ('kept')").await?;
    scenario.start().await?;
    scenario.settle().await?;
    ensure!(scenario.source.number("SELECT count(*) FROM strait.heartbeat").await? == 1);
    scenario.tasks.release(scenario.task_id()).await?;
    let left = "SELECT theirs, to_regclass('strait.heartbeat') IS NULL FROM strait.checkpoint";
    ensure!(scenario.source.text(left).await? == "kept|t");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeats_table_of_another_role_fails_the_precheck() -> Result<()> {
    let Some(pair) = pair().await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "foreign").await?;
    let database = scenario.source.name();
    let sql = format!(
        "CREATE ROLE mover LOGIN REPLICATION; GRANT CREATE ON DATABASE {database} TO mover;
         ALTER TABLE public.fence OWNER TO mover; CREATE SCHEMA strait;
         CREATE TABLE strait.heartbeat (task_id text PRIMARY KEY, content text NOT NULL)"
    );
    scenario.source.run(&sql).await?;
    let uri = scenario.source.uri().replace("//postgres@", "//mover@");
    scenario.layout().source_uri = uri;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let failed: Vec<_> =
        task.precheck.iter().filter(|item| item.outcome() == PrecheckOutcome::Failed).collect();
    ensure!(
        failed.iter().any(|item| item.name == "source.heartbeat_table" && item.remedy.contains("GRANT")),
        "{failed:#?}"
    );
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn once_ends_at_a_mark_in_the_table() -> Result<()> {
    let Some(pair) = pair().await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "once").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Finished).await?;
    ensure!(scenario.destination.number("SELECT count(*) FROM t").await? == 1);
    scenario.finish().await
}

/// Schema `strait` of the database in the middle holds the progress of one task and the heartbeat of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_may_be_the_destination_of_one_task_and_the_source_of_another() -> Result<()> {
    let Some(pair) = pair().await? else { return Ok(()) };
    let [first, middle, last] = [
        Database::create(&pair.source, "first").await?,
        Database::create(&pair.source, "middle").await?,
        Database::create(&pair.source, "last").await?,
    ];
    let mut scenario = Scenario::between(first, middle).await?;
    scenario.destination.run("CREATE TABLE own (a int PRIMARY KEY)").await?;
    let spec = scenario.spec();
    let mut onwards = spec.clone();
    scenario.create_in_process(spec).await?;

    onwards.name = "onwards".into();
    onwards.source.as_mut().context("a source")?.database = scenario.destination.name().to_owned();
    onwards.destination.as_mut().context("a destination")?.database = last.name().to_owned();
    let onwards = scenario.tasks.create(onwards).await?.task_id;
    scenario.tasks.start(&onwards, false).await?;
    scenario.tasks.wait_for(&onwards, TaskState::Incremental, patience()).await?;

    // The heartbeat's table is there before the progress is.
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    scenario.destination.run("INSERT INTO own VALUES (1)").await?;
    eventually("the second task goes on", patience(), async || {
        Ok((last.number("SELECT count(*) FROM own").await? == 1).then_some(()))
    })
    .await?;
    scenario.tasks.release(&onwards).await?;
    scenario.settle().await?;
    scenario.finish().await
}

const TREE: &str = "
    CREATE TABLE p (a int PRIMARY KEY, b text) PARTITION BY LIST (a);
    CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1, 2);
    CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (3, 4) PARTITION BY LIST (a);
    CREATE TABLE p_2_1 PARTITION OF p_2 FOR VALUES IN (3);
    INSERT INTO p VALUES (1, 'copied'), (3, 'copied')";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_is_published_while_it_is_empty() -> Result<()> {
    let Some(pair) = pair().await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "leaf").await?;
    scenario.source.run(TREE).await?;
    scenario.start().await?;
    // A transaction that is older than the partition and outlives its publishing.
    let straddling = scenario.source.connect().await?;
    straddling.batch_execute("BEGIN; INSERT INTO fence VALUES (-1)").await?;
    scenario.source.run("CREATE TABLE p_2_2 PARTITION OF p_2 FOR VALUES IN (4)").await?;
    eventually("the new partition is published", patience(), async || {
        let published = "SELECT count(*) FROM pg_publication_tables WHERE tablename = 'p_2_2'";
        Ok((scenario.source.number(published).await? == 1).then_some(()))
    })
    .await?;
    straddling.batch_execute("INSERT INTO p VALUES (4, 'straddling'); COMMIT").await?;
    scenario.assert_equal().await?;
    for sql in [
        "INSERT INTO p VALUES (2, 'streamed')",
        "UPDATE p SET b = 'changed' WHERE a IN (3, 4)",
        // Between leaves, into the new one and out of it.
        "BEGIN; DELETE FROM p WHERE a = 2; UPDATE p SET a = 2 WHERE a = 4; COMMIT",
        "UPDATE p SET a = 4 WHERE a = 3",
    ] {
        scenario.source.run(sql).await?;
        scenario.assert_equal().await?;
    }
    scenario.source.run("TRUNCATE p_2_2").await?;
    scenario.assert_arrived("SELECT a FROM p ORDER BY a", "1\n2").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_filled_before_it_is_published_makes_its_table_begin_over() -> Result<()> {
    let Some(pair) = pair().await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "filled").await?;
    scenario.source.run(TREE).await?;
    scenario.start().await?;
    let filled = "BEGIN; CREATE TABLE p_2_2 PARTITION OF p_2 FOR VALUES IN (4); INSERT INTO p VALUES (4, 'unseen'); COMMIT";
    scenario.source.run(filled).await?;
    let generation = "SELECT generation FROM strait.table_state WHERE table_name = 'p' AND task_id NOT LIKE '%join' AND phase = 'ready'";
    eventually("the partition's rows are there", patience(), async || {
        let unseen = scenario.destination.text("SELECT b FROM p WHERE a = 4").await?;
        Ok((unseen == "unseen" && !scenario.destination.text(generation).await?.is_empty()).then_some(()))
    })
    .await?;
    scenario.source.run("UPDATE p SET b = 'seen' WHERE a = 4").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
