//! 010_truncate: tables are emptied in order, together with their sequences only when asked.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn truncated_tables_are_emptied_in_order() -> Result<()> {
    let mut scenario = Scenario::new("p010_truncate").await?;
    scenario.source.run("CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE keyless (i int)").await?;
    scenario.source.run("INSERT INTO a SELECT generate_series(1, 100); INSERT INTO keyless SELECT 1 FROM generate_series(1, 100)").await?;
    scenario.start().await?;
    for sql in [
        "INSERT INTO a VALUES (101)",
        "BEGIN; INSERT INTO a VALUES (102); TRUNCATE a; INSERT INTO a VALUES (1), (2); COMMIT",
        "BEGIN; DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless); TRUNCATE keyless; INSERT INTO keyless VALUES (5), (5); COMMIT",
        "BEGIN; TRUNCATE a; SAVEPOINT s; INSERT INTO a VALUES (7); ROLLBACK TO s; INSERT INTO a VALUES (8); COMMIT",
        "BEGIN; TRUNCATE a; ROLLBACK",
        "TRUNCATE a, keyless",
        "INSERT INTO a VALUES (3)",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.destination.text("SELECT * FROM a").await? == "3");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_restarts_only_when_asked() -> Result<()> {
    let mut scenario = Scenario::new("p010_restart").await?;
    scenario.source.run("CREATE TABLE t (id serial PRIMARY KEY, k int GENERATED ALWAYS AS IDENTITY)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("SELECT setval('t_id_seq', 101), setval('t_k_seq', 101)").await?;
    scenario.source.run("TRUNCATE t").await?;
    scenario.assert_arrived("SELECT last_value FROM t_id_seq", "101").await?;
    scenario.source.run("TRUNCATE t RESTART IDENTITY").await?;
    scenario
        .assert_arrived("SELECT (SELECT last_value FROM t_id_seq), (SELECT last_value FROM t_k_seq)", "1|1")
        .await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_foreign_keys_link_are_truncated() -> Result<()> {
    let mut scenario = Scenario::new("p010_linked").await?;
    scenario
        .source
        .run(
            "CREATE TABLE parent (id int PRIMARY KEY);
             CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
             INSERT INTO parent SELECT generate_series(1, 10);
             INSERT INTO child SELECT g, g FROM generate_series(1, 10) g",
        )
        .await?;
    scenario.start().await?;
    scenario.foreign_keys_arrived().await?;
    scenario.source.run("TRUNCATE parent, child").await?;
    scenario.source.run("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1)").await?;
    scenario.assert_equal().await?;
    scenario.source.run("TRUNCATE parent CASCADE").await?;
    scenario.assert_equal().await?;
    // A key that only the destination has refuses the TRUNCATE there; the rows go all the same.
    scenario.source.run("INSERT INTO parent VALUES (1), (2)").await?;
    scenario.settle().await?;
    scenario
        .destination
        .run("CREATE TABLE local (parent int REFERENCES parent); INSERT INTO local VALUES (NULL)")
        .await?;
    scenario.source.run("TRUNCATE parent CASCADE; INSERT INTO parent VALUES (5)").await?;
    scenario.assert_equal().await?;
    ensure!(
        scenario.destination.number("SELECT count(*) FROM local").await? == 1,
        "a local table was emptied"
    );
    scenario.finish().await
}
