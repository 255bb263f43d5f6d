//! 008_diff_schema, and destinations whose columns are wider: more columns, another order, keys of their own.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn wider_types_take_every_change_with_a_key_and_without() -> Result<()> {
    let mut scenario = Scenario::new("p008_wider").await?;
    let columns = "n smallint, v varchar(10), c char(5), d numeric(10, 2), i int[], t time";
    let row = "7, 'seven', 'abc', 1.50, '{1,2}', '10:00'";
    scenario
        .source
        .run(&format!(
            "CREATE TABLE keyed (id int PRIMARY KEY, {columns});
             CREATE TABLE keyless (id int, {columns});
             INSERT INTO keyed SELECT g, {row} FROM generate_series(1, 20) g;
             INSERT INTO keyless SELECT g % 5, {row} FROM generate_series(1, 20) g"
        ))
        .await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    for table in ["keyed", "keyless"] {
        scenario
            .destination
            .run(&format!(
                "ALTER TABLE {table} ALTER id TYPE bigint, ALTER n TYPE bigint, ALTER v TYPE text, ALTER d TYPE numeric,
                 ALTER i TYPE bigint[], ADD COLUMN first_seen timestamptz DEFAULT now()"
            ))
            .await?;
    }
    scenario.tasks.resume(scenario.task_id()).await?;
    for table in ["keyed", "keyless"] {
        for change in [
            format!(
                "INSERT INTO {table} SELECT g, g, 'v' || g, 'c', g / 8.0, array[g, NULL], NULL FROM generate_series(100, 300) g"
            ),
            format!("UPDATE {table} SET v = 'changed', d = d + 0.25 WHERE id < 10"),
            format!("UPDATE {table} SET id = -id, c = NULL WHERE id BETWEEN 100 AND 150"),
            format!("UPDATE {table} SET i = i || 9 WHERE id > 250"),
            format!("DELETE FROM {table} WHERE id IN (3, 200, -110)"),
        ] {
            scenario.source.run(&change).await?;
        }
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_the_destination_has_disturbs_nothing() -> Result<()> {
    let mut scenario = Scenario::new("p008_key").await?;
    scenario
        .source
        .run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, 'y')")
        .await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("ALTER TABLE t ADD COLUMN own bigserial PRIMARY KEY").await?;
    for sql in [
        "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (3, 'z')",
        "UPDATE t SET b = 'one of them' WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 1)",
        "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE b = 'x')",
        "UPDATE t SET a = -a WHERE a > 1",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}
