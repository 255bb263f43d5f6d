//! 012_collation: rows are found by the destination's notion of equality where its collation says so.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_found_through_a_nondeterministic_collation() -> Result<()> {
    let mut scenario = Scenario::new("p012_collation").await?;
    // The collation is a user's object that is not carried: it has to stand at the destination.
    for database in [&scenario.source, &scenario.destination] {
        database
            .run("CREATE COLLATION blurred (provider = icu, locale = 'und', deterministic = false)")
            .await?;
    }
    scenario.source.run("CREATE TABLE t (a text COLLATE blurred PRIMARY KEY, b text)").await?;
    scenario.source.run("INSERT INTO t VALUES (U&'\\00E4bc', 'foo'), ('plain', 'bar')").await?;
    scenario.start().await?;
    scenario.settle().await?;
    // The same letter in two code points.
    scenario.destination.run("UPDATE t SET a = U&'\\0061\\0308bc' WHERE b = 'foo'").await?;
    scenario.source.run("UPDATE t SET b = 'changed' WHERE b = 'foo'").await?;
    scenario.assert_arrived("SELECT b FROM t ORDER BY b", "bar\nchanged").await?;
    scenario.source.run("DELETE FROM t WHERE b = 'changed'").await?;
    scenario.assert_arrived("SELECT b FROM t", "bar").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_under_full_identity_is_found_through_a_nondeterministic_key() -> Result<()> {
    let mut scenario = Scenario::new("p012_full").await?;
    for database in [&scenario.source, &scenario.destination] {
        database
            .run("CREATE COLLATION blurred (provider = icu, locale = 'und', deterministic = false)")
            .await?;
    }
    scenario.source.run("CREATE TABLE t (a text COLLATE blurred PRIMARY KEY, b text); ALTER TABLE t REPLICA IDENTITY FULL").await?;
    scenario.source.run("INSERT INTO t VALUES (U&'\\00E4bc', 'foo'), ('plain', 'bar')").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("UPDATE t SET a = U&'\\0061\\0308bc' WHERE b = 'foo'").await?;
    scenario.source.run("UPDATE t SET b = 'changed' WHERE b = 'foo'").await?;
    scenario.assert_arrived("SELECT b FROM t ORDER BY b", "bar\nchanged").await?;
    scenario.destination.run("UPDATE t SET a = U&'\\0061\\0308bc' WHERE b = 'changed'").await?;
    scenario.source.run("DELETE FROM t WHERE b = 'changed'").await?;
    scenario.assert_arrived("SELECT b FROM t", "bar").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}
