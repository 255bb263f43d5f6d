//! What a task would create in the Greenplum family, planned for a server that only looks like one of it.

use anyhow::{Result, ensure};
use strait_proto::v1::{ObjectPattern, ObjectSelection, PrecheckOutcome, TableOptions, TaskState};
use strait_tests::pair::Pair;
use strait_tests::processes::strait;
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;

/// The catalog that the family is recognised by, as it is from Greenplum 6 on.
const LOOKS_LIKE_GREENPLUM: &str = "SET allow_system_table_mods = on;
    CREATE TABLE pg_catalog.gp_distribution_policy (
        localoid oid, policytype \"char\", numsegments int, distkey int2vector, distclass oidvector)";

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_planned_with_distribution_and_a_task_is_refused() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let pair = Pair::of(ServerOptions::new(source), ServerOptions::new(destination)).await?;
    let mut scenario = Scenario::on(&pair, "greenplum").await?;
    scenario.source.run("CREATE TABLE orders (id int PRIMARY KEY, region text NOT NULL)").await?;
    scenario.source.run("CREATE TABLE spread (id int, PRIMARY KEY (id))").await?;
    scenario.source.run(LOOKS_LIKE_GREENPLUM).await?;
    scenario
        .source
        .run("INSERT INTO pg_catalog.gp_distribution_policy VALUES ('spread'::regclass, 'r', 1, '', '')")
        .await?;
    scenario.destination.run(LOOKS_LIKE_GREENPLUM).await?;
    let mut spec = scenario.spec();
    let options = TableOptions {
        distribution_key: vec!["region".into()],
        storage: "heap".into(),
        ..Default::default()
    };
    let orders = ObjectPattern { schema: "public".into(), table: "orders".into(), options: Some(options) };
    let all = ObjectPattern { schema: "public".into(), ..Default::default() };
    spec.objects = Some(ObjectSelection { include: vec![all, orders], ..Default::default() });
    scenario.create_in_process(spec).await?;

    let file = std::env::temp_dir().join(format!("greenplum_{}.yaml", scenario.task_id()));
    std::fs::write(
        &file,
        "source: {agent: source, endpoint: main}\ndestination: {agent: sink, endpoint: main}\nobjects:\n  include:\n\
         \x20   - schema: public\n    - {table: public.orders, distribution_key: [region], storage: heap}\n",
    )?;
    let coordinator = scenario.layout().coordinator_uri();
    let output =
        strait(&["task", "create", &file.to_string_lossy(), "--dry-run", "--coordinator", &coordinator])
            .await?;
    // Lines are wrapped for people.
    let text = String::from_utf8(output.stdout)?.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        r#"USING "heap" DISTRIBUTED BY ("region");"#,
        r#"PRIMARY KEY ("id", "region")"#,
        "constraint orders_pkey is widened by the distribution key",
        "DISTRIBUTED REPLICATED;",
        r#"DISTRIBUTED BY ("id");"#,
    ] {
        ensure!(text.contains(words), "{words} is missing in:\n{text}");
    }
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    ensure!(task.state() == TaskState::PrecheckFailed, "{}", task.state());
    let refused = |item: &strait_proto::v1::PrecheckItem| {
        item.outcome() == PrecheckOutcome::Failed && item.cause.contains("Greenplum family")
    };
    ensure!(task.precheck.iter().any(refused), "{:#?}", task.precheck);
    scenario.finish().await
}
