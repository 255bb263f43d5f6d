//! What `strait.conflict` keeps: both sides' rows, within bounds, in a schema that an older version may have made.

use anyhow::Result;
use strait_proto::v1::TaskState;
use strait_tests::scenario::Scenario;
use strait_tests::tasks::stream_of;
use strait_tests::wait::patience;

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_keeps_the_rows_of_both_sides() -> Result<()> {
    let mut scenario = Scenario::new("conflict_rows").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE, c text);
             CREATE TABLE keyless (a int, c text);
             INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'x'); INSERT INTO keyless VALUES (1, 'x')",
        )
        .await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario
        .destination
        .run("INSERT INTO t VALUES (8, 80, 'local'), (9, 90, 'local'); DELETE FROM t WHERE a < 3; DELETE FROM keyless")
        .await?;
    for sql in [
        "INSERT INTO t VALUES (8, 81, NULL)",
        "INSERT INTO t VALUES (7, 90, 'ü\"')",
        "UPDATE t SET c = 'y', b = 11 WHERE a = 1",
        "UPDATE t SET a = 22 WHERE a = 2",
        "DELETE FROM keyless",
        "DELETE FROM t WHERE a = 22",
    ] {
        scenario.source.run(sql).await?;
        scenario.settle().await?;
    }
    scenario.assert_arrived("SELECT a, b, c FROM t ORDER BY a", "7|90|ü\"\n8|81|").await?;
    let found = "SELECT table_name, operation, reason, old_row, new_row, destination_row, is_cut
                   FROM strait.conflict ORDER BY conflict_id";
    scenario
        .assert_arrived(
            found,
            "t|insert|row_overwritten||{\"a\": \"8\", \"b\": \"81\", \"c\": null}|{\"a\": 8, \"b\": 80, \"c\": \"local\"}|f\n\
             t|insert|row_displaced||{\"a\": \"7\", \"b\": \"90\", \"c\": \"ü\\\"\"}|{\"a\": 9, \"b\": 90, \"c\": \"local\"}|f\n\
             t|update|row_missing||{\"a\": \"1\", \"b\": \"11\", \"c\": \"y\"}||f\n\
             t|update|row_missing|{\"a\": \"2\"}|{\"a\": \"22\", \"b\": \"2\", \"c\": \"x\"}||f\n\
             keyless|delete|row_missing|{\"a\": \"1\", \"c\": \"x\"}|||f\n\
             t|delete|row_missing|{\"a\": \"22\"}|||f",
        )
        .await?;
    scenario
        .tasks
        .wait_until(scenario.task_id(), "six conflicts are told", patience(), |task| {
            stream_of(task).is_ok_and(|stream| stream.conflicts == 6)
        })
        .await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_row_is_kept_in_part_and_marked() -> Result<()> {
    let mut scenario = Scenario::new("conflict_large").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("INSERT INTO t VALUES (1, repeat('local', 1000000))").await?;
    scenario.source.run("INSERT INTO t VALUES (1, repeat('source', 1000000))").await?;
    scenario.assert_equal().await?;
    scenario
        .assert_arrived(
            "SELECT reason, is_cut, length(new_row ->> 'b') < 2000, jsonb_typeof(destination_row),
                    pg_column_size(c.*) < 20000
               FROM strait.conflict AS c",
            "row_overwritten|t|t|string|t",
        )
        .await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_of_an_older_version_is_upgraded_in_place() -> Result<()> {
    let mut scenario = Scenario::new("conflict_older").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x')").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    // As the first version left it.
    scenario
        .destination
        .run(
            "ALTER TABLE strait.conflict DROP COLUMN old_row, DROP COLUMN new_row, DROP COLUMN destination_row,
                 DROP COLUMN message, DROP COLUMN is_cut;
             ALTER TABLE strait.table_state DROP COLUMN reason, DROP COLUMN remedy, DROP COLUMN shared,
                 DROP CONSTRAINT table_state_phase_check,
                 ADD CONSTRAINT table_state_phase_check CHECK (phase IN ('copying', 'copied', 'ready'));
             DROP TABLE strait.lane;
             DROP FUNCTION strait.hold_lane(text, bigint, uuid, pg_lsn);
             DROP FUNCTION strait.lane_lock(text);
             UPDATE strait.layout SET version = 1;
             INSERT INTO strait.conflict (task_id, schema_name, table_name, operation, reason, row_key, commit_lsn)
                 SELECT task_id, 'public', 't', 'update', 'row_missing', 'a=5', '0/1' FROM strait.task",
        )
        .await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.destination.run("DELETE FROM t").await?;
    scenario.source.run("UPDATE t SET b = 'y'").await?;
    scenario
        .assert_arrived(
            "SELECT row_key, new_row ->> 'b' FROM strait.conflict ORDER BY conflict_id",
            "a=5|\na=1|y",
        )
        .await?;
    scenario.finish().await
}
