//! Keys, types, distribution keys and storage engines of the destination's own that do not fit: refused before anything is made,
//! each with what to do.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{
    ObjectPattern, ObjectSelection, PrecheckItem, PrecheckOutcome, Synchronization, TableOptions, TaskSpec,
    TaskState,
};
use strait_tests::greenplum::Greenplum;
use strait_tests::scenario::Scenario;

const TABLES: &str =
    "CREATE TABLE t (id int PRIMARY KEY, n int, u int UNIQUE, code text NOT NULL UNIQUE, wide numeric);
    CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)";

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn with(spec: &TaskSpec, table: &str, options: TableOptions) -> TaskSpec {
    let entry = ObjectPattern { schema: "public".into(), table: table.into(), options: Some(options) };
    let all = ObjectPattern { schema: "public".into(), ..Default::default() };
    let objects = ObjectSelection { include: vec![all, entry], ..Default::default() };
    TaskSpec { objects: Some(objects), ..spec.clone() }
}

fn key(columns: &[&str]) -> TableOptions {
    TableOptions { primary_key: names(columns), ..Default::default() }
}

fn typed(column: &str, type_name: &str) -> TableOptions {
    let column_types = HashMap::from([(column.to_owned(), type_name.to_owned())]);
    TableOptions { column_types: column_types.into_iter().collect(), ..Default::default() }
}

fn distributed(columns: &[&str]) -> TableOptions {
    TableOptions { distribution_key: names(columns), ..Default::default() }
}

fn stored(storage: &str) -> TableOptions {
    TableOptions { storage: storage.into(), ..Default::default() }
}

/// What the precheck says of a task about one item.
async fn item(scenario: &mut Scenario, spec: TaskSpec, name: &str) -> Result<PrecheckItem> {
    scenario.create(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let found = task.precheck.iter().find(|item| item.name == name).cloned();
    let found = found.with_context(|| format!("no item {name} in {:#?}", task.precheck))?;
    let refused = found.outcome() == PrecheckOutcome::Failed;
    ensure!(!refused || task.state() == TaskState::PrecheckFailed, "{}", task.state());
    scenario.tasks.release(scenario.task_id()).await?;
    Ok(found)
}

fn ensure_says(item: &PrecheckItem, outcome: PrecheckOutcome, words: &[&str]) -> Result<()> {
    let text = format!("{} {} {}", item.detail, item.cause, item.remedy);
    ensure!(item.outcome() == outcome, "{item:#?}");
    for word in words {
        ensure!(text.contains(word), "{word} is missing in {item:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_types_that_do_not_fit_are_refused() -> Result<()> {
    use PrecheckOutcome::{Failed, Passed, Warning};
    let mut scenario = Scenario::new("overrides").await?;
    scenario.source.run(TABLES).await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec.clone()).await?;
    scenario.tasks.release(scenario.task_id()).await?;
    let (keys, types) = ("source.primary_key", "source.column_types");
    for (options, table, name, outcome, words) in [
        (key(&["nothing"]), "t", keys, Failed, &["no column nothing", "Correct `primary_key`"][..]),
        (
            key(&["n"]),
            "t",
            keys,
            Failed,
            &["nothing at the source keeps n of public.t unique", "CREATE UNIQUE INDEX"],
        ),
        (key(&["u"]), "t", keys, Failed, &["u of public.t can be NULL", "SET NOT NULL"]),
        (key(&["code"]), "t", keys, Passed, &[]),
        (typed("nothing", "text"), "t", types, Failed, &["no column nothing", "Correct `column_types`"]),
        (typed("id", "text"), "counted", types, Failed, &["identity column"]),
        (typed("wide", "integer"), "t", types, Warning, &["wide: numeric to integer", "wider types"]),
        (typed("n", "bigint"), "t", types, Passed, &[]),
        (
            distributed(&["n"]),
            "t",
            "destination.family",
            Failed,
            &["neither distribution keys", "Take `distribution_key`"],
        ),
    ] {
        let found = item(&mut scenario, with(&spec, table, options), name).await?;
        ensure_says(&found, outcome, words)?;
    }
    let again = scenario.spec();
    scenario.create(again).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn distribution_and_storage_that_do_not_fit_are_refused() -> Result<()> {
    use PrecheckOutcome::{Failed, Passed, Warning};
    let mut scenario = Scenario::new("greenplum_overrides").await?;
    let _standin = Greenplum::destination_of(&mut scenario, true).await?;
    scenario.destination.run("DROP ACCESS METHOD ao_row").await?;
    scenario.source.run(TABLES).await?;
    scenario.destination.run("SET allow_system_table_mods = on; CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql AS
         $$ SELECT 'PostgreSQL 12.12 (Greenplum Database 7.0.6.5 build x)' $$").await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec.clone()).await?;
    scenario.tasks.release(scenario.task_id()).await?;
    let (distribution, family) = ("source.distribution_key", "destination.family");
    let outside = TableOptions { distribution_key: names(&["n"]), ..key(&["code"]) };
    let ao_with_key = TableOptions { storage: "ao_row".into(), ..key(&["code"]) };
    for (options, name, outcome, words) in [
        (
            distributed(&["nothing"]),
            distribution,
            Failed,
            &["no column nothing", "Correct `distribution_key`"][..],
        ),
        (outside, distribution, Failed, &["n of the distribution key", "(code)", "from `primary_key`"]),
        (ao_with_key, distribution, Failed, &["storage ao_row, which has no keys", "choose heap or beam"]),
        (distributed(&["code"]), distribution, Warning, &["code of the distribution key", "widened"]),
        (distributed(&["id"]), distribution, Passed, &[]),
        (stored("ao_row"), family, Failed, &["no storage engine ao_row", "ao_column, beam, heap"]),
        (stored("beam"), family, Failed, &["7.0.6.5", "7.0.6.6"]),
        (stored("ao_column"), family, Passed, &["7.0.6.5"]),
    ] {
        let found = item(&mut scenario, with(&spec, "t", options), name).await?;
        ensure_says(&found, outcome, words)?;
    }
    let again = scenario.spec();
    scenario.create(again).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_source_of_the_family_are_refused_by_name() -> Result<()> {
    let mut scenario = Scenario::new("greenplum_source_precheck").await?;
    let _standin = Greenplum::source_of(&mut scenario, true).await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec.clone()).await?;
    scenario.tasks.release(scenario.task_id()).await?;
    let found = item(&mut scenario, spec.clone(), "source.version").await?;
    ensure_says(
        &found,
        PrecheckOutcome::Failed,
        &["Greenplum family", "per_segment_direct", "[schema, full]"],
    )?;
    scenario.source.run("SET allow_system_table_mods = on; CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql AS
         $$ SELECT 'PostgreSQL 12.12 (Greenplum Database 7.2.1.3 build x)' $$").await?;
    let parts = [Synchronization::Schema.into(), Synchronization::Full.into()];
    let spec = TaskSpec { synchronize: parts.to_vec(), ..spec };
    let found = item(&mut scenario, spec.clone(), "source.kernel_version").await?;
    ensure_says(&found, PrecheckOutcome::Failed, &["7.2.1.3", "7.2.1.4", "Upgrade"])?;
    scenario.create(spec).await?;
    scenario.finish().await
}
