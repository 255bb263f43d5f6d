//! 020_messages: logical decoding messages of others pass by without a trace, and positions stay right.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_others_write_nothing_and_disturb_nothing() -> Result<()> {
    let mut scenario = Scenario::new("p020_messages").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY)").await?;
    scenario.start().await?;
    for sql in [
        "SELECT pg_logical_emit_message(true, 'prefix', 'a transactional message')",
        "SELECT pg_logical_emit_message(false, 'prefix', 'another')",
        "BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(true, 'p', 'in'); SELECT pg_logical_emit_message(false, 'p', 'in'); COMMIT",
        "BEGIN; INSERT INTO t VALUES (2); SELECT pg_logical_emit_message(true, 'p', 'out'); SELECT pg_logical_emit_message(false, 'p', 'out'); ROLLBACK",
        "BEGIN; SAVEPOINT s; SELECT pg_logical_emit_message(true, 'p', 'out'); ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT",
        // Whoever uses our own prefix says what he likes.
        "SELECT pg_logical_emit_message(true, 'strait', 'nonsense'), pg_logical_emit_message(false, 'strait', '')",
        r"SELECT pg_logical_emit_message(true, 'strait', '\x00ff00'::bytea)",
        "SELECT pg_logical_emit_message(true, '', repeat('large', 500000))",
        "INSERT INTO t VALUES (4)",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.destination.text("SELECT string_agg(a::text, ',' ORDER BY a) FROM t").await? == "1,3,4");
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
