//! A destination of the Greenplum family, as far as a stand-in can be one: what Strait writes is what the family takes, and the
//! rows are right.

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use strait_proto::v1::{
    ApplyPolicy, ExistingTables, ObjectPattern, ObjectSelection, TableOptions, TaskState,
};
use strait_tests::database::Database;
use strait_tests::greenplum::Greenplum;
use strait_tests::pair::Pair;
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

/// A table of each kind that is treated in a way of its own.
const TABLES: &str = r#"
    CREATE TABLE plain (id int PRIMARY KEY, v text, big text);
    CREATE TABLE "Odd ""1""" ("Ei d" int, "select" text, CONSTRAINT "k ""1""" PRIMARY KEY ("Ei d", "select"), n numeric(9,2));
    CREATE TABLE widened (id int PRIMARY KEY, region text NOT NULL, v text, big text, u int UNIQUE);
    CREATE TABLE ao (id bigint PRIMARY KEY, c varchar(9) UNIQUE, v jsonb);
    CREATE TABLE ao_wide (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), v text);
    CREATE TABLE keyless (a int, b text, j json);
    CREATE TABLE becomes_key (a int NOT NULL, b date NOT NULL, c text, UNIQUE (a, b));
    CREATE TABLE swapping (id int PRIMARY KEY, u int, v text);
    CREATE UNIQUE INDEX swapping_u ON swapping (id, u);
    CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now(),
                           twice int GENERATED ALWAYS AS (1 + 1) STORED, plain_id int REFERENCES plain);
    CREATE TABLE parted (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (2000);
    CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.v || ' spoiled'; RETURN NEW; END $$;
    CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON widened FOR EACH ROW EXECUTE FUNCTION spoil();
    ALTER TABLE widened DISABLE TRIGGER spoil;
    CREATE VIEW seen AS SELECT id, v FROM plain;
    INSERT INTO plain SELECT g, 'v' || g, repeat(md5(g::text), 400) FROM generate_series(1, 700) g;
    INSERT INTO "Odd ""1""" SELECT g, 'x', g / 3.0 FROM generate_series(1, 50) g;
    INSERT INTO widened SELECT g, 'r' || g % 5, 'v', repeat(md5(g::text), 400), g FROM generate_series(1, 200) g;
    INSERT INTO ao SELECT g, g, to_jsonb(g) FROM generate_series(1, 300) g;
    INSERT INTO ao_wide (v) SELECT g::text FROM generate_series(1, 100) g;
    INSERT INTO keyless SELECT g % 3, 'same', '{"a": 1}' FROM generate_series(1, 60) g;
    INSERT INTO becomes_key SELECT g, date '2026-01-01' + g FROM generate_series(1, 20) g;
    INSERT INTO swapping SELECT g, g, 'v' FROM generate_series(1, 20) g;
    INSERT INTO numbered (plain_id) SELECT g FROM generate_series(1, 30) g;
    INSERT INTO parted SELECT g, 'p' FROM generate_series(0, 199) g;
"#;

const CHANGES: [&str; 9] = [
    "INSERT INTO plain SELECT g, 'few', 'x' FROM generate_series(1001, 1020) g;
     INSERT INTO plain SELECT g, 'many', NULL FROM generate_series(2001, 3000) g;
     UPDATE plain SET v = v || '!' WHERE id % 2 = 0; DELETE FROM numbered WHERE plain_id % 7 = 0;
     DELETE FROM plain WHERE id % 7 = 0",
    "UPDATE plain SET id = -id WHERE id % 5 = 0 AND id > 100; UPDATE plain SET id = id - 10000 WHERE id > 2500",
    r#"UPDATE "Odd ""1""" SET "select" = 'y' WHERE "Ei d" < 20; UPDATE "Odd ""1""" SET n = 7 WHERE "Ei d" > 30;
       DELETE FROM "Odd ""1""" WHERE "Ei d" = 25; INSERT INTO "Odd ""1""" VALUES (25, 'z', NULL), (26, 'é', 1)"#,
    "UPDATE widened SET region = 'moved' WHERE id % 3 = 0; UPDATE widened SET v = 'w' WHERE id % 4 = 0;
     UPDATE widened SET id = id + 1000, region = 'both' WHERE id > 150; DELETE FROM widened WHERE id < 10;
     INSERT INTO widened SELECT g, 'new', 'n', 'b', g FROM generate_series(3001, 3010) g",
    "UPDATE ao SET v = to_jsonb(id * 2) WHERE id % 2 = 0; DELETE FROM ao WHERE id % 9 = 0;
     UPDATE ao SET id = id + 5000 WHERE id < 20; INSERT INTO ao SELECT g, g FROM generate_series(8000, 8010) g;
     UPDATE ao_wide SET v = v || 'x'; INSERT INTO ao_wide (v) VALUES ('new'); DELETE FROM ao_wide WHERE v LIKE '5%'",
    "DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless WHERE a = 1 LIMIT 4);
     UPDATE keyless SET b = 'other' WHERE ctid IN (SELECT ctid FROM keyless WHERE a = 2 LIMIT 3);
     INSERT INTO keyless SELECT 1, 'same', '{\"a\": 1}' FROM generate_series(1, 5); INSERT INTO keyless VALUES (NULL, NULL, NULL);
     UPDATE becomes_key SET c = 'x'; UPDATE becomes_key SET a = a + 100 WHERE a < 5; DELETE FROM becomes_key WHERE a = 10",
    "UPDATE swapping SET id = -id WHERE id < 3; UPDATE swapping SET id = 3 + id WHERE id < 0;
     UPDATE swapping SET u = u + 1; DELETE FROM swapping WHERE id = 1; INSERT INTO swapping VALUES (1, 1, 'again')",
    "INSERT INTO numbered DEFAULT VALUES; UPDATE numbered SET at = 'epoch' WHERE id < 5;
     UPDATE numbered SET id = DEFAULT WHERE id = 8; DELETE FROM numbered WHERE id = 9;
     UPDATE parted SET id = id + 1000 WHERE id BETWEEN 90 AND 99; UPDATE parted SET v = 'q' WHERE id % 2 = 0;
     TRUNCATE parted_1",
    "TRUNCATE ao_wide; INSERT INTO ao_wide (v) VALUES ('after')",
];

fn pattern(table: &str, options: TableOptions) -> ObjectPattern {
    ObjectPattern { schema: "public".into(), table: table.into(), options: Some(options) }
}

fn stored(storage: &str) -> TableOptions {
    TableOptions { storage: storage.into(), ..Default::default() }
}

fn selection() -> ObjectSelection {
    let by_region = TableOptions { distribution_key: vec!["region".into()], ..stored("heap") };
    ObjectSelection {
        include: vec![
            ObjectPattern { schema: "public".into(), ..Default::default() },
            pattern("widened", by_region),
            pattern("ao", stored("ao_row")),
            pattern("ao_wide", stored("ao_column")),
        ],
        ..Default::default()
    }
}

async fn arrives(beam: bool, lanes: u32) -> Result<()> {
    let mut scenario = Scenario::new("greenplum").await?;
    let standin = Greenplum::destination_of(&mut scenario, beam).await?;
    scenario.source.run(TABLES).await?;
    let mut spec = scenario.spec();
    spec.objects = Some(selection());
    spec.apply = Some(ApplyPolicy { lanes });
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    let storage = "SELECT string_agg(c.relname || ' ' || m.amname || ' ' || pg_get_table_distributedby(c.oid), ', ' ORDER BY c.relname)
                   FROM pg_class AS c JOIN pg_am AS m ON m.oid = c.relam
                   WHERE c.relname IN ('ao', 'ao_wide', 'keyless', 'plain', 'widened')";
    let default = if beam { "beam" } else { "heap" };
    scenario
        .assert_arrived(
            storage,
            &format!(
                "ao ao_row DISTRIBUTED BY (id), ao_wide ao_column DISTRIBUTED BY (id), keyless {default} DISTRIBUTED \
                 RANDOMLY, plain {default} DISTRIBUTED BY (id), widened heap DISTRIBUTED BY (region)"
            ),
        )
        .await?;
    scenario.foreign_keys_arrived().await?;
    // Enabled, it would change every row that is applied.
    let trigger = "SELECT count(*) FROM pg_trigger WHERE tgname = 'spoil'";
    eventually("the trigger is there", patience(), async || {
        Ok((scenario.destination.number(trigger).await? == 1).then_some(()))
    })
    .await?;
    scenario.destination.run("ALTER TABLE widened ENABLE TRIGGER spoil").await?;
    for changes in CHANGES {
        let applied = async {
            scenario.source.run(changes).await?;
            scenario.assert_equal().await
        };
        scenario.explain(applied.await).await?;
    }
    scenario
        .source
        .run("CREATE TABLE joins (id int PRIMARY KEY, v text); INSERT INTO joins VALUES (1, 'a')")
        .await?;
    let joined = "SELECT count(*) FROM strait.table_state WHERE table_name = 'joins' AND phase = 'ready' AND task_id NOT LIKE '%\\_join'";
    let waited = eventually("the new table has joined", 2 * patience(), async || {
        scenario.source.run("UPDATE joins SET v = v || 'x'").await?;
        Ok((scenario.destination.number(joined).await.ok() == Some(1)).then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.assert_equal().await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario.source.run("UPDATE widened SET region = 'last'; INSERT INTO joins VALUES (2, 'b')").await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0, "nothing was missing");
    standin.assert_nothing_refused()?;
    scenario.finish().await?;
    standin.assert_nothing_refused()
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_rows_and_changes_of_every_kind_arrive() -> Result<()> {
    arrives(false, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_beam_and_lanes() -> Result<()> {
    arrives(true, 4).await
}

/// Tables that stand before the task, with rows of their own; an INSERT overwrites, a change of a missing row is a conflict.
#[tokio::test(flavor = "multi_thread")]
async fn existing_tables_keep_their_rows_and_conflicts_are_met_row_by_row() -> Result<()> {
    let mut scenario = Scenario::new("greenplum_existing").await?;
    let standin = Greenplum::destination_of(&mut scenario, false).await?;
    let tables = "CREATE TABLE heap_table (id int PRIMARY KEY, v text); CREATE TABLE ao_table (id int PRIMARY KEY, v text)";
    scenario.source.run(tables).await?;
    scenario
        .source
        .run("INSERT INTO heap_table VALUES (1, 's'), (2, 's'); INSERT INTO ao_table VALUES (1, 's')")
        .await?;
    scenario
        .destination
        .run(
            "CREATE TABLE heap_table (id int PRIMARY KEY, v text);
             CREATE TABLE ao_table (id int, v text) USING ao_row;
             SELECT gp_standin.distribute('heap_table', 'p', '{id}'), gp_standin.distribute('ao_table', 'p', '{id}');
             INSERT INTO heap_table VALUES (1, 'd'), (9, 'd'); INSERT INTO ao_table VALUES (9, 'd')",
        )
        .await?;
    let mut spec = scenario.spec();
    spec.existing_tables = ExistingTables::Proceed.into();
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    let heap = "SELECT id, v FROM heap_table ORDER BY id";
    let ao = "SELECT id, v FROM ao_table ORDER BY id";
    scenario.assert_arrived(heap, "1|d\n2|s\n9|d").await?;
    scenario.assert_arrived(ao, "1|s\n9|d").await?;
    scenario
        .destination
        .run("DELETE FROM heap_table WHERE id = 2; DELETE FROM ao_table WHERE id = 1")
        .await?;
    scenario
        .source
        .run(
            "INSERT INTO heap_table VALUES (9, 'over'); UPDATE heap_table SET v = 'gone' WHERE id = 2;
             INSERT INTO ao_table VALUES (9, 'over'); UPDATE ao_table SET id = 7 WHERE id = 1",
        )
        .await?;
    scenario.assert_arrived(heap, "1|d\n9|over").await?;
    scenario.assert_arrived(ao, "9|over").await?;
    let conflicts = "SELECT table_name, operation, reason FROM strait.conflict ORDER BY 1, 2, 3";
    scenario
        .assert_arrived(
            conflicts,
            "ao_table|insert|row_overwritten\nao_table|update|row_missing\nheap_table|insert|row_overwritten\n\
             heap_table|update|row_missing",
        )
        .await?;
    standin.assert_nothing_refused()?;
    scenario.finish().await
}

/// A sink-agent that is killed again and again loses nothing and writes nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing() -> Result<()> {
    let mut scenario = Scenario::new("greenplum_kills").await?;
    let standin = Greenplum::destination_of(&mut scenario, false).await?;
    scenario
        .source
        .run("CREATE TABLE keyed (id int PRIMARY KEY, n int); CREATE TABLE keyless (n int)")
        .await?;
    scenario.source.run("INSERT INTO keyed SELECT g, 0 FROM generate_series(1, 200) g").await?;
    scenario.start_processes().await?;
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..3 {
        for _ in 0..20 {
            let (id, n) = (random.random_range(1..200), random.random_range(0..50));
            let sql = format!(
                "UPDATE keyed SET n = n + 1 WHERE id = {id}; UPDATE keyed SET id = -id WHERE id % 50 = {n};
                 INSERT INTO keyless VALUES ({n}), ({n})"
            );
            scenario.source.run(&sql).await?;
        }
        scenario.processes()?.kill(Part::SinkAgent).await?;
        scenario.processes()?.start_again(Part::SinkAgent).await?;
    }
    scenario.assert_equal().await?;
    standin.assert_nothing_refused()?;
    scenario.finish().await
}

/// The stand-in itself: what it refuses, with the family's own codes.
#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_refuses_what_the_family_refuses() -> Result<()> {
    let database = Database::create(&Pair::shared().await?.destination, "greenplum_gate").await?;
    let standin = Greenplum::of(&database, false).await?;
    let (client, connection) = tokio_postgres::connect(standin.uri(), tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    client
        .batch_execute(
            "CREATE TABLE t (a int PRIMARY KEY, b int) DISTRIBUTED BY (a);
             CREATE TABLE ao (a int) USING ao_row DISTRIBUTED RANDOMLY;
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
             CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
        )
        .await?;
    for (sql, code) in [
        ("CREATE TABLE u (a int)", "42P16"),
        ("CREATE TABLE u (a int PRIMARY KEY, b int) DISTRIBUTED BY (b)", "42P16"),
        ("CREATE TABLE u (a int PRIMARY KEY) DISTRIBUTED RANDOMLY", "42P16"),
        ("CREATE UNIQUE INDEX ON t (b)", "42P16"),
        ("CREATE UNIQUE INDEX ON ao (a)", "0A000"),
        ("MERGE INTO t USING t AS s ON true WHEN MATCHED THEN DELETE", "0A000"),
        ("PREPARE TRANSACTION 'x'", "0A000"),
        ("SELECT currval('s')", "0A000"),
        ("INSERT INTO t VALUES (1, 1) ON CONFLICT (a) DO UPDATE SET a = 2", "0A000"),
        ("INSERT INTO ao VALUES (1) ON CONFLICT DO NOTHING", "0A000"),
        ("INSERT INTO t VALUES (1, 1), (1, 2) ON CONFLICT (a) DO UPDATE SET b = 2", "21000"),
        ("UPDATE t SET a = 2", "0AM01"),
    ] {
        let error = client.batch_execute(sql).await.err();
        let found = error.as_ref().and_then(|error| error.code()).map(|code| code.code().to_owned());
        ensure!(found.as_deref() == Some(code), "{sql}: {found:?} instead of {code}");
    }
    client.batch_execute("SET session_replication_role = replica").await?;
    let role: String = client.query_one("SHOW session_replication_role", &[]).await?.get(0);
    ensure!(role == "origin", "a setting of the session is lost, as it is on the segments");
    ensure!(!standin.refusals().is_empty(), "refusals are kept");
    drop(client);
    driver.await??;
    Ok(())
}
