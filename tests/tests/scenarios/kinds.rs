//! Every kind of object arrives, stands idle while changes are applied, and what could not be created can be tried again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{ObjectOutcome, ObjectResult, PrecheckOutcome, Task, TaskSpec, TaskState};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::schema_dump::SchemaDump;
use strait_tests::version::PgVersion::{self, V12, V18};
use strait_tests::wait::{eventually, patience};

/// Known to be different at the destination, each for its reason.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("TRIGGER k.people always_fires", "an ordinary one until the cutover"),
    ("TRIGGER k.people replica_fires", "disabled until the cutover"),
    ("RULE k.texts also \"log\"", "it would keep changes from being applied"),
    ("FUNCTION k.of_a_library()", "a part of the server itself"),
];

/// Everything that the script makes, with what the server's version brought.
async fn make_every_kind(database: &Database) -> Result<()> {
    let script = |name: &str| -> PathBuf { Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(name) };
    database.run_script(&script("kinds.sql")).await?;
    let version = database.number("SELECT current_setting('server_version_num')::int8 / 10000").await?;
    for (since, name) in [(14, "kinds_14.sql"), (15, "kinds_15.sql")] {
        if version >= since {
            database.run_script(&script(name)).await?;
        }
    }
    Ok(())
}

/// Waits until the materialised views are filled, which comes last.
async fn filled(scenario: &Scenario) -> Result<()> {
    let empty = "SELECT count(*) FROM pg_class WHERE relkind = 'm' AND NOT relispopulated";
    let waited = eventually("the materialised views are filled", patience(), async || {
        Ok((scenario.destination.number(empty).await? == 0).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

/// Waits for the result of an object of the kind that comes last.
async fn told_of(scenario: &Scenario, kind: &str) -> Result<Task> {
    let told = |task: &Task| task.objects.iter().any(|object| object.object_kind == kind);
    scenario.tasks.wait_until(scenario.task_id(), "all results are told", patience(), told).await
}

fn result<'t>(task: &'t Task, kind: &str, name: &str) -> Result<&'t ObjectResult> {
    let mut objects = task.objects.iter();
    let found = objects.find(|object| object.object_kind == kind && object.name == name);
    found.with_context(|| format!("nothing is said of the {kind} {name}"))
}

fn failed(task: &Task) -> Vec<String> {
    let failed = task.objects.iter().filter(|object| object.outcome() == ObjectOutcome::Failed);
    failed.map(|object| format!("{} {}: {}", object.object_kind, object.name, object.detail)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_arrives_as_pg_dump_sees_it_and_nothing_fires_meanwhile() -> Result<()> {
    let mut scenario = Scenario::new("kinds").await?;
    make_every_kind(&scenario.source).await?;
    let dump = async |database: &Database| -> Result<SchemaDump> {
        let dump = SchemaDump::of(database, &["strait"]).await?;
        Ok(dump.filter(|object| {
            !EXCEPTIONS.iter().any(|(exception, _)| {
                object.starts_with(exception)
                    || object.ends_with(exception.split_once(' ').map_or("", |it| it.1))
            })
        }))
    };
    let wanted = dump(&scenario.source).await?;
    ensure!(wanted.len() > 120, "only {} objects in the dump", wanted.len());
    scenario.start().await?;
    filled(&scenario).await?;
    let waited = eventually("the schemas are the same", patience(), async || {
        Ok(wanted.assert_same(&dump(&scenario.destination).await?).is_ok().then_some(()))
    })
    .await;
    if waited.is_err() {
        let compared = wanted.assert_same(&dump(&scenario.destination).await?);
        scenario.explain(compared).await?;
    }
    scenario.assert_same_answer("SELECT mood, n FROM k.moods ORDER BY 1").await?;

    // At the source triggers and rules fire on this; here what they wrote arrives as rows, once.
    scenario
        .source
        .run(
            "INSERT INTO k.people (code, age) VALUES ('new', 4), ('newer', 6);
             UPDATE k.people SET code = code || '!' WHERE id < 4;
             DELETE FROM k.people WHERE id = 5;
             UPDATE k.texts SET t = t || '!';
             DELETE FROM k.texts;
             INSERT INTO k.adults (code) VALUES ('by a trigger')",
        )
        .await?;
    scenario.assert_equal().await?;
    let enabled = "SELECT string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger
                   WHERE tgname ~ '_fires$'";
    scenario.assert_arrived(enabled, "always_fires O, never_fires D, replica_fires D").await?;
    everything_is_told_of(&told_of(&scenario, "row security").await?)?;
    scenario.finish().await
}

fn everything_is_told_of(task: &Task) -> Result<()> {
    ensure!(failed(task).is_empty(), "{:#?}", failed(task));
    for (kind, name, outcome, words) in [
        ("event trigger", "on_ddl", ObjectOutcome::Skipped, "after the cutover"),
        ("function", "of_a_library()", ObjectOutcome::Skipped, "the server itself"),
        ("rule", "texts.also \"log\"", ObjectOutcome::Skipped, "ON UPDATE"),
        ("trigger", "people.always_fires", ObjectOutcome::Created, "ENABLE ALWAYS"),
        ("trigger", "people.replica_fires", ObjectOutcome::Created, "disabled here"),
        ("view", "ping", ObjectOutcome::Created, ""),
        ("materialized view", "moods", ObjectOutcome::Created, ""),
        ("cast", "text AS k.point3", ObjectOutcome::Created, ""),
    ] {
        let object = result(task, kind, name)?;
        ensure!(object.outcome() == outcome && object.detail.contains(words), "{object:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_failed_is_created_once_its_cause_is_gone() -> Result<()> {
    let mut scenario = Scenario::new("retried").await?;
    scenario
        .source
        .run(
            "CREATE EXTENSION pgcrypto;
             CREATE TABLE t (id int PRIMARY KEY, b text);
             INSERT INTO t VALUES (1, 'x');
             CREATE VIEW hashed AS SELECT id, encode(digest(b, 'sha256'), 'hex') AS hash FROM t;
             CREATE VIEW over_it AS SELECT hash FROM hashed",
        )
        .await?;
    scenario.create_in_process(scenario.spec()).await?;
    let checked = scenario.tasks.precheck(scenario.task_id()).await?;
    let item = checked.precheck.iter().find(|item| item.name == "destination.requirements");
    let item = item.context("the precheck looks for extensions")?;
    ensure!(item.outcome() == PrecheckOutcome::Warning, "{item:?}");
    ensure!(item.remedy.contains("CREATE EXTENSION \"pgcrypto\" SCHEMA \"public\""), "{item:?}");

    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    ensure!(failed(&scenario.task().await?).len() == 2, "{:?}", failed(&scenario.task().await?));
    let again = scenario.tasks.retry_objects(scenario.task_id()).await?;
    ensure!(
        again.iter().all(|it| it.outcome() == ObjectOutcome::Failed && !it.statement.is_empty()),
        "{again:?}"
    );

    scenario.destination.run("CREATE EXTENSION pgcrypto").await?;
    let again = scenario.tasks.retry_objects(scenario.task_id()).await?;
    ensure!(again.len() == 2 && again.iter().all(|it| it.outcome() == ObjectOutcome::Created), "{again:?}");
    ensure!(failed(&scenario.task().await?).is_empty(), "{:?}", failed(&scenario.task().await?));
    scenario.assert_same_answer("SELECT * FROM over_it").await?;
    ensure!(scenario.tasks.retry_objects(scenario.task_id()).await?.is_empty(), "nothing is left to try");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_role_creates_what_it_may_and_nothing_fires() -> Result<()> {
    let mut scenario = Scenario::new("kinds_role").await?;
    make_every_kind(&scenario.source).await?;
    scenario.source.run("ALTER TABLE k.log FORCE ROW LEVEL SECURITY").await?;
    let role = format!("kinds_{}", scenario.destination.name());
    let database = scenario.destination.name().to_owned();
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE {database} TO {role}; GRANT ALL ON SCHEMA public TO {role}"
    );
    scenario.destination.run(&grants).await?;
    scenario.layout().destination_uri = scenario.destination.uri().replace("postgres@", &format!("{role}@"));
    scenario.start().await?;
    filled(&scenario).await?;
    scenario.source.run("INSERT INTO k.people (code, age) VALUES ('new', 4)").await?;
    scenario.assert_equal().await?;
    let task = told_of(&scenario, "forced row security").await?;
    let refused = failed(&task);
    ensure!(
        refused.iter().any(|it| it.contains("operator class") && it.contains("superuser")),
        "{refused:#?}"
    );
    ensure!(result(&task, "forced row security", "log")?.outcome() == ObjectOutcome::Skipped);
    let trigger = result(&task, "trigger", "people.a \"trigger\"")?;
    ensure!(
        trigger.outcome() == ObjectOutcome::Created && trigger.detail.contains("ENABLE TRIGGER"),
        "{trigger:?}"
    );
    let firing = "SELECT count(*) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
                  WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND c.relkind = 'r'";
    ensure!(scenario.destination.number(firing).await? == 0, "a trigger would fire");
    let strangers = format!(
        "SELECT count(*) FROM pg_proc WHERE pronamespace = 'k'::regnamespace AND prosrc !~ '^(multi)?range_' AND pg_get_userbyid(proowner) <> '{role}'"
    );
    ensure!(scenario.destination.number(&strangers).await? == 0, "a function belongs to somebody else");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kinds_that_a_task_names_come_and_what_they_need() -> Result<()> {
    let mut scenario = Scenario::new("kinds_some").await?;
    make_every_kind(&scenario.source).await?;
    let object_kinds = vec!["table".to_owned(), "trigger".to_owned()];
    scenario.create_in_process(TaskSpec { object_kinds, ..scenario.spec() }).await?;
    scenario.run_until(TaskState::Incremental).await?;
    let count = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";
    let waited = eventually("the triggers of tables are there", patience(), async || {
        Ok((scenario.destination.number(count).await? == 6).then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.assert_equal().await?;
    let left_out =
        "SELECT count(*) FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'k'::regnamespace";
    ensure!(scenario.destination.number(left_out).await? == 0, "a view came");
    let task = scenario.task().await?;
    ensure!(failed(&task).is_empty(), "{:#?}", failed(&task));
    ensure!(result(&task, "function", "next_code()")?.outcome() == ObjectOutcome::Created);
    ensure!(result(&task, "function", "on_change()")?.outcome() == ObjectOutcome::Created);
    ensure!(result(&task, "function", "later()").is_err(), "nothing needs it");
    let views = result(&task, "view", "")?;
    ensure!(views.outcome() == ObjectOutcome::Skipped && views.detail.contains("object_kinds"), "{views:?}");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_the_oldest_arrives_at_the_newest() -> Result<()> {
    between(V12, V18, |failed| failed.is_empty()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_oldest_does_not_know_is_told_of() -> Result<()> {
    between(V18, V12, |failed| {
        let told = |words: &str| failed.iter().any(|it| it.contains(words));
        told("function reads()") && told("view invoker") && told("statistics object of_expressions")
    })
    .await
}

async fn between(source: PgVersion, destination: PgVersion, told: impl Fn(&[String]) -> bool) -> Result<()> {
    let Some(pair) = Pair::of_versions(source, destination).await? else { return Ok(()) };
    let mut scenario = Scenario::on(&pair, "kinds").await?;
    scenario.source.run_script(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/kinds.sql")).await?;
    if source >= PgVersion::V15 {
        // An older server has no table with such a column or key, and the task could not run.
        scenario
            .source
            .run(
                "CREATE FUNCTION k.reads() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM k.people; END;
                 CREATE STATISTICS k.of_expressions ON (code || 'x'), (id % 7) FROM k.people;
                 CREATE VIEW k.invoker WITH (security_invoker = true) AS SELECT id FROM k.people",
            )
            .await?;
    }
    scenario.start().await?;
    filled(&scenario).await?;
    scenario.source.run("INSERT INTO k.people (code, age) VALUES ('new', 4)").await?;
    scenario.assert_equal().await?;
    let failed = failed(&scenario.task().await?);
    ensure!(told(&failed), "{failed:#?}");
    scenario.finish().await
}
