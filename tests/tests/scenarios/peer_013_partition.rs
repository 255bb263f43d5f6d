//! 013_partition: a partitioned table becomes one table, and whatever happens to its partitions is right there.

use anyhow::{Context, Result, ensure};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

const TREE: &str = "
    CREATE TABLE tab1 (a int PRIMARY KEY, b text) PARTITION BY LIST (a);
    CREATE TABLE tab1_1 (b text, a int NOT NULL);
    ALTER TABLE tab1 ATTACH PARTITION tab1_1 FOR VALUES IN (0, 1, 2, 3);
    CREATE TABLE tab1_2 PARTITION OF tab1 FOR VALUES IN (4, 5, 6) PARTITION BY LIST (a);
    CREATE TABLE tab1_2_1 PARTITION OF tab1_2 FOR VALUES IN (5);
    CREATE TABLE tab1_2_2 PARTITION OF tab1_2 FOR VALUES IN (4, 6);
    CREATE TABLE tab1_def PARTITION OF tab1 DEFAULT;
    INSERT INTO tab1 SELECT g, 'copied' FROM generate_series(0, 9) g";

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_all_leaves_come_under_the_root() -> Result<()> {
    let mut scenario = Scenario::new("p013_rows").await?;
    scenario.source.run(TREE).await?;
    scenario.start().await?;
    ensure!(
        scenario
            .destination
            .text("SELECT relkind FROM pg_class WHERE relname LIKE 'tab1%' AND relkind IN ('r', 'p')")
            .await?
            == "r"
    );
    for sql in [
        "INSERT INTO tab1 VALUES (10, 'default'), (11, 'default')",
        "UPDATE tab1 SET b = 'changed' WHERE a IN (1, 5, 10)",
        // Moves between leaves.
        "DELETE FROM tab1 WHERE a IN (2, 4)",
        "UPDATE tab1 SET a = 2, b = 'from the default' WHERE a = 11",
        "BEGIN; UPDATE tab1 SET a = 4 WHERE a = 1; UPDATE tab1 SET a = 12 WHERE a = 4; COMMIT",
        // Leaves directly, one with another column order.
        "INSERT INTO tab1_1 (b, a) VALUES ('leaf', 1)",
        "UPDATE tab1_2_2 SET b = 'leaf' WHERE a = 6",
        "DELETE FROM tab1_def WHERE a = 8",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn truncating_a_leaf_empties_nothing_but_its_rows() -> Result<()> {
    let mut scenario = Scenario::new("p013_truncate").await?;
    scenario.source.run(TREE).await?;
    scenario.source.run("CREATE TABLE days (d date, v int) PARTITION BY RANGE (d)").await?;
    scenario
        .source
        .run("CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (MINVALUE) TO ('2020-01-01')")
        .await?;
    scenario
        .source
        .run("CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)")
        .await?;
    let days = "INSERT INTO days SELECT '2019-12-25'::date + g, g FROM generate_series(1, 14) g";
    scenario.source.run(days).await?;
    scenario.start().await?;
    for sql in ["TRUNCATE tab1_1", "TRUNCATE tab1_2", "TRUNCATE tab1_def", "TRUNCATE days_1"] {
        scenario.source.run(sql).await?;
        scenario.assert_equal().await?;
    }
    ensure!(scenario.destination.number("SELECT count(*) FROM days").await? > 0);
    for sql in [
        days,
        "INSERT INTO tab1 SELECT g, 'again' FROM generate_series(0, 9) g",
        "BEGIN; INSERT INTO tab1 VALUES (20, 'gone'); TRUNCATE tab1_def; INSERT INTO tab1 VALUES (21, 'stays'); COMMIT",
        "BEGIN; INSERT INTO days VALUES ('2018-01-01', 1); TRUNCATE days; INSERT INTO days VALUES ('2018-01-02', 2), ('2030-01-01', 3); COMMIT",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_added_and_leaves_with_their_own_identity_are_followed() -> Result<()> {
    let mut scenario = Scenario::new("p013_alter").await?;
    scenario.source.run(TREE).await?;
    scenario.source.run("ALTER TABLE tab1_2_1 REPLICA IDENTITY FULL").await?;
    scenario.source.run("CREATE TABLE keyless (a int, b text) PARTITION BY HASH (a)").await?;
    for remainder in 0..3 {
        scenario.source.run(&format!("CREATE TABLE keyless_{remainder} PARTITION OF keyless FOR VALUES WITH (MODULUS 3, REMAINDER {remainder})")).await?;
    }
    scenario.source.run("INSERT INTO keyless SELECT g % 4, 'x' FROM generate_series(1, 40) g").await?;
    scenario.start().await?;
    scenario.settle().await?;
    for database in [&scenario.destination, &scenario.source] {
        database.run("ALTER TABLE tab1 ADD COLUMN c int DEFAULT 48").await?;
    }
    for sql in [
        "UPDATE tab1 SET b = 'with c', c = a WHERE a IN (1, 5, 9)",
        "INSERT INTO tab1 VALUES (22, 'new', 1)",
        "UPDATE tab1 SET a = 5 + a WHERE a IN (5, 4)",
        "UPDATE keyless SET b = 'y' WHERE ctid IN (SELECT min(ctid) FROM keyless_0)",
        "UPDATE keyless SET a = a + 1 WHERE a = 2",
        "DELETE FROM keyless WHERE a = 3 AND tableoid = 'keyless_1'::regclass",
    ] {
        // Some of them meet a key: then nothing happens, on either side.
        scenario.source.run(sql).await.ok();
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_and_detached_partitions_do_not_stop_the_rest() -> Result<()> {
    let mut scenario = Scenario::new("p013_attach").await?;
    scenario.source.run(TREE).await?;
    scenario.start().await?;
    scenario.source.run("ALTER TABLE tab1 DETACH PARTITION tab1_1").await?;
    scenario.source.run("UPDATE tab1 SET b = 'still here' WHERE a = 5").await?;
    scenario.assert_arrived("SELECT b FROM tab1 WHERE a = 5", "still here").await?;
    scenario.finish().await
}

/// How often a table has begun, once it is the task's own and its changes flow.
async fn generation(scenario: &Scenario, table: &str) -> Result<String> {
    let sql = format!(
        "SELECT generation || ' ' || begin_lsn FROM strait.table_state
         WHERE table_name = '{table}' AND task_id = '{}' AND phase = 'ready'",
        scenario.task_id()
    );
    scenario.destination.text(&sql).await
}

/// Waits until it has begun again since.
async fn begun_over(scenario: &Scenario, table: &str, since: &str) -> Result<()> {
    let waited = eventually("the table has begun over", patience(), async || {
        let now = generation(scenario, table).await?;
        Ok((!now.is_empty() && now != since).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

/// What does not come as changes comes by a new beginning of that table alone: rows that an attached table had before, and
/// what was written to a partition while it was none.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_begins_over_where_its_partitions_cannot_be_followed() -> Result<()> {
    let mut scenario = Scenario::new("p013_begin_over").await?;
    scenario.source.run(TREE).await?;
    scenario
        .source
        .run(
            "CREATE TABLE hashed (a int PRIMARY KEY) PARTITION BY HASH (a);
             CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY RANGE (a);
             CREATE TABLE hashed_1_low PARTITION OF hashed_1 FOR VALUES FROM (MINVALUE) TO (50);
             CREATE TABLE hashed_1_high PARTITION OF hashed_1 DEFAULT;
             INSERT INTO hashed SELECT generate_series(1, 100);
             CREATE TABLE other (a int PRIMARY KEY)",
        )
        .await?;
    scenario.start().await?;
    scenario.settle().await?;
    let steps = [
        ("tab1", "CREATE TABLE filled (a int PRIMARY KEY, b text); INSERT INTO filled VALUES (100, 'before'), (101, 'before');
                  ALTER TABLE tab1 ATTACH PARTITION filled FOR VALUES IN (100, 101)"),
        ("tab1", "ALTER TABLE tab1 DETACH PARTITION tab1_1; UPDATE tab1_1 SET b = 'unseen' WHERE a = 1; DELETE FROM tab1_1 WHERE a = 2;
                  ALTER TABLE tab1 ATTACH PARTITION tab1_1 FOR VALUES IN (0, 1, 2, 3)"),
        ("hashed", "TRUNCATE hashed_1_low"),
        ("hashed", "INSERT INTO hashed VALUES (-1), (-2), (-3); TRUNCATE hashed_0; INSERT INTO hashed VALUES (-4)"),
    ];
    for (number, (table, sql)) in steps.into_iter().enumerate() {
        let since = generation(&scenario, table).await?;
        ensure!(!since.is_empty());
        scenario.source.run(sql).await?;
        scenario
            .source
            .run(&format!("INSERT INTO other VALUES ({number}); UPDATE tab1 SET b = b || '+'"))
            .await?;
        scenario.settle().await?;
        begun_over(&scenario, table, &since).await?;
        scenario.source.run("UPDATE tab1 SET b = b || '-'").await?;
        scenario.settle().await?;
        for table in ["tab1", "hashed", "other"] {
            let rows = format!("SELECT string_agg(t::text, ',' ORDER BY t::text) FROM {table} AS t");
            scenario.assert_same_answer(&rows).await.with_context(|| format!("{table} after {sql}"))?;
        }
    }
    let task = scenario.task().await?;
    ensure!(task.state() == strait_proto::v1::TaskState::Incremental, "{:?}", task.state());

    // Nothing is missing of a table that was attached while it was empty.
    let since = generation(&scenario, "tab1").await?;
    let premade = "CREATE TABLE premade (LIKE tab1 INCLUDING ALL); ALTER TABLE tab1 ATTACH PARTITION premade FOR VALUES IN (200)";
    scenario.source.run(premade).await?;
    let adopted = "SELECT count(*) FROM pg_publication AS p WHERE obj_description(oid, 'pg_publication') LIKE '%premade%'";
    eventually("the empty partition joins in", patience(), async || {
        Ok((scenario.source.number(adopted).await? == 1).then_some(()))
    })
    .await?;
    scenario.source.run("INSERT INTO tab1 VALUES (200, 'after')").await?;
    scenario.assert_equal().await?;
    ensure!(generation(&scenario, "tab1").await? == since, "the table began over");
    scenario.finish().await
}
