//! `where`: the rows of a table that are synchronised, the same in the full copy and in the change stream, whatever happens
//! to them at the source.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{ObjectPattern, ObjectSelection, PrecheckOutcome, TableOptions, TaskSpec, TaskState};
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::version::PgVersion::{self, V12, V18};
use strait_tests::wait::{from_environment, patience};

use crate::streaming::{assert_streamed, with_little_decoding_memory};

/// Table and condition.
const FILTERS: [(&str, &str); 6] = [
    (
        "wide",
        "amount > 10 AND (kind IS NULL OR kind LIKE 'a%') AND cardinality(\"Tags \"\"x\"\"\") < 3 -- the cheap ones",
    ),
    ("loose", "kind = 'a' OR amount < 5"),
    ("parts", "amount % 3 <> 0 AND lower(body) <> 'b'"),
    ("numbers", "id % 2 = 0"),
    ("moods", "mood > 'sad' AND public.is_good(note) AND at >= '2024-01-01 00:00'"),
    ("t", "c % 3 = 1 OR b LIKE '%f'"),
];

const TABLES: &str = r#"
    CREATE TABLE wide (id int PRIMARY KEY, kind text, amount numeric(12, 2), body text, "Tags ""x""" int[] NOT NULL DEFAULT '{}',
                       at timestamptz DEFAULT now());
    ALTER TABLE wide ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE loose (kind text, amount float8);
    CREATE TABLE parts (id int, amount int NOT NULL, body text, PRIMARY KEY (id, amount)) PARTITION BY RANGE (amount);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (50);
    CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (50) TO (1000);
    CREATE TABLE numbers (id int PRIMARY KEY, n int);
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE FUNCTION is_good(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length($1) > 3';
    CREATE TABLE moods (id int PRIMARY KEY, mood mood, note varchar(20) COLLATE "C", at timestamp DEFAULT '2024-06-01');"#;

/// Random changes, the same for a seed: of every sort, so that rows come to match and cease to, with keys that change and
/// values that an update leaves alone.
fn random_changes(seed: u64, rounds: u32) -> String {
    format!(
        r#"SELECT setseed(({seed} % 1000) / 1000.0);
        DO $$
        DECLARE k int; v int; kind text; tags int[];
        BEGIN
          FOR round IN 1..{rounds} LOOP
            k := floor(random() * 40); v := floor(random() * 100);
            kind := (ARRAY['a', 'ab', 'b', NULL])[1 + floor(random() * 4)];
            tags := (ARRAY['{{}}', '{{1,2}}', '{{1,2,3}}'])[1 + floor(random() * 3)]::int[];
            CASE floor(random() * 8)
            WHEN 0 THEN
              INSERT INTO wide VALUES (k, kind, v / 4.0, repeat(md5(v::text), 200), tags) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind;
              INSERT INTO loose VALUES (kind, v / 10.0);
              INSERT INTO parts VALUES (k, v, kind) ON CONFLICT DO NOTHING;
              INSERT INTO numbers VALUES (k, v) ON CONFLICT DO NOTHING;
              INSERT INTO moods VALUES (k, (ARRAY['sad', 'ok', 'happy', NULL])[1 + v % 4]::mood, repeat('n', v % 8)) ON CONFLICT DO NOTHING;
            WHEN 1 THEN
              DELETE FROM wide WHERE id = k; DELETE FROM parts WHERE id = k; DELETE FROM numbers WHERE id = k;
              DELETE FROM loose AS x WHERE x.ctid = (SELECT ctid FROM loose LIMIT 1);
            WHEN 2 THEN UPDATE wide SET amount = v / 4.0 WHERE id BETWEEN k AND k + 5;
            WHEN 3 THEN UPDATE wide SET kind = (ARRAY['a', 'b', NULL])[1 + v % 3], "Tags ""x""" = tags WHERE id = k;
            WHEN 4 THEN
              UPDATE wide SET id = k, amount = v WHERE id = v AND NOT EXISTS (SELECT FROM wide WHERE id = k);
              UPDATE numbers SET id = k, n = n + 1 WHERE id = v % 40 AND NOT EXISTS (SELECT FROM numbers WHERE id = k);
            WHEN 5 THEN
              UPDATE parts SET amount = (amount + 37) % 100 WHERE id = k
                AND NOT EXISTS (SELECT FROM parts AS o WHERE o.id = k AND o.amount = (parts.amount + 37) % 100);
              UPDATE parts SET body = kind WHERE id = k;
            WHEN 6 THEN
              UPDATE loose SET amount = v / 10.0 WHERE amount < k / 10.0; UPDATE numbers SET n = v WHERE id = k;
            ELSE
              UPDATE moods SET mood = (ARRAY['sad', 'ok', 'happy', NULL])[1 + v % 4]::mood WHERE id = k;
              UPDATE moods SET note = repeat('m', v % 8), at = at - '2 months'::interval WHERE id = v % 40;
            END CASE;
          END LOOP;
        END $$"#
    )
}

fn include(table: &str, condition: &str) -> ObjectPattern {
    let options = TableOptions { r#where: condition.into(), ..TableOptions::default() };
    ObjectPattern { schema: "public".into(), table: table.into(), options: Some(options) }
}

fn spec_of(scenario: &Scenario, filters: &[(&str, &str)]) -> TaskSpec {
    let mut include: Vec<_> = filters.iter().map(|(table, condition)| include(table, condition)).collect();
    include.push(ObjectPattern { schema: "public".into(), table: String::new(), options: None });
    TaskSpec { objects: Some(ObjectSelection { include, ..Default::default() }), ..scenario.spec() }
}

/// Settles, then fails unless the destination has exactly the rows that match.
async fn assert_filtered(scenario: &Scenario, filters: &[(&str, &str)]) -> Result<()> {
    scenario.settle().await?;
    for (table, condition) in filters {
        let rows = format!("SELECT r::text COLLATE \"C\" FROM {table} AS r");
        let wanted = scenario.source.rows(&format!("{rows} WHERE (\n{condition}\n) ORDER BY 1")).await?;
        let found = scenario.destination.rows(&format!("{rows} ORDER BY 1")).await?;
        let first = wanted.iter().zip(&found).find(|(wanted, found)| wanted != found);
        ensure!(
            wanted == found,
            "{table}: {} rows instead of {}; first difference {first:.300?}",
            found.len(),
            wanted.len()
        );
    }
    Ok(())
}

async fn only_matching_rows_arrive(pair: &Pair, streams: bool) -> Result<()> {
    let mut scenario = Scenario::on(pair, "row_filter").await?;
    scenario.source.run(TABLES).await?;
    if streams {
        with_little_decoding_memory(&scenario).await?;
    } else {
        scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text, c int DEFAULT 0)").await?;
    }
    let seed = from_environment("STRAIT_TEST_SEED", 7);
    scenario.source.run(&random_changes(seed, 1500)).await?;
    scenario
        .source
        .run("INSERT INTO t SELECT g, md5(g::text), g % 7 FROM generate_series(10, 500) g")
        .await?;
    let spec = spec_of(&scenario, &FILTERS);
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    // What the full copy left.
    assert_filtered(&scenario, &FILTERS).await?;
    let full = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relreplident = 'f'
                AND relnamespace = 'public'::regnamespace AND relname <> 'keyless'";
    let identities = scenario.source.text(full).await?;
    ensure!(identities == "loose moods parts_high parts_low t wide", "{identities}");

    for round in 1..=3 {
        scenario.source.run(&random_changes(seed + round, 600)).await?;
        assert_filtered(&scenario, &FILTERS).await?;
    }
    // In one transaction with what is rolled back; at a source that can, it arrives before its commit.
    let large = "BEGIN;
         INSERT INTO t SELECT g, md5(g::text), g % 5 FROM generate_series(1000, 4000) g;
         SAVEPOINT a; UPDATE t SET c = c + 1; DELETE FROM t WHERE a % 2 = 0; ROLLBACK TO a;
         UPDATE t SET c = c + 1 WHERE a % 3 = 0; UPDATE t SET a = -a WHERE a % 10 = 1; DELETE FROM t WHERE a % 4 = 0;
         ALTER TABLE t ADD COLUMN d int; UPDATE t SET d = 1, c = 4 - c WHERE a > 3900; COMMIT";
    scenario.destination.run("ALTER TABLE t ADD COLUMN d int").await?;
    scenario.source.run(large).await?;
    assert_filtered(&scenario, &FILTERS).await?;
    if streams {
        assert_streamed(&scenario, 1).await?;
    }
    // A backlog, and a new partition.
    scenario.tasks.pause(scenario.task_id()).await?;
    for round in 10..13 {
        scenario.source.run(&random_changes(seed + round, 600)).await?;
    }
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    assert_filtered(&scenario, &FILTERS).await?;
    scenario
        .source
        .run("TRUNCATE wide, parts_low; INSERT INTO wide VALUES (1, 'a', 11), (2, 'b', 11)")
        .await?;
    assert_filtered(&scenario, &FILTERS).await?;
    let conflicts = scenario.conflicts().await?;
    ensure!(conflicts == 0, "{conflicts} conflicts: {:?}", scenario.task().await?.progress);
    // Sees that the identities are restored.
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_matching_rows_are_copied_and_streamed() -> Result<()> {
    only_matching_rows_arrive(&Pair::shared().await?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_and_the_newest_source_filter_alike() -> Result<()> {
    let (_, destination) = PgVersion::default_pair()?;
    for (source, streams) in [(V12, false), (V18, true)] {
        if let Some(pair) = Pair::of_versions(source, destination).await? {
            only_matching_rows_arrive(&pair, streams).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_table_that_is_renamed_or_restarted_keeps_its_condition() -> Result<()> {
    let mut scenario = Scenario::new("row_filter_rename").await?;
    scenario.source.run("CREATE TABLE t (id int PRIMARY KEY, v text)").await?;
    scenario.source.run("INSERT INTO t VALUES (1, 'in'), (2, 'out')").await?;
    let spec = spec_of(&scenario, &[("t", "v = 'in'")]);
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario
        .source
        .run("ALTER TABLE t RENAME TO other; INSERT INTO other VALUES (3, 'in'), (4, 'out')")
        .await?;
    scenario.assert_arrived("SELECT id FROM t ORDER BY 1", "1\n3").await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario
        .source
        .run("INSERT INTO other VALUES (5, 'in'), (6, 'out'); UPDATE other SET v = 'in' WHERE id = 2")
        .await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_arrived("SELECT id FROM t ORDER BY 1", "1\n2\n3\n5").await?;
    scenario.source.run("ALTER TABLE other RENAME TO t").await?;
    scenario.finish().await
}

/// Condition, and what the precheck says about it.
const REFUSED: [(&str, &str); 14] = [
    ("nothing > 0", "nothing"),
    ("a >", "syntax error"),
    ("a", "boolean"),
    ("a > 0, true", "boolean"),
    ("a > 0) OR (true", "syntax error"),
    ("a > 0; DROP TABLE t0", "syntax error"),
    ("at > now()", "IMMUTABLE"),
    ("random() < 0.5", "IMMUTABLE"),
    ("at::date = '2024-01-01'", "IMMUTABLE"),
    ("a IN (SELECT 1)", "subquery"),
    ("sum(a) > 0", "aggregate"),
    ("ctid IS NOT NULL", "ctid"),
    ("generated > 0", "generated"),
    ("strait_row IS NOT NULL", "strait_row"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_depends_on_more_than_the_row_fails_the_precheck() -> Result<()> {
    let mut scenario = Scenario::new("row_filter_precheck").await?;
    let mut filters = vec![("fine", "a > 0 AND note = 'it''s ) fine' /* ( */ -- (")];
    scenario.source.run("CREATE TABLE fine (a int PRIMARY KEY, note text)").await?;
    let names: Vec<String> = (0..REFUSED.len()).map(|number| format!("t{number}")).collect();
    for (name, (condition, _)) in names.iter().zip(REFUSED) {
        let sql = format!(
            "CREATE TABLE {name} (a int PRIMARY KEY, at timestamptz, generated int GENERATED ALWAYS AS (a + 1) STORED)"
        );
        scenario.source.run(&sql).await?;
        filters.push((name, condition));
    }
    let spec = spec_of(&scenario, &filters);
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let item = task.precheck.iter().find(|item| item.name == "source.filters").context("no item")?;
    ensure!(item.outcome() == PrecheckOutcome::Failed && !item.remedy.is_empty(), "{item:?}");
    for (name, (condition, word)) in names.iter().zip(REFUSED) {
        let from =
            item.cause.find(&format!("public.{name}:")).with_context(|| format!("{condition}: {item:?}"))?;
        let told = &item.cause[from..];
        let told = &told[..told[1..].find("public.").map_or(told.len(), |end| end + 1)];
        ensure!(told.contains(word), "{condition}: {told}");
    }
    ensure!(!item.cause.contains("public.fine"), "{}", item.cause);
    let identity =
        task.precheck.iter().find(|item| item.name == "source.replica_identity").context("no item")?;
    ensure!(
        identity.outcome() == PrecheckOutcome::Warning && identity.cause.contains("where"),
        "{identity:?}"
    );
    let left = "SELECT count(*) FROM pg_class WHERE relname = 'strait_row'";
    ensure!(scenario.source.number(left).await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_fails_on_a_row_stops_the_task_and_shows_no_value() -> Result<()> {
    let mut scenario = Scenario::new("row_filter_error").await?;
    scenario.source.run("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, '7')").await?;
    let spec = spec_of(&scenario, &[("t", "v::int > 5")]);
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO t VALUES (2, '8'); INSERT INTO t VALUES (3, 'secret')").await?;
    let failed = |task: &strait_proto::v1::Task| task.state() == TaskState::Failed;
    let task = scenario.tasks.wait_until(scenario.task_id(), "the task fails", patience(), failed).await?;
    let failure = task.failure.context("a cause")?;
    ensure!(
        failure.cause.contains("public.t") && failure.cause.contains("22P02") && !failure.remedy.is_empty(),
        "{failure:?}"
    );
    let told = format!("{failure:?} {:?}", scenario.tasks.events(scenario.task_id()).await?);
    ensure!(!told.contains("secret"), "{told}");
    scenario.finish().await
}
