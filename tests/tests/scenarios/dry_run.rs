//! `strait task create --dry-run` tells what a task would do, and does nothing.

use anyhow::{Context, Result, ensure};
use strait_tests::footprint;
use strait_tests::processes::strait;
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_request_objects_statements_and_sizes() -> Result<()> {
    let mut scenario = Scenario::new("dry_run").await?;
    scenario
        .source
        .run(r#"CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE "Odd ; one" (a text)"#)
        .await?;
    scenario
        .source
        .run("CREATE TABLE child (id int REFERENCES parent, v int); CREATE INDEX ON child (v)")
        .await?;
    scenario.source.run("INSERT INTO parent SELECT generate_series(1, 1000); ANALYZE parent").await?;
    scenario.destination.run("CREATE TABLE child (id int, v int)").await?;
    scenario.create_in_process(scenario.spec()).await?;

    let file = std::env::temp_dir().join(format!("dry_run_{}.yaml", scenario.task_id()));
    std::fs::write(
        &file,
        "name: dry\nsource: {agent: source, endpoint: main}\ndestination: {agent: sink, endpoint: main}\n\
         existing_tables: proceed\nobjects: {include: [{schema: public, operations: [insert]}]}\n",
    )?;
    let coordinator = scenario.layout().coordinator_uri();
    let path = file.to_string_lossy();
    let arguments = ["task", "create", &path, "--dry-run", "--coordinator", &coordinator, "--output", "json"];
    let output = strait(&arguments).await?;
    ensure!(output.status.success(), "{output:?}");
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let entry = &printed["request"]["spec"]["objects"]["include"][0];
    ensure!(entry["schema"] == "public" && entry["operations"][0] == "insert", "{printed:#}");
    ensure!(printed["task"]["spec"]["retry"]["connection_minutes"] == 720, "{printed:#}");
    let plan = &printed["plan"];
    let tables = plan["tables"].as_array().context("no tables")?;
    let parent = tables.iter().find(|table| table["table"] == "public.parent").context("no table parent")?;
    ensure!(parent["rows"] == 1000 && parent["bytes"].as_u64().unwrap_or(0) > 8192, "{parent}");
    let statements: Vec<&str> =
        plan["statements"].as_array().context("no statements")?.iter().filter_map(|it| it.as_str()).collect();
    let place = |words: &str| statements.iter().position(|statement| statement.contains(words));
    let (table, key) = (place(r#"CREATE TABLE "public"."parent""#), place("PRIMARY KEY (id)"));
    ensure!(table.is_some() && table < key, "{statements:#?}");
    ensure!(place(r#"CREATE TABLE "public"."Odd ; one""#).is_some(), "{statements:#?}");
    // It stands already, and nothing is added to it.
    ensure!(place(r#""public"."child""#).is_none(), "{statements:#?}");
    let existed = plan["objects"].as_array().context("no objects")?;
    ensure!(existed.iter().any(|it| it["name"] == "child" && it["outcome"] == "existed"), "{existed:#?}");

    let people = strait(&["task", "create", &path, "--dry-run", "--coordinator", &coordinator]).await?;
    let text = String::from_utf8(people.stdout)?;
    for words in ["REQUEST", "about 1,000 rows", "STATEMENTS", "CREATE TABLE", "Nothing was stored or made."]
    {
        ensure!(text.contains(words), "{words} is missing in:\n{text}");
    }
    ensure!(scenario.tasks.list().await?.len() == 1, "a dry run stored a task");
    footprint::assert_destination_clean(&scenario.destination).await?;
    ensure!(
        scenario.destination.number("SELECT count(*) FROM pg_class WHERE relname = 'parent'").await? == 0
    );
    scenario.finish().await
}
