//! The throttle of the change stream: what it limits, and that it changes while the task runs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{RateLimits, StreamMode, StreamProgress, Task, TaskSpec, Throttle};
use strait_tests::pair::Pair;
use strait_tests::processes::strait;
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience};

fn throttled(spec: TaskSpec, rows_per_second: u64, bytes_per_second: u64) -> TaskSpec {
    let limits = RateLimits { rows_per_second, bytes_per_second };
    TaskSpec { throttle: Some(Throttle { incremental: Some(limits) }), ..spec }
}

fn stream_is(task: &Task, condition: impl Fn(&StreamProgress) -> bool) -> bool {
    task.progress.as_ref().and_then(|progress| progress.stream.as_ref()).is_some_and(condition)
}

/// One transaction that would take minutes, on a source that gives a silent walsender up after two seconds: it is kept, and
/// a new limit counts within moments, on the same stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_stream_is_kept_and_obeys_a_new_limit_at_once() -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let (source, destination) = PgVersion::default_pair()?;
    let impatient = ServerOptions::new(source).set("wal_sender_timeout", &format!("{}s", TIMEOUT.as_secs()));
    let pair = Pair::of(impatient, ServerOptions::new(destination)).await?;
    let mut scenario = Scenario::on(&pair, "throttle_live").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.create_in_process(throttled(scenario.spec(), 20, 0)).await?;
    scenario.run_until(strait_proto::v1::TaskState::Incremental).await?;
    let walsender = "SELECT pid FROM pg_stat_replication WHERE application_name LIKE 'strait%'";
    let streams = |task: &Task| stream_is(task, |stream| stream.mode() == StreamMode::Streaming);
    scenario.tasks.wait_until(scenario.task_id(), "the stream runs", patience(), streams).await?;
    let pid = scenario.source.number(walsender).await?;

    scenario.source.run("INSERT INTO t SELECT g, repeat('x', 2000) FROM generate_series(1, 3000) g").await?;
    let limited = |task: &Task| stream_is(task, |stream| stream.throttled && stream.throttle.is_some());
    scenario.tasks.wait_until(scenario.task_id(), "the throttle limits", patience(), limited).await?;
    let reply = "SELECT extract(epoch FROM reply_time)::int FROM pg_stat_replication WHERE application_name LIKE 'strait%'";
    let first = scenario.source.number(reply).await?;
    eventually("the walsender hears from us for longer than it would wait", patience(), async || {
        Ok((scenario.source.number(reply).await? > first + 2 * TIMEOUT.as_secs() as i64).then_some(()))
    })
    .await?;
    ensure!(scenario.destination.number("SELECT count(*) FROM t").await? == 0, "the limit does not limit");

    let begun = Instant::now();
    let task = scenario.tasks.update(scenario.task_id(), scenario.spec()).await?;
    ensure!(task.spec.context("a spec")?.throttle.is_none());
    scenario.settle().await?;
    // At the old limit it would have been more than two minutes.
    ensure!(begun.elapsed() < Duration::from_secs(40), "it took {:?}", begun.elapsed());
    scenario.assert_equal().await?;
    ensure!(scenario.source.number(walsender).await? == pid, "the stream was restarted");
    let free = |task: &Task| stream_is(task, |stream| stream.throttle.is_none() && !stream.throttled);
    scenario.tasks.wait_until(scenario.task_id(), "no throttle is shown", patience(), free).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_bytes_a_second_are_kept() -> Result<()> {
    let mut scenario = Scenario::new("throttle_rates").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    // Rows, then bytes: either takes three seconds at least, a quarter of a second of which may have been saved up.
    for (rows_per_second, bytes_per_second, bytes) in [(200, 0, 1), (0, 200_000, 1_000)] {
        let spec = throttled(scenario.spec(), rows_per_second, bytes_per_second);
        scenario.tasks.update(scenario.task_id(), spec).await?;
        let in_force = |task: &Task| {
            stream_is(task, |stream| {
                stream.throttle == Some(RateLimits { rows_per_second, bytes_per_second })
            })
        };
        scenario.tasks.wait_until(scenario.task_id(), "the limit is in force", patience(), in_force).await?;
        let begun = Instant::now();
        scenario
            .source
            .run(&format!(
                "INSERT INTO t SELECT g, repeat('x', {bytes}) FROM generate_series({bytes} * 1000, {bytes} * 1000 + 599) g"
            ))
            .await?;
        scenario.assert_equal().await?;
        let least = Duration::from_millis(2_500);
        ensure!(begun.elapsed() > least, "600 rows took {:?} only", begun.elapsed());
    }
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_updates_a_throttle_and_names_what_it_cannot_update() -> Result<()> {
    let mut scenario = Scenario::new("throttle_command").await?;
    scenario.start().await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("task.yaml");
    let coordinator = scenario.layout().coordinator_uri();
    let (task_id, path) = (scenario.task_id().to_owned(), file.to_str().context("a path")?.to_owned());
    let command = ["task", "update", &task_id, &path, "--coordinator", &coordinator, "--output", "json"];
    let endpoints = "source: {agent: source, endpoint: main}\ndestination: {agent: sink, endpoint: main}\n";
    let write = |more: &str| std::fs::write(&file, format!("{endpoints}{more}"));

    write("throttle: {incremental: {rows_per_second: 700, megabytes_per_second: 1.5}}")?;
    let updated = strait(&command).await?;
    ensure!(updated.status.success(), "{updated:?}");
    let shown: serde_json::Value = serde_json::from_slice(&updated.stdout)?;
    let limits = &shown["spec"]["throttle"]["incremental"];
    ensure!(limits["rows_per_second"] == 700 && limits["bytes_per_second"] == 1_500_000, "{shown}");
    let in_force = |task: &Task| {
        stream_is(task, |stream| stream.throttle.is_some_and(|limits| limits.bytes_per_second == 1_500_000))
    };
    scenario.tasks.wait_until(&task_id, "the throttle is in force", patience(), in_force).await?;

    write(
        "operations: [insert]\nobjects: {exclude: [public.t]}\nthrottle: {incremental: {rows_per_second: 1}}",
    )?;
    let refused = strait(&command).await?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        said.contains("objects.exclude is [] there") && said.contains("would be left out from now on"),
        "{said}"
    );
    ensure!(!said.contains("throttle"), "{said}");
    let task = scenario.task().await?;
    ensure!(in_force(&task), "a refused update changed something: {task:?}");
    scenario.finish().await
}
