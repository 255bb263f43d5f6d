//! Tables that are created while the task runs join it: with their rows, keys and later changes, and without a pause of the
//! others, whatever is killed meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use strait_proto::v1::{ObjectOutcome, ObjectPattern, TableIssueKind, Task, TaskState};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::processes::Part;
use strait_tests::proxy::Proxy;
use strait_tests::scenario::Scenario;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, from_environment, patience};
use strait_tests::workload::Workload;

/// Waits until tables are the task's own and live.
async fn joined(scenario: &Scenario, tables: &[&str]) -> Result<()> {
    let names: Vec<String> = tables.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    let sql = format!(
        "SELECT count(*) FROM strait.table_state
         WHERE task_id = '{}' AND phase = 'ready' AND schema_name || '.' || table_name IN ({})",
        scenario.task_id(),
        names.join(", ")
    );
    let wanted = i64::try_from(tables.len())?;
    let waited = eventually("the new tables have joined", 2 * patience(), async || {
        Ok((scenario.destination.number(&sql).await.ok() == Some(wanted)).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

fn marked(task: &Task, table: &str, kind: TableIssueKind) -> Option<String> {
    let stream = task.progress.as_ref()?.stream.as_ref()?;
    let of = |issue: &&strait_proto::v1::TableIssue| {
        issue.kind() == kind && issue.table.as_ref().is_some_and(|it| it.name == table)
    };
    stream.table_issues.iter().find(of).map(|issue| issue.reason.clone())
}

fn pattern(schema: &str, table: &str) -> ObjectPattern {
    ObjectPattern { schema: schema.into(), table: table.into(), options: None }
}

/// Every kind of table that joins, with some rows from before anybody noticed it.
const NEWCOMERS: &str = r#"
    CREATE TYPE mood AS ENUM ('well', 'ill');
    CREATE SEQUENCE numbers START 100;
    CREATE TABLE keyed (id bigserial PRIMARY KEY, mood mood DEFAULT 'well', n int DEFAULT nextval('numbers') UNIQUE,
                        twice int GENERATED ALWAYS AS (char_length('ab')) STORED, old_id int REFERENCES old);
    CREATE INDEX ON keyed (mood, n);
    INSERT INTO keyed (old_id) SELECT 1 FROM generate_series(1, 500);
    CREATE TABLE keyless (a int, b text);
    INSERT INTO keyless SELECT g % 3, 'same' FROM generate_series(1, 50) g;
    CREATE TABLE parted (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
    CREATE TABLE parted_21 PARTITION OF parted_2 FOR VALUES FROM (100) TO (150);
    INSERT INTO parted SELECT g, 'x' FROM generate_series(0, 149) g;
    CREATE TABLE heir (extra text, PRIMARY KEY (a)) INHERITS (old);
    INSERT INTO heir VALUES (7, 'inherited', 'own');
    CREATE SCHEMA "Später ""x""";
    CREATE TABLE "Später ""x"""."Tab'le .*" ("Ei d" int PRIMARY KEY, "select" text);
    INSERT INTO "Später ""x"""."Tab'le .*" VALUES (1, 'ö');
    CREATE UNLOGGED TABLE unlogged (a int);
    CREATE TABLE tmp_left_out (a int);
"#;

const JOINED: [&str; 5] =
    ["public.keyed", "public.keyless", "public.parted", "public.heir", "Später \"x\".Tab'le .*"];

async fn change_newcomers(source: &Database) -> Result<()> {
    source
        .run(
            r#"UPDATE keyed SET mood = 'ill' WHERE id % 2 = 0; DELETE FROM keyed WHERE id = 5;
               INSERT INTO keyed (old_id) VALUES (1);
               DELETE FROM keyless WHERE ctid = (SELECT ctid FROM keyless LIMIT 1);
               UPDATE keyless SET b = 'other' WHERE ctid = (SELECT ctid FROM keyless ORDER BY a LIMIT 1);
               INSERT INTO keyless VALUES (1, 'same'), (1, 'same');
               DELETE FROM parted WHERE id = 139; UPDATE parted SET id = id + 40 WHERE id = 99; TRUNCATE parted_21;
               CREATE TABLE parted_22 PARTITION OF parted_2 FOR VALUES FROM (150) TO (200);
               INSERT INTO parted VALUES (120, 'y'), (160, 'z');
               UPDATE heir SET extra = 'changed'; UPDATE old SET b = b || '!';
               UPDATE "Später ""x"""."Tab'le .*" SET "select" = 'ü', "Ei d" = 2"#,
        )
        .await
}

async fn tables_of_every_kind_join(pair: &Pair) -> Result<()> {
    let mut scenario = Scenario::on(pair, "join_kinds").await?;
    scenario
        .source
        .run("CREATE TABLE old (a int PRIMARY KEY, b text); INSERT INTO old VALUES (1, 'one')")
        .await?;
    let mut spec = scenario.spec();
    spec.objects.get_or_insert_default().exclude.push(pattern("*", "tmp_*"));
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;

    scenario.source.run(NEWCOMERS).await?;
    scenario.settle().await?;
    // While they join: what is written now comes with the copy, or in their own stream, or in the task's.
    change_newcomers(&scenario.source).await?;
    joined(&scenario, &JOINED).await?;
    scenario
        .source
        .run(
            "INSERT INTO keyed (old_id) VALUES (1); INSERT INTO keyless VALUES (9, 'late'); DELETE FROM keyless WHERE a = 2;
             UPDATE heir SET b = 'late'; BEGIN; INSERT INTO keyed (old_id) VALUES (1); INSERT INTO old VALUES (3, 'x'); COMMIT",
        )
        .await?;
    // PostgreSQL 12 publishes leaves one by one, so a new one has to stay empty for a while.
    if scenario.source.number("SELECT current_setting('server_version_num')::int8").await? >= 130_000 {
        let late = "CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (200) TO (300); INSERT INTO parted VALUES (250, 'late')";
        scenario.source.run(late).await?;
    }
    scenario.settle().await?;
    for table in ["keyed", "keyless", "parted", "heir", "old", r#""Später ""x"""."Tab'le .*""#] {
        let sql =
            format!("SELECT md5(string_agg(t::text, ',' ORDER BY t::text)), count(*) FROM {table} AS t");
        scenario.assert_same_answer(&sql).await.with_context(|| format!("table {table}"))?;
    }
    scenario.foreign_keys_arrived().await?;
    let structure = "SELECT string_agg(indexdef, ';' ORDER BY indexname) FROM pg_indexes WHERE tablename IN ('keyed', 'heir')";
    scenario.assert_same_answer(structure).await?;
    scenario
        .assert_arrived("SELECT 'heir'::regclass::oid IN (SELECT inhrelid FROM pg_inherits)", "t")
        .await?;
    scenario
        .assert_arrived("SELECT to_regclass('unlogged') IS NULL AND to_regclass('tmp_left_out') IS NULL", "t")
        .await?;
    ensure!(scenario.conflicts().await? == 0);
    let task = scenario.task().await?;
    let told = |name: &str| task.objects.iter().find(|it| it.object_kind == "table" && it.name == name);
    let unlogged = told("unlogged").context("the unlogged table is told of")?;
    ensure!(unlogged.outcome() == ObjectOutcome::Skipped && unlogged.detail.contains("WAL"), "{unlogged:?}");
    ensure!(told("keyed").is_some_and(|it| it.outcome() == ObjectOutcome::Created), "{:?}", told("keyed"));
    ensure!(told("tmp_left_out").is_none());
    // Sequences come along, and nothing of the joining is left.
    let drawn = "SELECT last_value >= 600 FROM numbers";
    eventually("the sequence is set", patience(), async || {
        Ok((scenario.destination.text(drawn).await? == "t").then_some(()))
    })
    .await?;
    eventually("the slot of the joining tables goes", patience(), async || {
        let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\\_join%' AND database = current_database()";
        Ok((scenario.source.number(left).await? == 0).then_some(()))
    })
    .await?;
    ensure!(
        scenario.source.text("SELECT relreplident FROM pg_class WHERE relname = 'keyless'").await? == "f",
        "a table without a key gets REPLICA IDENTITY FULL"
    );
    // Which the release takes back.
    scenario.expect_footprint("", "identity keyless d");
    scenario.expect_footprint("", r#"schema Später "x""#);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_every_kind_join_with_all_that_belongs_to_them() -> Result<()> {
    tables_of_every_kind_join(&Pair::shared().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_join_at_the_oldest_and_the_newest_servers() -> Result<()> {
    for (source, destination) in [(PgVersion::V12, PgVersion::V18), (PgVersion::V18, PgVersion::V12)] {
        if let Some(pair) = Pair::of_versions(source, destination).await? {
            tables_of_every_kind_join(&pair).await.with_context(|| format!("{source} to {destination}"))?;
        }
    }
    Ok(())
}

/// The copy of a new table takes long, over a slow line of its own; the others' changes pass it.
#[tokio::test(flavor = "multi_thread")]
async fn the_others_flow_while_a_large_table_is_copied() -> Result<()> {
    let mut scenario = Scenario::new("join_large").await?;
    scenario.source.run("CREATE TABLE old (a int PRIMARY KEY)").await?;
    scenario.start().await?;
    scenario
        .source
        .run(
            "CREATE TABLE large (id int PRIMARY KEY, v text);
             ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
             INSERT INTO large SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 60000) g;
             CREATE INDEX ON large (v)",
        )
        .await?;
    let (mut slowest, mut rounds, mut copying) = (Duration::ZERO, 0, 0);
    let count = format!(
        "SELECT count(*) FROM strait.table_state WHERE table_name = 'large' AND task_id = '{}'",
        scenario.task_id()
    );
    while scenario.destination.number(&count).await? == 0 {
        rounds += 1;
        let begun = Instant::now();
        scenario
            .source
            .run(&format!(
                "INSERT INTO old VALUES ({rounds}); UPDATE large SET v = v || 'x' WHERE id = {rounds}"
            ))
            .await?;
        scenario.settle().await?;
        slowest = slowest.max(begun.elapsed());
        copying += i32::from(marked(&scenario.task().await?, "large", TableIssueKind::Joining).is_some());
        ensure!(rounds < 5000, "the table does not join");
    }
    eprintln!("{rounds} rounds, {copying} of them while it was copied, the slowest took {slowest:?}");
    ensure!(copying > 0, "the status never said that the table joins");
    ensure!(slowest < Duration::from_secs(10), "the slowest round took {slowest:?}");
    scenario.source.run("UPDATE large SET v = '' WHERE id % 100 = 0").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_keeps_that_table_out_and_no_other() -> Result<()> {
    let mut scenario = Scenario::new("join_taken").await?;
    scenario.source.run("CREATE TABLE old (a int PRIMARY KEY)").await?;
    scenario.start().await?;
    scenario
        .destination
        .run("CREATE TABLE taken (of_somebody_else int); INSERT INTO taken VALUES (42)")
        .await?;
    scenario
        .source
        .run(
            "BEGIN; CREATE TABLE taken (a int PRIMARY KEY); CREATE TABLE free (a int PRIMARY KEY);
             INSERT INTO taken VALUES (1); INSERT INTO free VALUES (1); COMMIT",
        )
        .await?;
    joined(&scenario, &["public.free"]).await?;
    let wait = "the status says which table could not join";
    let task = scenario
        .tasks
        .wait_until(scenario.task_id(), wait, patience(), |task| {
            marked(task, "taken", TableIssueKind::NotJoined).is_some()
        })
        .await?;
    let reason = marked(&task, "taken", TableIssueKind::NotJoined).unwrap_or_default();
    ensure!(reason.contains("has these already"), "{reason}");
    scenario
        .source
        .run("INSERT INTO taken VALUES (2); INSERT INTO free VALUES (2); INSERT INTO old VALUES (1)")
        .await?;
    scenario.assert_same_answer("SELECT sum(a) FROM free").await?;
    scenario.assert_arrived("SELECT * FROM taken", "42").await?;

    // A new run tries again.
    scenario.destination.run("DROP TABLE taken").await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario.source.run("CREATE TABLE meanwhile (a int); INSERT INTO meanwhile VALUES (1), (1)").await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    joined(&scenario, &["public.free", "public.taken", "public.meanwhile"]).await?;
    scenario.source.run("DELETE FROM taken WHERE a = 1; DELETE FROM meanwhile").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

/// One, two or all of the parts.
fn victims(random: &mut StdRng) -> Vec<Part> {
    let number = *[1, 1, 1, 2, 3].choose(random).unwrap_or(&1);
    Part::ALL.choose_multiple(random, number).copied().collect()
}

/// `STRAIT_TEST_KILLS` says how often (4).
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_tables_join() -> Result<()> {
    let seed = from_environment("STRAIT_TEST_SEED", rand::random());
    eprintln!("kills: STRAIT_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scenario = Scenario::new("join_killed").await?;
    scenario.source.run("CREATE TABLE old (a int PRIMARY KEY)").await?;
    // A slow line, so that the copy lasts long enough to be hit in its middle.
    let sink = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, scenario.layout().sink_port));
    let line = Proxy::with_rate(sink, 8_000_000).await?;
    scenario.layout().source_to_sink = line.port();
    scenario.start_processes().await?;
    scenario
        .source
        .run(
            "CREATE TABLE large AS SELECT g AS id, repeat(md5(g::text), 100) AS v FROM generate_series(1, 5000) g;
             ALTER TABLE large ADD PRIMARY KEY (id)",
        )
        .await?;
    // Its tables are new, and all of them are written to from the first moment on.
    Workload::prepare(&scenario.source).await?;
    let workload = Workload::start(&scenario.source, 3, 100);
    for round in 1..=from_environment("STRAIT_TEST_KILLS", 4) {
        tokio::time::sleep(Duration::from_millis(random.random_range(500..5000))).await;
        let victims = victims(&mut random);
        eprintln!("kill {round}: {victims:?}");
        for &part in &victims {
            scenario.processes()?.kill(part).await?;
        }
        for &part in &victims {
            scenario.processes()?.start_again(part).await?;
        }
    }
    joined(&scenario, &["public.large", "load.keyed", "load.keyless", "load.parts"]).await?;
    scenario.settle().await?;
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.foreign_keys_arrived().await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.expect_footprint("", "schema load");
    scenario.finish().await
}
