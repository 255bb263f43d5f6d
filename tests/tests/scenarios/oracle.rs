//! Databases of others arrive as `pg_dump` sees them, apart from what Strait lists.

use std::time::Duration;

use anyhow::{Result, ensure};
use strait_proto::v1::{ObjectPattern, TaskState};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::samples::{SAMPLES, Sample};
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;
use strait_tests::{oracle, regression};

/// Tables with columns of base types, which need the server's own code: an operator leaves them out.
const BASE_TYPED: [&str; 2] = ["ec1", "ec2"];

const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn postgresqls_own_regression_database_arrives() -> Result<()> {
    let pair = pair().await?;
    // The tests grant and revoke by this name.
    let source = Database::create(&pair.source, "regression").await?;
    let begun = std::time::Instant::now();
    if !regression::load(&source).await? {
        return Ok(());
    }
    eprintln!("loaded in {:?}", begun.elapsed());
    let destination = Database::create(&pair.destination, "regression").await?;
    arrives(source, destination, &BASE_TYPED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_well_known_programs_arrive() -> Result<()> {
    let pair = pair().await?;
    for sample in SAMPLES {
        arrives_as_sample(&pair, sample).await.map_err(|error| error.context(sample.package))?;
    }
    Ok(())
}

async fn arrives_as_sample(pair: &Pair, sample: Sample) -> Result<()> {
    let source = Database::create(&pair.source, "sample").await?;
    if !sample.load(&source).await? {
        return Ok(());
    }
    let tables = source
        .number("SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
        .await?;
    ensure!(tables >= sample.tables_min, "only {tables} tables");
    let destination = Database::create(&pair.destination, "sample").await?;
    for extension in sample.extensions {
        destination.run(&format!("CREATE EXTENSION IF NOT EXISTS {extension}")).await?;
    }
    arrives(source, destination, &[]).await
}

async fn arrives(source: Database, destination: Database, left_out: &[&str]) -> Result<()> {
    let mut scenario = Scenario::between(source, destination).await?;
    let mut spec = scenario.spec();
    let pattern = |table: &&str| ObjectPattern {
        schema: "public".into(),
        table: (*table).into(),
        ..ObjectPattern::default()
    };
    spec.objects.get_or_insert_default().exclude = left_out.iter().map(pattern).collect();
    scenario.create_in_process(spec).await?;
    scenario.tasks.start(scenario.task_id(), true).await?;
    let task = scenario.tasks.wait_for(scenario.task_id(), TaskState::Finished, PATIENCE).await?;
    for object in &task.objects {
        if !object.detail.is_empty() {
            eprintln!(
                "{:?} {} {}.{}: {}",
                object.outcome(),
                object.object_kind,
                object.schema,
                object.name,
                object.detail
            );
        }
    }
    oracle::assert_same_schema(&scenario.source, &scenario.destination, &task.objects, |_| false).await?;
    scenario.finish().await
}

async fn pair() -> Result<Pair> {
    let server = || ServerOptions::new(PgVersion::V15);
    Pair::of(server(), server()).await
}
