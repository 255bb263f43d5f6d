//! The precheck finds what would fail later, says why it matters, and what to do.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{ApplyPolicy, PrecheckOutcome, TaskSpec, TaskState};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;

/// Prechecks and fails unless exactly one item, which mentions `word`, has failed.
async fn assert_fails_over(scenario: &Scenario, word: &str) -> Result<()> {
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let failed: Vec<_> =
        task.precheck.iter().filter(|item| item.outcome() == PrecheckOutcome::Failed).collect();
    ensure!(!failed.is_empty(), "nothing failed: {:#?}", task.precheck);
    let item = failed.iter().find(|item| format!("{item:?}").contains(word));
    let item = item.with_context(|| format!("no failed item says {word:?}: {failed:#?}"))?;
    ensure!(!item.cause.is_empty() && !item.remedy.is_empty(), "{item:?}");
    ensure!(task.state() == TaskState::PrecheckFailed, "{}", task.state());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_logical_wal_is_refused() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let replica = ServerOptions::new(source).set("wal_level", "replica");
    let pair = Pair::of(replica, ServerOptions::new(destination)).await?;
    let mut scenario = Scenario::on(&pair, "wal_level").await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    assert_fails_over(&scenario, "wal_level").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_into_itself_is_refused() -> Result<()> {
    let pair = Pair::shared().await?;
    let source = Database::create(&pair.source, "itself").await?;
    let destination = Database::create(&pair.source, "other").await?;
    let mut scenario = Scenario::between(source, destination).await?;
    scenario.layout().destination_uri = scenario.source.uri();
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    assert_fails_over(&scenario, "same").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_of_the_same_server_is_no_trouble() -> Result<()> {
    let pair = Pair::shared().await?;
    let source = Database::create(&pair.source, "beside").await?;
    let destination = Database::create(&pair.source, "beside").await?;
    let mut scenario = Scenario::between(source, destination).await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO t VALUES (2)").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_refused_with_the_grant_to_make() -> Result<()> {
    let mut scenario = Scenario::new("rights").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY); REVOKE ALL ON t FROM PUBLIC").await?;
    let role = format!("weak_{}", scenario.source.name());
    scenario.source.run(&format!("CREATE ROLE {role} LOGIN")).await?;
    let uri = scenario.source.uri().replace("postgres@", &format!("{role}@"));
    scenario.layout().source_uri = uri;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    assert_fails_over(&scenario, "REPLICATION").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_the_destination_lacks_is_named() -> Result<()> {
    let mut scenario = Scenario::new("extension").await?;
    scenario.source.run("CREATE EXTENSION hstore; CREATE TABLE t (a int PRIMARY KEY, h hstore)").await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    assert_fails_over(&scenario, "CREATE EXTENSION").await?;
    scenario.destination.run("CREATE EXTENSION hstore").await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO t VALUES (1, 'a=>1')").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_lanes_than_the_destination_has_connections_are_refused() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let few = ServerOptions::new(destination).set("max_connections", "20");
    let pair = Pair::of(ServerOptions::new(source), few).await?;
    let mut scenario = Scenario::on(&pair, "connections").await?;
    let spec = TaskSpec { apply: Some(ApplyPolicy { lanes: 64 }), ..scenario.spec() };
    scenario.create_in_process(spec).await?;
    assert_fails_over(&scenario, "max_connections").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_identity_is_announced() -> Result<()> {
    let mut scenario = Scenario::new("announced").await?;
    scenario.source.run("CREATE TABLE keyless (a int)").await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let announced = task.precheck.iter().any(|item| {
        item.outcome() == PrecheckOutcome::Warning && item.detail.contains("FULL on: public.keyless")
    });
    ensure!(announced, "{:#?}", task.precheck);
    ensure!(task.state() == TaskState::Ready, "{}", task.state());
    scenario.finish().await
}
