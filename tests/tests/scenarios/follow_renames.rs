//! Views, functions, rules and whatever else names a table go on working where the task gives it another name, other columns or
//! fewer; what cannot is told, each with its reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use strait_proto::v1::{
    NameCase, ObjectOutcome, ObjectPattern, Rename, TableOptions, Task, TaskSpec, TaskState,
};
use strait_tests::scenario::Scenario;

/// What the views are called, and their columns' order.
const VIEWS: &str = "
    SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm') AND n.nspname = 'shop' ORDER BY 1";

/// Run on both sides one after the other, with the schemas' names in the places of `<shop>` and `<odd>`.
const CALLS: [&str; 9] = [
    "SELECT <shop>.total_of(7)",
    "SELECT <shop>.counted_up()",
    "SELECT <shop>.next_number() > 99",
    "SELECT <shop>.with_path(7)",
    "SELECT <shop>.unqualified()",
    "SELECT string_agg(r::text, ' ') FROM <shop>.rows_of(2) AS r",
    "SELECT <shop>.summed_twice(n) FROM generate_series(1, 3) AS n",
    "SELECT <shop>.parsed(5)",
    "SELECT <shop>.returned(5)",
];

/// Writes through views, with their rules and the tables' triggers; then what came of it, in the destination's own names.
const WRITES: [&str; 4] = [
    "INSERT INTO <shop>.<inbox> VALUES (1000, 1, 5); UPDATE <shop>.<inbox> SET <total> = 6 WHERE <id> = 1000",
    "UPDATE <shop>.<inbox> SET <total> = 6.5 WHERE <id> = 3; DELETE FROM <shop>.<inbox> WHERE <id> IN (4, 5)",
    "CALL <shop>.add(2000, 2)",
    "SELECT <shop>.altered(2000)",
];

struct Case {
    spec: fn(TaskSpec) -> TaskSpec,
    /// The destination's name of what is in schema `shop`, and of a schema.
    name: fn(&str) -> String,
    schema: fn(&str) -> String,
    /// What is not followed.
    skipped: &'static [&'static str],
}

fn entry(schema: &str, table: &str, rename: Rename, columns: &[&str]) -> ObjectPattern {
    let columns = columns.iter().map(|it| (*it).to_owned()).collect();
    let options = TableOptions { rename: Some(rename), columns, ..Default::default() };
    ObjectPattern { schema: schema.into(), table: table.into(), options: Some(options) }
}

fn rename(schema: &str, table: &str, columns: &[(&str, &str)]) -> Rename {
    let columns = columns.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    Rename { schema: schema.into(), table: table.into(), columns }
}

fn with(mut spec: TaskSpec, rules: Vec<ObjectPattern>) -> TaskSpec {
    let mut include = vec![ObjectPattern { schema: "public".into(), ..Default::default() }];
    include.extend(rules);
    spec.objects.get_or_insert_default().include = include;
    spec
}

/// Two tables change places, and so do two columns.
fn renamed(spec: TaskSpec) -> TaskSpec {
    with(
        spec,
        vec![
            entry("shop", "", rename("Data \"w\"", "", &[]), &[]),
            entry("Odd 1.x", "", rename("odd", "", &[]), &[]),
            entry("shop", "orders", rename("", "customers", &[("id", "order id"), ("total", "Sum")]), &[]),
            entry(
                "shop",
                "customers",
                rename("", "orders", &[("Full Name", "country"), ("country", "Full Name")]),
                &[],
            ),
            entry("Odd 1.x", "Line \"s\"", rename("elsewhere", "lines", &[("id", "of"), ("qty", "id")]), &[]),
        ],
    )
}

fn subset(spec: TaskSpec) -> TaskSpec {
    with(
        spec,
        vec![
            entry("shop", "", Rename::default(), &[]),
            entry("Odd 1.x", "", Rename::default(), &[]),
            entry("shop", "orders", Rename::default(), &["id", "customer", "total", "select"]),
            entry("shop", "customers", Rename::default(), &["id", "Full Name", "country", "feels"]),
        ],
    )
}

fn upper(mut spec: TaskSpec) -> TaskSpec {
    spec.set_name_case(NameCase::Upper);
    spec
}

fn lower(mut spec: TaskSpec) -> TaskSpec {
    spec.set_name_case(NameCase::Lower);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_follow_other_names_of_schemas_tables_and_columns() -> Result<()> {
    let name = |name: &str| name.to_owned();
    let schema = |it: &str| if it == "shop" { "Data \"w\"".to_owned() } else { "odd".to_owned() };
    let skipped = &["by_path()", "cheaper()", "dynamic(n integer)", "of_dynamic", "orders.cheap"];
    follows(Case { spec: renamed, name, schema, skipped }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_need_no_column_that_is_left_out_are_there() -> Result<()> {
    let same = |name: &str| name.to_owned();
    let skipped = &["Over View", "counted", "dated", "named_join", "over_that", "starred"];
    follows(Case { spec: subset, name: same, schema: same, skipped }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_follow_capitals() -> Result<()> {
    let upper_case = |name: &str| name.to_uppercase();
    let skipped = &[
        "altered(a integer)",
        "by_path()",
        "by_using",
        "natural",
        "cheaper()",
        "counted_up()",
        "note()",
        "orders.noted",
        "dynamic(n integer)",
        "from_function",
        "of_dynamic",
        "orders.cheap",
        "rows_of(c integer)",
        "total_of(n integer)",
        "with_path(n integer)",
    ];
    follows(Case { spec: upper, name: upper_case, schema: upper_case, skipped }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_follow_small_letters() -> Result<()> {
    let lower_case = |name: &str| name.to_lowercase();
    follows(Case { spec: lower, name: lower_case, schema: lower_case, skipped: &["by_using", "natural"] })
        .await
}

async fn follows(case: Case) -> Result<()> {
    let mut scenario = Scenario::new("follow").await?;
    let version =
        scenario.source.number("SELECT current_setting('server_version_num')::int8 / 10000").await?;
    let both = scenario
        .destination
        .number("SELECT current_setting('server_version_num')::int8 / 10000")
        .await?
        .min(version);
    for (since, name) in [(12, "follow.sql"), (14, "follow_14.sql")] {
        let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(name);
        if both >= since {
            scenario.source.run_script(&script).await?;
        }
    }
    let spec = (case.spec)(scenario.spec());
    scenario.create_in_process(spec).await?;
    let ran = scenario.run_until(TaskState::Finished).await;
    scenario.explain(ran).await?;
    everything_is_told(&scenario.task().await?, case.skipped)?;

    let runs = |sql: &&&str| {
        let skipped = case.skipped.iter().filter_map(|it| it.split_once('('));
        let is_skipped = skipped.map(|(name, _)| format!(".{name}(")).any(|call| sql.contains(&call));
        !is_skipped
            && (both >= 14
                || [".parsed(", ".returned(", ".add(", ".altered("].iter().all(|it| !sql.contains(it)))
    };
    assert_views_equal(&scenario, &case).await?;
    for call in CALLS.iter().filter(runs) {
        assert_call_equal(&scenario, &case, call).await?;
    }
    for write in WRITES.iter().filter(runs) {
        scenario.source.run(&written(write, str::to_owned, str::to_owned)).await?;
        scenario.destination.run(&written(write, case.schema, case.name)).await?;
        assert_views_equal(&scenario, &case).await?;
    }
    if !case.skipped.contains(&"note()") {
        let log = "SELECT string_agg(it::text, ' ' ORDER BY it) FROM <odd>.<log> AS it";
        assert_call_equal(&scenario, &case, log).await?;
    }
    scenario.finish().await
}

fn everything_is_told(task: &Task, skipped: &[&str]) -> Result<()> {
    let failed: Vec<_> = task.objects.iter().filter(|it| it.outcome() == ObjectOutcome::Failed).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    let found: BTreeSet<&str> = task
        .objects
        .iter()
        .filter(|it| it.outcome() == ObjectOutcome::Skipped && it.detail.contains("does not follow"))
        .map(|it| &*it.name)
        .collect();
    let wanted: BTreeSet<&str> = skipped.iter().copied().collect();
    ensure!(
        found == wanted,
        "{:#?}\n{:#?}",
        found.symmetric_difference(&wanted),
        task.objects.iter().filter(|it| it.outcome() == ObjectOutcome::Skipped).collect::<Vec<_>>()
    );
    Ok(())
}

/// A statement for one side.
fn written(sql: &str, schema: fn(&str) -> String, name: fn(&str) -> String) -> String {
    let quoted = |name: String| format!("\"{}\"", name.replace('"', "\"\""));
    let mut text =
        sql.replace("<shop>", &quoted(schema("shop"))).replace("<odd>", &quoted(schema("Odd 1.x")));
    for word in ["inbox", "total", "id", "log"] {
        text = text.replace(&format!("<{word}>"), &quoted(name(word)));
    }
    text
}

async fn assert_call_equal(scenario: &Scenario, case: &Case, call: &str) -> Result<()> {
    let wanted = scenario
        .source
        .text(&format!("SELECT ({})::text", written(call, str::to_owned, str::to_owned)))
        .await?;
    let found = scenario
        .destination
        .text(&format!("SELECT ({})::text", written(call, case.schema, case.name)))
        .await?;
    ensure!(wanted == found, "{call}\nwanted:\n{wanted}\nfound:\n{found}");
    Ok(())
}

async fn assert_views_equal(scenario: &Scenario, case: &Case) -> Result<()> {
    scenario
        .destination
        .run(&format!(
            "REFRESH MATERIALIZED VIEW {}",
            written("<shop>", case.schema, case.name) + &format!(".\"{}\"", (case.name)("summed"))
        ))
        .await?;
    scenario.source.run("REFRESH MATERIALIZED VIEW shop.summed").await?;
    let mut compared = 0;
    for view in scenario.source.rows(VIEWS).await? {
        let view = view.trim_start_matches("shop.");
        if case.skipped.contains(&view) {
            continue;
        }
        let answer = |schema: &str, name: &str| {
            let quoted = |name: &str| name.replace('"', "\"\"");
            format!(
                "SELECT coalesce(string_agg(it::text, E'\\n' ORDER BY it::text), '') FROM \"{}\".\"{}\" AS it",
                quoted(schema),
                quoted(name)
            )
        };
        let wanted = scenario.source.text(&answer("shop", view)).await?;
        let found = scenario.destination.text(&answer(&(case.schema)("shop"), &(case.name)(view))).await?;
        ensure!(wanted == found, "{view}\nwanted:\n{wanted}\nfound:\n{found}");
        // What comes out is called as at the source, or as the task says of all names.
        let columns = |schema: &str, name: &str| {
            format!(
                "SELECT string_agg(attname::text, ' ' ORDER BY attnum) FROM pg_attribute WHERE attnum > 0 AND attrelid = format('%I.%I', '{schema}', '{name}')::regclass"
            )
        };
        let wanted = (case.name)(&scenario.source.text(&columns("shop", view)).await?);
        let found = scenario.destination.text(&columns(&(case.schema)("shop"), &(case.name)(view))).await?;
        ensure!(wanted == found, "{view} has columns {found} instead of {wanted}");
        compared += 1;
    }
    ensure!(compared > 20, "only {compared} views");
    Ok(())
}
