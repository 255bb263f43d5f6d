//! 027_nosuperuser, 029_on_error: the role that applies loses rights, or policies cover the target. The task says so and
//! catches up after the grant; nothing is left out meanwhile, whatever `on_error` says.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{OnError, TaskSpec, TaskState};
use strait_tests::scenario::Scenario;

/// A scenario whose sink-agent is an ordinary role, which owns the destination's tables.
async fn as_ordinary_role(stem: &str) -> Result<(Scenario, String)> {
    let mut scenario = Scenario::new(stem).await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x')").await?;
    let role = format!("apply_{}", scenario.destination.name());
    let database = scenario.destination.name().to_owned();
    scenario
        .destination
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE {database} TO {role}; GRANT ALL ON SCHEMA public TO {role}"
        ))
        .await?;
    let uri = scenario.destination.uri().replace("postgres@", &format!("{role}@"));
    scenario.layout().destination_uri = uri;
    let spec = TaskSpec { on_error: OnError::Skip.into(), ..scenario.spec() };
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    Ok((scenario, role))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_right_fails_the_task_which_catches_up_after_the_grant() -> Result<()> {
    let (scenario, role) = as_ordinary_role("p027_rights").await?;
    scenario
        .destination
        .run(&format!("ALTER TABLE t OWNER TO postgres; GRANT SELECT ON t TO {role}"))
        .await?;
    scenario.source.run("INSERT INTO t VALUES (2, 'y'); UPDATE t SET b = 'z' WHERE a = 1").await?;
    let failure = scenario.wait_for(TaskState::Failed).await?.failure.context("a failure")?;
    ensure!(failure.cause.contains("permission denied"), "{failure:?}");
    ensure!(scenario.destination.number("SELECT count(*) FROM strait.conflict").await? == 0);
    scenario.destination.run(&format!("GRANT ALL ON t TO {role}")).await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.destination.run(&format!("ALTER TABLE t OWNER TO {role}")).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_on_the_target_are_never_applied_in_silence() -> Result<()> {
    let (scenario, role) = as_ordinary_role("p027_policies").await?;
    scenario
        .destination
        .run(
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             CREATE POLICY visible ON t USING (a < 100)",
        )
        .await?;
    scenario.source.run("UPDATE t SET b = 'z' WHERE a = 1; INSERT INTO t VALUES (500, 'y')").await?;
    let failure = scenario.wait_for(TaskState::Failed).await?.failure.context("a failure")?;
    ensure!(failure.cause.contains("row-level security"), "{failure:?}");
    ensure!(scenario.destination.number("SELECT count(*) FROM strait.conflict").await? == 0);
    scenario.destination.run(&format!("ALTER ROLE {role} BYPASSRLS")).await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
