//! 006_rewrite, 008_diff_schema, 009_matviews, 017/019: the source's schema changes underneath the stream.

use anyhow::{Result, ensure};
use strait_proto::v1::TaskState;
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn a_rewriting_alter_sends_nothing_and_updates_go_on() -> Result<()> {
    let mut scenario = Scenario::new("p006_rewrite").await?;
    scenario.source.run("CREATE TABLE t (id int PRIMARY KEY, n int, v text)").await?;
    scenario.source.run("INSERT INTO t SELECT g, g, 'v' FROM generate_series(1, 100) g").await?;
    scenario.start().await?;
    scenario.settle().await?;
    for database in [&scenario.destination, &scenario.source] {
        database
            .run("ALTER TABLE t ALTER COLUMN n TYPE bigint, ADD COLUMN added text NOT NULL DEFAULT 'new'")
            .await?;
    }
    scenario.source.run("UPDATE t SET n = n + 3000000000, added = 'changed' WHERE id <= 50").await?;
    scenario.source.run("VACUUM FULL t").await?;
    scenario.source.run("CLUSTER t USING t_pkey").await?;
    scenario.source.run("INSERT INTO t VALUES (101, 1, 'v')").await?;
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_in_the_middle_of_transactions_and_of_aborted_ones() -> Result<()> {
    let mut scenario = Scenario::new("p017_ddl").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("ALTER TABLE t ADD COLUMN c int, ADD COLUMN d int, ADD COLUMN e int").await?;
    for sql in [
        "BEGIN; INSERT INTO t VALUES (1, 'before'); ALTER TABLE t ADD COLUMN c int; INSERT INTO t VALUES (2, 'in', 2); COMMIT",
        "BEGIN; INSERT INTO t VALUES (3, 'x', 3); SAVEPOINT s; ALTER TABLE t ADD COLUMN d int; INSERT INTO t VALUES (4, 'gone', 4, 4); ROLLBACK TO s; INSERT INTO t VALUES (5, 'x', 5); COMMIT",
        "BEGIN; ALTER TABLE t ADD COLUMN d int; ALTER TABLE t ADD COLUMN e int; INSERT INTO t SELECT g, 'many', g, g, g FROM generate_series(100, 3000) g; COMMIT",
        "BEGIN; UPDATE t SET e = 1 WHERE a < 5; ALTER TABLE t DROP COLUMN c; UPDATE t SET d = 2 WHERE a < 5; COMMIT",
        "INSERT INTO t VALUES (6, 'last', 6, 6)",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_carried_does_not_disturb_the_stream() -> Result<()> {
    let mut scenario = Scenario::new("p009_matviews").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY)").await?;
    scenario.source.run("CREATE MATERIALIZED VIEW early AS SELECT count(*) FROM t").await?;
    scenario.start().await?;
    for sql in [
        "INSERT INTO t VALUES (1)",
        "CREATE MATERIALIZED VIEW late AS SELECT * FROM t",
        "REFRESH MATERIALIZED VIEW early",
        "REFRESH MATERIALIZED VIEW late",
        "CREATE TEMPORARY TABLE temporary AS SELECT * FROM t",
        "SELECT lo_from_bytea(0, 'large object')",
        "CREATE TABLE unheard_of (i int)",
        "INSERT INTO unheard_of VALUES (1)",
        "INSERT INTO t VALUES (2)",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_arrived("SELECT string_agg(a::text, ',' ORDER BY a) FROM t", "1,2").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table_does_not_stop_the_others() -> Result<()> {
    let mut scenario = Scenario::new("p024_renamed").await?;
    scenario.source.run("CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (i int PRIMARY KEY)").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO a VALUES (1)").await?;
    // The table is the same one under another name: its rows still belong to its copy at the destination.
    scenario.source.run("ALTER TABLE a RENAME TO renamed").await?;
    scenario.source.run("INSERT INTO renamed VALUES (2)").await?;
    scenario.source.run("INSERT INTO b VALUES (1)").await?;
    scenario.assert_arrived("SELECT string_agg(i::text, ',' ORDER BY i) FROM a", "1,2").await?;
    scenario.assert_arrived("SELECT i FROM b", "1").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_does_not_stop_the_others() -> Result<()> {
    let mut scenario = Scenario::new("p024_dropped").await?;
    scenario.source.run("CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (i int PRIMARY KEY)").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO a VALUES (1); DROP TABLE a").await?;
    scenario
        .source
        .run("CREATE TABLE a (i int PRIMARY KEY, other text); INSERT INTO a VALUES (7, 'another table')")
        .await?;
    scenario.source.run("INSERT INTO b VALUES (1)").await?;
    scenario.assert_arrived("SELECT i FROM b", "1").await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO b VALUES (2)").await?;
    scenario.assert_arrived("SELECT string_agg(i::text, ',' ORDER BY i) FROM b", "1,2").await?;
    scenario.finish().await
}
