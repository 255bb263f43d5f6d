//! Rows without a key are found as a whole, whatever their types: without an equality operator, or with one that takes
//! different values for equal.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn types_without_equality_are_compared_by_what_they_print() -> Result<()> {
    let mut scenario = Scenario::new("whole_types").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (j json, x xml, p point, b box, l jsonpath);
             INSERT INTO t VALUES
                 ('{\"a\": 1}', '<a/>', '(1,2)', '(1,1),(0,0)', '$.a'),
                 ('{\"a\":  1}', '<a/>', '(1,2)', '(1,1),(0,0)', '$.a'),
                 ('{\"a\": 1}', '<a></a>', '(1,2)', '(1,1),(0,0)', '$.a'),
                 ('{\"a\": 1}', '<a/>', '(1,2.0000000001)', '(1,1),(0,0)', NULL),
                 (NULL, NULL, NULL, NULL, NULL)",
        )
        .await?;
    scenario.start().await?;
    for sql in [
        "UPDATE t SET p = '(9,9)' WHERE j::text = '{\"a\":  1}'",
        "DELETE FROM t WHERE x::text = '<a></a>'",
        "UPDATE t SET j = '[]' WHERE l IS NULL AND j IS NOT NULL",
        "DELETE FROM t WHERE j IS NULL",
        "INSERT INTO t SELECT '1', '<a/>', '(0,0)', NULL, NULL FROM generate_series(1, 3)",
        "DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE j::text = '1')",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_same_answer("SELECT t::text FROM t ORDER BY 1").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_values_that_print_differently_are_different_rows() -> Result<()> {
    let mut scenario = Scenario::new("whole_printed").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (n numeric, f float8, i interval, c char(5));
             INSERT INTO t VALUES (1.0, 0, '1 day', 'a'), (1.00, '-0', '1 day', 'a'), (1, 0, '24 hours', 'a'),
                 (1.0, '-0', '1 day', 'a'), (1.0, 0, '1 day', 'a')",
        )
        .await?;
    scenario.start().await?;
    for sql in [
        "UPDATE t SET c = 'b' WHERE f::text = '-0' AND n::text = '1.0'",
        "DELETE FROM t WHERE n::text = '1.00'",
        "UPDATE t SET n = 1.000 WHERE i::text = '24:00:00'",
        "DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE n::text = '1.0' AND f::text = '0')",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_same_answer("SELECT t::text FROM t ORDER BY 1").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_by_its_equality_however_it_prints() -> Result<()> {
    let mut scenario = Scenario::new("whole_keys").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (n numeric PRIMARY KEY, v text);
             CREATE TABLE f (k float8 PRIMARY KEY, v text);
             INSERT INTO t VALUES (1.0, 'x'), (2.50, 'x'); INSERT INTO f VALUES ('-0', 'x'), (1, 'x')",
        )
        .await?;
    scenario.start().await?;
    for sql in [
        "UPDATE t SET n = 1.000, v = 'moved' WHERE n = 1",
        "UPDATE t SET v = 'y' WHERE n = 1",
        "BEGIN; DELETE FROM t WHERE n = 2.5; INSERT INTO t VALUES (2.500, 'again'); UPDATE t SET v = 'z' WHERE n = 2.5; COMMIT",
        "UPDATE f SET k = 0, v = 'y' WHERE k = 0",
        "UPDATE f SET v = 'z' WHERE k = 0",
        "DELETE FROM f WHERE k = 1; INSERT INTO f VALUES (1.0, 'again')",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_same_answer("SELECT t::text FROM t ORDER BY 1").await?;
    scenario.assert_same_answer("SELECT f::text FROM f ORDER BY 1").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}
