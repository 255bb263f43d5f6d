//! 100_bugs and 032: what once crashed native replication or lost changes in it.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::ObjectOutcome;
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn an_index_arrives_with_the_function_that_it_calls() -> Result<()> {
    let mut scenario = Scenario::new("p100_index").await?;
    scenario
        .source
        .run(
            "CREATE FUNCTION double(x int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT x * 2';
             CREATE TABLE t (a int PRIMARY KEY, b int DEFAULT 1);
             CREATE INDEX by_function ON t (double(a));
             CREATE INDEX by_predicate ON t (b) WHERE double(b) > 5;
             CREATE INDEX plain ON t (b);
             INSERT INTO t SELECT generate_series(1, 100)",
        )
        .await?;
    scenario.start().await?;
    scenario.source.run("UPDATE t SET b = a WHERE a % 2 = 0").await?;
    scenario.assert_equal().await?;
    let task = scenario.task().await?;
    for name in ["t.by_function", "t.by_predicate", "t.plain"] {
        let object =
            task.objects.iter().find(|object| object.name == name).context("the index is told of")?;
        ensure!(object.outcome() == ObjectOutcome::Created, "{object:?}");
    }
    const INDEXES: &str =
        "SELECT string_agg(indexdef, ',' ORDER BY indexname) FROM pg_indexes WHERE tablename = 't'";
    let indexes = scenario.source.text(INDEXES).await?;
    scenario.assert_arrived(INDEXES, &indexes).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_and_unlogged_tables_are_told_and_disturb_nothing() -> Result<()> {
    let mut scenario = Scenario::new("p100_unlogged").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY); CREATE UNLOGGED TABLE fleeting (a int)").await?;
    scenario.source.run("CREATE TEMPORARY TABLE temporary (a int)").await?;
    scenario.start().await?;
    scenario
        .source
        .run("INSERT INTO fleeting VALUES (1); INSERT INTO temporary VALUES (1); INSERT INTO t VALUES (1)")
        .await?;
    scenario.assert_arrived("SELECT a FROM t", "1").await?;
    let task = scenario.task().await?;
    let told = task
        .objects
        .iter()
        .any(|o| o.name == "fleeting" && o.outcome() == ObjectOutcome::Skipped && !o.detail.is_empty());
    ensure!(told, "the unlogged table is not told of: {:?}", task.objects);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_may_be_switched_underneath() -> Result<()> {
    let mut scenario = Scenario::new("p100_switched").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, k text NOT NULL, v text);
             CREATE UNIQUE INDEX by_k ON t (k);
             INSERT INTO t SELECT g, 'k' || g, 'v' FROM generate_series(1, 20) g",
        )
        .await?;
    scenario.start().await?;
    for identity in ["USING INDEX by_k", "FULL", "DEFAULT"] {
        let alter = format!("ALTER TABLE t REPLICA IDENTITY {identity}");
        for sql in [
            "UPDATE t SET v = v || 'a' WHERE id < 5",
            &alter,
            "UPDATE t SET v = v || 'b' WHERE id < 10",
            "UPDATE t SET id = id + 100 WHERE id IN (11, 111, 211)",
            "UPDATE t SET k = k || 'x' WHERE id IN (7, 8)",
            "BEGIN; UPDATE t SET id = id + 1000, k = k || 'y' WHERE id = 15; UPDATE t SET id = id - 1000 WHERE id = 1015; COMMIT",
            "DELETE FROM t WHERE id = (SELECT max(id) FROM t WHERE id < 100)",
        ] {
            scenario.source.run(sql).await?;
        }
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_full_with_dropped_generated_and_later_columns_finds_its_rows() -> Result<()> {
    let mut scenario = Scenario::new("p100_full").await?;
    scenario
        .source
        .run(
            "CREATE TABLE dropped (gone text, a int, b text);
             ALTER TABLE dropped REPLICA IDENTITY FULL;
             ALTER TABLE dropped DROP COLUMN gone;
             CREATE TABLE generated (a int, g int GENERATED ALWAYS AS (5 * a) STORED, b text);
             ALTER TABLE generated REPLICA IDENTITY FULL;
             CREATE TABLE later (a int);
             ALTER TABLE later REPLICA IDENTITY FULL;
             INSERT INTO dropped VALUES (1, 'x'), (2, 'x'), (2, 'x');
             INSERT INTO generated (a, b) VALUES (1, 'x'), (2, 'x'), (2, 'x');
             INSERT INTO later VALUES (1), (2), (2)",
        )
        .await?;
    scenario.start().await?;
    scenario.settle().await?;
    for database in [&scenario.destination, &scenario.source] {
        // A fast default: the old rows do not hold the value, and their old images say NULL or the default.
        database.run("ALTER TABLE later ADD COLUMN d int DEFAULT 7, ADD COLUMN e text").await?;
    }
    for sql in [
        "UPDATE dropped SET b = 'y' WHERE a = 1",
        "DELETE FROM dropped WHERE ctid = (SELECT max(ctid) FROM dropped WHERE a = 2)",
        "UPDATE generated SET a = 3 WHERE a = 1",
        "DELETE FROM generated WHERE ctid = (SELECT max(ctid) FROM generated WHERE a = 2)",
        "UPDATE later SET e = 'set' WHERE a = 1",
        "DELETE FROM later WHERE ctid = (SELECT max(ctid) FROM later WHERE a = 2)",
        "UPDATE later SET a = 5 WHERE a = 2",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_full_is_looked_up_through_whatever_indexes_there_are() -> Result<()> {
    let mut scenario = Scenario::new("p032_indexes").await?;
    let tables = ["plain", "by_index", "by_partial", "by_expression", "by_hash", "by_nullable_unique"];
    for table in tables {
        scenario.source.run(&format!("CREATE TABLE {table} (x int, y text)")).await?;
        scenario.source.run(&format!("ALTER TABLE {table} REPLICA IDENTITY FULL")).await?;
        scenario
            .source
            .run(&format!("INSERT INTO {table} SELECT g / 2, 'y' || g % 3 FROM generate_series(1, 200) g"))
            .await?;
    }
    scenario
        .source
        .run(
            "CREATE INDEX ON by_index (x); CREATE INDEX ON by_partial (x) WHERE y = 'y1'; CREATE INDEX ON by_expression ((x + 1));
             CREATE INDEX ON by_hash USING hash (x); UPDATE by_nullable_unique SET x = NULL WHERE x % 2 = 0;
             DELETE FROM by_nullable_unique WHERE ctid NOT IN (SELECT min(ctid) FROM by_nullable_unique GROUP BY x) AND x IS NOT NULL;
             CREATE UNIQUE INDEX ON by_nullable_unique (x)",
        )
        .await?;
    scenario.start().await?;
    for table in tables {
        scenario
            .source
            .run(&format!(
                "UPDATE {table} SET y = 'changed' WHERE ctid IN (SELECT min(ctid) FROM {table} GROUP BY x)"
            ))
            .await?;
        scenario.source.run(&format!("DELETE FROM {table} WHERE x BETWEEN 10 AND 20")).await?;
        scenario.source.run(&format!("UPDATE {table} SET x = -x WHERE x > 90")).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}
