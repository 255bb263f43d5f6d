//! Databases of others arrive as `pg_dump` sees them, apart from what Strait lists.

use std::time::Duration;

use anyhow::{Result, ensure};
use strait_proto::v1::{ObjectOutcome, ObjectPattern, Rename, TableOptions, TaskState};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::samples::{SAMPLES, Sample};
use strait_tests::scenario::Scenario;
use strait_tests::schema_dump::Difference;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;
use strait_tests::{compare, oracle, regression};

/// Tables with columns of base types, which need the server's own code: an operator leaves them out.
const BASE_TYPED: [&str; 2] = ["public.ec1", "public.ec2"];

/// Not alike, each for its reason.
const KNOWN: [(&str, &str); 5] = [
    (
        "SEQUENCE public.identity_dump_logged_a_seq",
        "an unlogged sequence of a logged table becomes a logged one",
    ),
    // PostgreSQL puts the parents' columns first whatever the child's order is: pg_dump itself does not get these back.
    ("TABLE public.gtestxx_4", "columns in an order of their own"),
    ("TABLE public.test_type_diff2_c1", "the same"),
    ("TABLE public.test_type_diff2_c2", "the same"),
    ("TABLE public.test_type_diff2_c3", "the same"),
];

const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn postgresqls_own_regression_database_arrives() -> Result<()> {
    let pair = pair().await?;
    let source = Database::create(&pair.source, "regression").await?;
    if !regression::load(&source).await? {
        return Ok(());
    }
    let destination = Database::create(&pair.destination, "regression").await?;
    arrives(source, destination, &BASE_TYPED).await
}

/// What the tests' objects are called, apart from those that C code or base types need.
const VIEWS: &str = "
    SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1";
const OWN_SCHEMAS: &str = "
    SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make soak` runs it"]
async fn postgresqls_own_regression_database_arrives_in_other_schemas() -> Result<()> {
    let pair = pair().await?;
    let source = Database::create(&pair.source, "regression").await?;
    if !regression::load(&source).await? {
        return Ok(());
    }
    let destination = Database::create(&pair.destination, "regression").await?;
    let mut scenario = Scenario::between(source, destination).await?;
    let mut spec = scenario.spec();
    let elsewhere = |schema: String| {
        let rename = Some(Rename { schema: format!("{schema} 2"), ..Rename::default() });
        let options = Some(TableOptions { rename, ..TableOptions::default() });
        ObjectPattern { schema, options, ..ObjectPattern::default() }
    };
    let schemas = scenario.source.rows(OWN_SCHEMAS).await?;
    let objects = spec.objects.get_or_insert_default();
    objects.include = schemas.into_iter().map(elsewhere).collect();
    objects.exclude = BASE_TYPED.iter().map(left_out_table).collect();
    scenario.create_in_process(spec).await?;
    scenario.tasks.start(scenario.task_id(), true).await?;
    let task = scenario.tasks.wait_for(scenario.task_id(), TaskState::Finished, PATIENCE).await?;
    let told = |kinds: &[&str], name: &str| {
        task.objects.iter().any(|object| {
            object.outcome() != ObjectOutcome::Created
                && kinds.contains(&&*object.object_kind)
                && (name == format!("{}.{}", object.schema, object.name)
                    || name == format!("{}.{}", object.schema.trim_end_matches(" 2"), object.name))
        })
    };
    let (source, destination) = (&scenario.source, &scenario.destination);
    let there = destination.rows(VIEWS).await?;
    let mut compared = 0;
    for view in source.rows(VIEWS).await? {
        let (schema, name) = view.split_once('.').unwrap_or_default();
        if !there.contains(&format!("{schema} 2.{name}")) {
            ensure!(told(&["view", "materialized view"], &view), "nothing was said of {view}");
            continue;
        }
        let rows = |schema: &str| {
            format!(
                "SELECT count(*), md5(string_agg(it::text, ' ' ORDER BY it::text)) FROM \"{schema}\".\"{name}\" AS it"
            )
        };
        let as_text = |rows: String| format!("SELECT it::text FROM ({rows}) AS it");
        // Views of what the server does itself, or that refuse to be read, are not alike on any two servers.
        let Ok(wanted) = source.text(&as_text(rows(schema))).await else { continue };
        let found = destination.text(&as_text(rows(&format!("{schema} 2")))).await;
        ensure!(found.as_ref().is_ok_and(|found| *found == wanted), "{view}: {found:?} instead of {wanted}");
        compared += 1;
    }
    ensure!(compared > 100, "only {compared} views were compared");
    let failed: Vec<_> = task
        .objects
        .iter()
        .filter(|it| it.outcome() == ObjectOutcome::Failed)
        .map(|it| format!("{} {}.{}: {}\n{}", it.object_kind, it.schema, it.name, it.detail, it.statement))
        .collect();
    ensure!(failed.is_empty(), "{} objects have failed:\n{}", failed.len(), failed.join("\n"));
    scenario.finish().await
}

fn left_out_table(table: &&str) -> ObjectPattern {
    ObjectPattern {
        schema: "public".into(),
        table: table.trim_start_matches("public.").into(),
        ..ObjectPattern::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make soak` runs it"]
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
    spec.objects.get_or_insert_default().exclude = left_out.iter().map(left_out_table).collect();
    scenario.create_in_process(spec).await?;
    scenario.tasks.start(scenario.task_id(), true).await?;
    let task = scenario.tasks.wait_for(scenario.task_id(), TaskState::Finished, PATIENCE).await?;
    let silent: Vec<_> = task
        .objects
        .iter()
        .filter(|object| {
            matches!(object.outcome(), ObjectOutcome::Skipped | ObjectOutcome::Failed)
                && object.detail.is_empty()
        })
        .collect();
    ensure!(silent.is_empty(), "without a reason: {silent:#?}");
    let (source, destination) = (&scenario.source, &scenario.destination);
    let known = |difference: &Difference| KNOWN.iter().any(|(object, _)| difference.object == *object);
    oracle::assert_same_schema(source, destination, &task.objects, left_out, known).await?;

    let told = |table: &str| {
        task.objects.iter().any(|object| {
            object.outcome() != ObjectOutcome::Created
                && object.object_kind == "table"
                && table == format!("{}.{}", object.schema, object.name)
        })
    };
    let mut tables = compare::tables(source).await?;
    tables.retain(|table| !left_out.contains(&&**table) && !told(table));
    compare::assert_tables_equal(source, destination, &tables).await?;
    scenario.finish().await
}

async fn pair() -> Result<Pair> {
    let server = || ServerOptions::new(PgVersion::V15);
    Pair::of(server(), server()).await
}
