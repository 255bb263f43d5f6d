//! `transform`: rules for rows give the same in the full copy and in the change stream, and what SQL says they should give.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{
    ObjectPattern, ObjectSelection, PrecheckItem, PrecheckOutcome, TableOptions, TaskSpec, TaskState,
    TransformRule,
};
use strait_tests::pair::Pair;
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::version::PgVersion::{self, V12, V18};
use strait_tests::wait::{from_environment, patience};

use crate::streaming::{assert_streamed, with_little_decoding_memory};

const TABLES: &str = r#"
    CREATE TABLE people (id int PRIMARY KEY, country text, email text, bio text, balance numeric, seen timestamptz, raw bytea,
                         "Odd ""name" text, span interval, doc jsonb, share float8);
    ALTER TABLE people ALTER bio SET STORAGE EXTERNAL;
    CREATE TABLE keyed (id int PRIMARY KEY, n int NOT NULL);
    CREATE TABLE loose (kind text, n numeric);
    CREATE TABLE parts (id int, amount int NOT NULL, body text, PRIMARY KEY (id, amount)) PARTITION BY RANGE (amount);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (50);
    CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (50) TO (1000);"#;

/// Random changes, the same for a seed: rows that come to be left out and cease to, keys that change, values that an update
/// leaves alone, and values at the ends of their types.
fn random_changes(seed: u64, rounds: u32) -> String {
    format!(
        r#"SELECT setseed(({seed} % 1000) / 1000.0);
        DO $$
        DECLARE k int; v int; c text; at timestamptz;
        BEGIN
          FOR round IN 1..{rounds} LOOP
            k := floor(random() * 40); v := floor(random() * 100);
            c := (ARRAY['DE', 'FR', 'XX', NULL])[1 + floor(random() * 4)];
            at := (ARRAY['infinity', '-infinity', '2024-05-15 13:45:59.123456', '0044-03-15 10:00 BC'])[1 + v % 4]::timestamptz;
            CASE floor(random() * 6)
            WHEN 0 THEN
              INSERT INTO people VALUES (k, c, md5(v::text) || E'@\t\\x\n', repeat(md5(v::text), 200),
                  v * 1234567890123456789012345678901234567890.1234567890, at, decode(md5(v::text), 'hex'), c, make_interval(v, -v, 0, v, 0, v, v / 8.0),
                  jsonb_build_object('a', v, 'b', c), v / 7.0::float8) ON CONFLICT (id) DO UPDATE SET country = excluded.country;
              INSERT INTO keyed VALUES (k, v) ON CONFLICT DO NOTHING;
              INSERT INTO loose VALUES (c, v / 3.0);
              INSERT INTO parts VALUES (k, v, c) ON CONFLICT DO NOTHING;
            WHEN 1 THEN
              DELETE FROM people WHERE id = k; DELETE FROM parts WHERE id = k; DELETE FROM keyed WHERE id = k;
              DELETE FROM loose AS x WHERE x.ctid = (SELECT ctid FROM loose LIMIT 1);
            WHEN 2 THEN UPDATE people SET country = c WHERE id BETWEEN k AND k + 5;
            WHEN 3 THEN UPDATE people SET balance = -balance, seen = at, bio = bio || c WHERE id = k; UPDATE loose SET n = v / 3.0 WHERE n < k;
            WHEN 4 THEN
              UPDATE people SET id = k, country = c WHERE id = v AND NOT EXISTS (SELECT FROM people WHERE id = k);
              UPDATE keyed SET id = k, n = n + 1 WHERE id = v % 40 AND NOT EXISTS (SELECT FROM keyed WHERE id = k);
            ELSE
              UPDATE parts SET amount = (amount + 37) % 100 WHERE id = k
                AND NOT EXISTS (SELECT FROM parts AS o WHERE o.id = k AND o.amount = (parts.amount + 37) % 100);
              UPDATE parts SET body = c WHERE id = k; UPDATE keyed SET n = v WHERE id = k;
            END CASE;
          END LOOP;
        END $$"#
    )
}

fn rule(when: &str, set: &[(&str, &str)]) -> TransformRule {
    let set = set.iter().map(|(column, text)| ((*column).to_owned(), (*text).to_owned()));
    TransformRule { when: when.into(), set: set.collect(), drop: false }
}

fn leaving_out(when: &str) -> TransformRule {
    TransformRule { when: when.into(), drop: true, ..Default::default() }
}

fn include(table: &str, transform: Vec<TransformRule>) -> ObjectPattern {
    let options = TableOptions { transform, ..TableOptions::default() };
    ObjectPattern { schema: "public".into(), table: table.into(), options: Some(options) }
}

fn spec_of(scenario: &Scenario, mut include: Vec<ObjectPattern>) -> TaskSpec {
    include.push(ObjectPattern { schema: "public".into(), ..Default::default() });
    TaskSpec { objects: Some(ObjectSelection { include, ..Default::default() }), ..scenario.spec() }
}

fn rules() -> Vec<ObjectPattern> {
    vec![
        include(
            "people",
            vec![
                leaving_out("row.country == 'XX' && row.balance >= 0"),
                rule(
                    "row.country == 'DE'",
                    &[
                        ("email", "mask(row.email, 2)"),
                        ("bio", "'masked'"),
                        ("country", "lower(row.country)"),
                    ],
                ),
                rule(
                    "",
                    &[
                        ("balance", "round(row.balance * 1.19, 5)"),
                        ("seen", "row.seen + '1 day 00:00:00.000001'"),
                        ("raw", "row.raw + b'!'"),
                        ("hash", "sha256(row.email)"),
                        ("original", "row.balance"),
                        ("place", "coalesce(row.country, '?') + row[\"Odd \\\"name\"]"),
                        ("day", "date(row.seen)"),
                        ("n", "int(json_text(row.doc, 'a'))"),
                        ("doc", "json_remove(row.doc, 'b')"),
                    ],
                ),
            ],
        ),
        include(
            "keyed",
            vec![rule("row.n % 2 == 0", &[("id", "row.id + 1000")]), leaving_out("row.id % 1000 == 7")],
        ),
        include("loose", vec![rule("", &[("n", "round(row.n, 2)"), ("up", "upper(row.kind)")])]),
        include(
            "parts",
            vec![leaving_out("row.amount % 3 == 0"), rule("row.amount >= 50", &[("body", "row.body + '!'")])],
        ),
    ]
}

/// For each table what SQL makes of the source's rows.
const WANTED: [(&str, &str); 4] = [
    (
        "people",
        r#"SELECT id, CASE WHEN country = 'DE' THEN 'de' ELSE country END,
                  CASE WHEN country = 'DE' THEN left(email, 2) || repeat('*', length(email) - 2) ELSE email END AS email,
                  CASE WHEN country = 'DE' THEN 'masked' ELSE bio END, round(balance * 1.19, 5), seen + '1 day 00:00:00.000001',
                  raw || '\x21', "Odd ""name", span, doc - 'b', share,
                  encode(sha256(convert_to(CASE WHEN country = 'DE' THEN left(email, 2) || repeat('*', length(email) - 2)
                                                ELSE email END, 'UTF8')), 'hex'),
                  balance, coalesce(CASE WHEN country = 'DE' THEN 'de' ELSE country END, '?') || "Odd ""name",
                  (seen AT TIME ZONE 'UTC')::date, (doc ->> 'a')::int8
           FROM people WHERE (country = 'XX' AND balance >= 0) IS NOT TRUE"#,
    ),
    ("keyed", "SELECT CASE WHEN n % 2 = 0 THEN id + 1000 ELSE id END, n FROM keyed WHERE id <> 7"),
    ("loose", "SELECT kind, round(n, 2), upper(kind) FROM loose"),
    (
        "parts",
        "SELECT id, amount, CASE WHEN amount >= 50 THEN body || '!' ELSE body END FROM parts WHERE amount % 3 <> 0",
    ),
];

/// What `people` has at the destination, in that order.
const PEOPLE: &str = r#"SELECT id, country, email, bio, balance, seen, raw, "Odd ""name", span, doc, share, hash, original, place, day, n
                        FROM people"#;

async fn assert_transformed(scenario: &Scenario) -> Result<()> {
    scenario.settle().await?;
    for (table, wanted) in WANTED {
        let found = if table == "people" { PEOPLE.to_owned() } else { format!("SELECT * FROM {table}") };
        let rows = |sql: &str| format!("SELECT r::text COLLATE \"C\" FROM ({sql}) AS r ORDER BY 1");
        let wanted = scenario.source.rows(&rows(wanted)).await?;
        let found = scenario.destination.rows(&rows(&found)).await?;
        let first = wanted.iter().zip(&found).find(|(wanted, found)| wanted != found);
        ensure!(
            wanted == found,
            "{table}: {} rows instead of {}; first difference {first:.1500?}",
            found.len(),
            wanted.len()
        );
    }
    Ok(())
}

async fn rows_arrive_transformed(pair: &Pair, streams: bool) -> Result<()> {
    let mut scenario = Scenario::on(pair, "transform").await?;
    scenario.source.run(TABLES).await?;
    if streams {
        with_little_decoding_memory(&scenario).await?;
    }
    let seed = from_environment("STRAIT_TEST_SEED", 7);
    scenario.source.run(&random_changes(seed, 1200)).await?;
    let spec = spec_of(&scenario, rules());
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    // What the full copy left.
    assert_transformed(&scenario).await?;
    for round in 1..=3 {
        scenario.source.run(&random_changes(seed + round, 500)).await?;
        assert_transformed(&scenario).await?;
    }
    let large = "BEGIN; INSERT INTO people SELECT g, 'DE', md5(g::text), 'x', g FROM generate_series(1000, 4000) g;
         SAVEPOINT a; UPDATE people SET country = 'XX'; DELETE FROM keyed; ROLLBACK TO a;
         UPDATE people SET country = 'XX' WHERE id % 3 = 0; UPDATE people SET id = -id WHERE id % 10 = 1; COMMIT";
    scenario.source.run(large).await?;
    assert_transformed(&scenario).await?;
    if streams {
        assert_streamed(&scenario, 1).await?;
    }
    scenario.tasks.pause(scenario.task_id()).await?;
    for round in 10..12 {
        scenario.source.run(&random_changes(seed + round, 500)).await?;
    }
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    assert_transformed(&scenario).await?;
    scenario
        .source
        .run("TRUNCATE people, parts_low; INSERT INTO people VALUES (1, 'DE', 'joe@example.org'), (2, 'XX', 'a')")
        .await?;
    assert_transformed(&scenario).await?;
    let conflicts = scenario.conflicts().await?;
    ensure!(conflicts == 0, "{conflicts} conflicts: {:?}", scenario.task().await?.progress);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_and_followed_rows_are_what_sql_makes_of_them() -> Result<()> {
    rows_arrive_transformed(&Pair::shared().await?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_and_the_newest_source_transform_alike() -> Result<()> {
    let (_, destination) = PgVersion::default_pair()?;
    for (source, streams) in [(V12, false), (V18, true)] {
        if let Some(pair) = Pair::of_versions(source, destination).await? {
            rows_arrive_transformed(&pair, streams).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_time_nothing_unmasked_arrives() -> Result<()> {
    let mut scenario = Scenario::new("transform_killed").await?;
    scenario
        .source
        .run("CREATE TABLE t (id int PRIMARY KEY, secret text); INSERT INTO t SELECT g, 'secret' || g FROM generate_series(1, 20000) g")
        .await?;
    let rules = vec![
        leaving_out("row.id % 5 == 0"),
        rule("", &[("secret", "mask(row.secret, 0)"), ("id", "row.id * 2")]),
    ];
    let spec = spec_of(&scenario, vec![include("t", rules)]);
    scenario.create_with_processes(spec).await?;
    scenario.tasks.start(scenario.task_id(), false).await?;
    for round in 1..=4 {
        scenario
            .source
            .run(&format!(
                "INSERT INTO t SELECT g, 'secret' || g FROM generate_series({round}00000, {round}00500) g;
                 UPDATE t SET id = -id WHERE id % 7 = {round}; DELETE FROM t WHERE id % 11 = {round}"
            ))
            .await?;
        for part in [Part::SourceAgent, Part::SinkAgent] {
            scenario.processes()?.kill(part).await?;
            scenario.processes()?.start_again(part).await?;
        }
    }
    scenario.wait_for(TaskState::Incremental).await?;
    scenario
        .source
        .run("ALTER TABLE t RENAME TO renamed; INSERT INTO renamed VALUES (7777777, 'secret')")
        .await?;
    scenario.settle().await?;
    let wanted = "SELECT count(*) || ' ' || sum(id) FROM (SELECT id * 2::int8 AS id FROM renamed WHERE id % 5 <> 0) AS r";
    let wanted = scenario.source.text(wanted).await?;
    let found = scenario.destination.text("SELECT count(*) || ' ' || sum(id) FROM t").await?;
    ensure!(wanted == found, "{found} instead of {wanted}");
    let unmasked = scenario.destination.number("SELECT count(*) FROM t WHERE secret ~ '[a-z0-9]'").await?;
    ensure!(unmasked == 0, "{unmasked} unmasked rows");
    scenario.source.run("ALTER TABLE renamed RENAME TO t").await?;
    scenario.finish().await
}

fn item<'t>(task: &'t strait_proto::v1::Task, name: &str) -> Result<&'t PrecheckItem> {
    task.precheck.iter().find(|item| item.name == name).with_context(|| format!("no item {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_compile_fail_the_precheck_with_their_position() -> Result<()> {
    let mut scenario = Scenario::new("transform_precheck").await?;
    scenario
        .source
        .run(
            "CREATE TABLE a (id int PRIMARY KEY, email text, twice int GENERATED ALWAYS AS (id * 2) STORED);
             CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE c (v text)",
        )
        .await?;
    let spec = spec_of(
        &scenario,
        vec![
            include(
                "a",
                vec![rule("row.emial == 'x'", &[("email", "1 +\n row.email")]), rule("", &[("twice", "1")])],
            ),
            include("b", vec![leaving_out("op == 'delete'")]),
            include("c", vec![rule("", &[("at", "commit_time")])]),
        ],
    );
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let found = item(&task, "source.transforms")?;
    ensure!(found.outcome() == PrecheckOutcome::Failed && !found.remedy.is_empty(), "{found:?}");
    for words in [
        "public.a: rule 1, when, line 1, column 5: the table has no column emial",
        "public.b: rule 1, drop, line 1, column 4: whether a row is left out may depend on the row alone",
        "public.c: nothing keeps its rows apart",
    ] {
        ensure!(found.cause.contains(words), "{words}: {found:?}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn added_columns_are_announced_and_what_looks_at_the_change_is_warned_of() -> Result<()> {
    let mut scenario = Scenario::new("transform_added").await?;
    scenario
        .source
        .run("CREATE TABLE t (id int PRIMARY KEY, v text, n int); INSERT INTO t VALUES (1, 'a', 5)")
        .await?;
    let set = [("at", "commit_time"), ("op", "op"), ("was", "old.n"), ("small", "row.n")];
    let mut entry = include("t", vec![rule("", &set)]);
    let options = entry.options.get_or_insert_default();
    options.columns = vec!["id".into(), "n".into()];
    options.column_types = [("small".to_owned(), "smallint".to_owned())].into();
    let spec = spec_of(&scenario, vec![entry]);
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let found = item(&task, "source.transforms")?;
    ensure!(
        found.outcome() == PrecheckOutcome::Warning
            && found.detail.contains("public.t.at (timestamp with time zone)")
            && found.detail.contains("public.t.small (smallint)"),
        "{found:?}"
    );
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO t VALUES (2, 'b', 6); UPDATE t SET n = 7 WHERE id = 1").await?;
    scenario
        .assert_arrived(
            "SELECT id, n, op, was, small, at > now() - '1 hour'::interval FROM t ORDER BY 1",
            "1|7|update|5|7|t\n2|6|insert||6|t",
        )
        .await?;
    let types = "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
                 WHERE attrelid = 't'::regclass AND attnum > 0";
    let types = scenario.destination.text(types).await?;
    ensure!(
        types == "id integer, n integer, at timestamp with time zone, op text, small smallint, was bigint",
        "{types}"
    );
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_on_a_row_stops_the_task_and_shows_no_value() -> Result<()> {
    let mut scenario = Scenario::new("transform_error").await?;
    scenario.source.run("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, '7')").await?;
    let spec = spec_of(&scenario, vec![include("t", vec![rule("", &[("n", "int(row.v)")])])]);
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO t VALUES (3, 'secret')").await?;
    let failed = |task: &strait_proto::v1::Task| task.state() == TaskState::Failed;
    let task = scenario.tasks.wait_until(scenario.task_id(), "the task fails", patience(), failed).await?;
    let failure = task.failure.context("a cause")?;
    ensure!(
        failure.cause.contains("public.t") && failure.cause.contains("rule 1, set.n, line 1, column 1"),
        "{failure:?}"
    );
    let told = format!("{failure:?} {:?}", scenario.tasks.events(scenario.task_id()).await?);
    ensure!(!told.contains("secret"), "{told}");
    scenario.finish().await
}
