//! A schema of thousands of tables keeps every answer within seconds.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use strait_proto::v1::TaskState;
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

const TABLES: i64 = 5000;
/// Of one request to the coordinator, on a machine that is loaded.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make soak` runs it"]
async fn thousands_of_tables_leave_precheck_start_and_status_responsive() -> Result<()> {
    let mut scenario = Scenario::new("many").await?;
    for first in (0..TABLES).step_by(200) {
        let last = first + 199;
        scenario
            .source
            .run(&format!(
                "DO $$ BEGIN FOR n IN {first}..{last} LOOP EXECUTE format(
                   'CREATE TABLE public.t%1$s (id bigserial PRIMARY KEY, code text UNIQUE DEFAULT ''none'');
                    CREATE INDEX ON public.t%1$s (code, id)', n); END LOOP; END $$"
            ))
            .await?;
    }
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    let begun = Instant::now();
    scenario.tasks.precheck(scenario.task_id()).await?;
    let prechecked = scenario.wait_for(TaskState::Ready).await;
    scenario.explain(prechecked).await?;
    ensure!(begun.elapsed() < patience() / 2, "the precheck took {:?}", begun.elapsed());

    scenario.tasks.start(scenario.task_id(), false).await?;
    eventually("changes flow", patience() * 5, async || {
        let asked = Instant::now();
        let task = scenario.task().await?;
        ensure!(asked.elapsed() < ANSWER_MAX, "the status took {:?}", asked.elapsed());
        ensure!(task.state() != TaskState::Failed, "the task has failed");
        Ok((task.state() == TaskState::Incremental).then_some(()))
    })
    .await?;
    scenario
        .source
        .run("INSERT INTO public.t0 DEFAULT VALUES; INSERT INTO public.t4999 DEFAULT VALUES")
        .await?;
    scenario.settle().await?;
    let keys =
        "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relname ~ '^t[0-9]+$'";
    ensure!(scenario.destination.number(keys).await? == 3 * TABLES, "keys or indexes are missing");
    scenario.finish().await
}
