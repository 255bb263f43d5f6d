//! The whole way: schema, rows, changes, release, while the source keeps being written to.

use anyhow::{Result, ensure};
use strait_proto::v1::{CreateTaskRequest, ObjectPattern, ObjectSelection, TaskState};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};
use strait_tests::workload::Workload;

#[tokio::test(flavor = "multi_thread")]
async fn a_written_database_is_synchronised_in_one_process() -> Result<()> {
    let mut scenario = Scenario::new("spine_library").await?;
    Workload::prepare(&scenario.source).await?;
    let workload = Workload::start(&scenario.source, 3, 150);
    scenario.start().await?;
    ends_equal(scenario, workload).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_written_database_is_synchronised_by_three_processes() -> Result<()> {
    let mut scenario = Scenario::new("spine_processes").await?;
    Workload::prepare(&scenario.source).await?;
    let workload = Workload::start(&scenario.source, 3, 150);
    scenario.start_processes().await?;
    scenario.processes()?.assert_running()?;
    ends_equal(scenario, workload).await
}

async fn ends_equal(scenario: Scenario, workload: Workload) -> Result<()> {
    let begun = workload.committed();
    eventually("the load goes on", patience(), async || {
        Ok((workload.committed() > begun + 300).then_some(()))
    })
    .await?;
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.foreign_keys_arrived().await?;
    ensure!(
        scenario.conflicts().await? == 0,
        "conflicts between a source and a destination that nobody else writes to"
    );
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn once_ends_with_all_that_was_committed_before() -> Result<()> {
    let mut scenario = Scenario::new("spine_once").await?;
    Workload::prepare(&scenario.source).await?;
    scenario.create_in_process(scenario.spec()).await?;
    scenario.run_until(TaskState::Finished).await?;
    // No settling: a finished task must have brought everything.
    strait_tests::compare::assert_equal(&scenario.source, &scenario.destination).await?;
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'";
    strait_tests::compare::assert_same_answer(&scenario.source, &scenario.destination, keys).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_task_goes_on_where_it_stood() -> Result<()> {
    let mut scenario = Scenario::new("spine_pause").await?;
    scenario.source.run("CREATE TABLE t (a int, b text)").await?;
    scenario.source.run("INSERT INTO t SELECT g % 10, 'row' FROM generate_series(1, 1000) g").await?;
    scenario.start().await?;
    for round in 0..3 {
        scenario.settle().await?;
        let task = scenario.tasks.pause(scenario.task_id()).await?;
        ensure!(task.return_to() == TaskState::Incremental);
        scenario
            .source
            .run(&format!("INSERT INTO t SELECT {round}, 'paused' FROM generate_series(1, 100)"))
            .await?;
        scenario.tasks.resume(scenario.task_id()).await?;
        scenario.wait_for(TaskState::Incremental).await?;
    }
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tables_or_rows_is_synchronised() -> Result<()> {
    let mut scenario = Scenario::new("spine_empty").await?;
    scenario.source.run("CREATE SCHEMA empty; CREATE TABLE empty.no_rows (i int PRIMARY KEY)").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO empty.no_rows VALUES (1)").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_selected_tables_arrive() -> Result<()> {
    let mut scenario = Scenario::new("spine_selection").await?;
    let source = &scenario.source;
    source.run("CREATE SCHEMA sales; CREATE TABLE sales.orders (i int PRIMARY KEY); CREATE TABLE sales.tmp_x (i int)").await?;
    source.run("CREATE TABLE public.left_out (i int); INSERT INTO public.left_out VALUES (1)").await?;
    source.run("INSERT INTO sales.orders VALUES (1); INSERT INTO sales.tmp_x VALUES (1)").await?;
    let mut spec = scenario.spec();
    let pattern = |schema: &str, table: &str| ObjectPattern {
        schema: schema.into(),
        table: table.into(),
        options: None,
    };
    spec.objects = Some(ObjectSelection {
        include: vec![pattern("sales", ""), pattern("public", "fence")],
        exclude: vec![pattern("sales", "tmp_*")],
        ..Default::default()
    });
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO sales.orders VALUES (2)").await?;
    scenario.source.run("UPDATE public.left_out SET i = 2; INSERT INTO sales.tmp_x VALUES (2)").await?;
    scenario.assert_arrived("SELECT i FROM sales.orders ORDER BY 1", "1\n2").await?;
    scenario.assert_arrived("SELECT to_regclass('public.left_out'), to_regclass('sales.tmp_x')", "|").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_objects_are_told() -> Result<()> {
    let mut scenario = Scenario::new("spine_progress").await?;
    scenario.source.run("CREATE TABLE t (i int PRIMARY KEY, v text); CREATE INDEX t_v ON t (v)").await?;
    scenario
        .source
        .run("CREATE VIEW a_view AS SELECT 1 AS one; CREATE UNLOGGED TABLE left_out (i int)")
        .await?;
    scenario.source.run("INSERT INTO t SELECT g, 'v' FROM generate_series(1, 50000) g").await?;
    scenario.start().await?;
    scenario.settle().await?;
    let task = scenario
        .tasks
        .wait_until(scenario.task_id(), "latency and copied rows are told", patience(), |task| {
            let Some(progress) = &task.progress else { return false };
            let copied = progress.copy.as_ref().is_some_and(|copy| copy.rows == 50_000);
            let stream = progress.stream.as_ref();
            copied
                && stream.is_some_and(|s| s.latency_us > 0 && s.confirmed_flush_lsn > 0 && s.source_lsn > 0)
        })
        .await?;
    let object = |name: &str| {
        task.objects.iter().find(|object| object.name == name).map(|o| (o.outcome(), &*o.detail))
    };
    use strait_proto::v1::ObjectOutcome::{Created, Skipped};
    ensure!(object("t").is_some_and(|(outcome, _)| outcome == Created), "{:?}", task.objects);
    ensure!(object("a_view").is_some_and(|(outcome, _)| outcome == Created), "{:?}", task.objects);
    ensure!(object("t.t_v").is_some_and(|(outcome, _)| outcome == Created), "{:?}", task.objects);
    ensure!(
        object("left_out").is_some_and(|(outcome, reason)| outcome == Skipped && !reason.is_empty()),
        "{:?}",
        task.objects
    );
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_a_task_twice_under_one_token_makes_one() -> Result<()> {
    let mut scenario = Scenario::new("spine_token").await?;
    scenario.start().await?;
    let mut spec = scenario.spec();
    spec.name = "twice".into();
    let request = CreateTaskRequest {
        spec: Some(spec),
        client_token: "the same".into(),
        ..CreateTaskRequest::default()
    };
    let first = scenario.tasks.create_with(request.clone()).await?;
    let second = scenario.tasks.create_with(request).await?;
    ensure!(first.task_id == second.task_id);
    ensure!(scenario.tasks.get("twice").await?.task_id == first.task_id, "a task goes by its name as well");
    scenario.finish().await
}
