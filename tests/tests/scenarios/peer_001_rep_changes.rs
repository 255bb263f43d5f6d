//! 001_rep_changes: inserts, updates and deletes under every sort of identity, and destinations that look different.

use std::time::Duration;

use anyhow::{Result, ensure};
use strait_proto::v1::{ObjectPattern, ObjectSelection, TaskState};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

#[tokio::test(flavor = "multi_thread")]
async fn rows_follow_under_every_replica_identity() -> Result<()> {
    let mut scenario = Scenario::new("p001_identities").await?;
    let source = &scenario.source;
    source
        .run(
            "CREATE TABLE tab_notrep AS SELECT generate_series(1, 10) AS a;
             CREATE TABLE tab_ins AS SELECT generate_series(1, 1002) AS a;
             CREATE TABLE tab_full AS SELECT generate_series(1, 10) AS a;
             CREATE TABLE tab_full2 (x text);
             INSERT INTO tab_full2 VALUES ('a'), ('b'), ('b');
             CREATE TABLE tab_full_pk (a int PRIMARY KEY, b text);
             CREATE TABLE tab_rep (a int PRIMARY KEY);
             CREATE TABLE tab_include (a int, b text, CONSTRAINT covering PRIMARY KEY (a) INCLUDE (b));
             CREATE TABLE tab_nothing (a int);
             CREATE TABLE tab_no_replidentity_index (c1 int);
             CREATE INDEX idx_no_replidentity_index ON tab_no_replidentity_index (c1);
             CREATE TABLE tab_index_identity (a int NOT NULL, b text NOT NULL, c text);
             CREATE UNIQUE INDEX tab_index_identity_b ON tab_index_identity (b);
             CREATE TABLE tab_deferrable (a int PRIMARY KEY DEFERRABLE, b text);
             CREATE TABLE tab_zero_columns ()",
        )
        .await?;
    source
        .run(
            "ALTER TABLE tab_full REPLICA IDENTITY FULL;
             ALTER TABLE tab_full2 REPLICA IDENTITY FULL;
             ALTER TABLE tab_full_pk REPLICA IDENTITY FULL;
             ALTER TABLE tab_nothing REPLICA IDENTITY NOTHING;
             ALTER TABLE tab_index_identity REPLICA IDENTITY USING INDEX tab_index_identity_b",
        )
        .await?;
    scenario.start().await?;
    for sql in [
        "INSERT INTO tab_ins SELECT generate_series(1, 50)",
        "DELETE FROM tab_ins WHERE a > 20",
        "UPDATE tab_ins SET a = -a",
        "INSERT INTO tab_rep SELECT generate_series(1, 50)",
        "DELETE FROM tab_rep WHERE a > 20",
        "UPDATE tab_rep SET a = -a",
        "INSERT INTO tab_include SELECT generate_series(1, 50), 'covered'",
        "DELETE FROM tab_include WHERE a > 20",
        "UPDATE tab_include SET a = -a",
        "UPDATE tab_include SET b = 'changed' WHERE a < -10",
        "INSERT INTO tab_full_pk VALUES (1, 'foo'), (2, 'baz'), (3, NULL)",
        "UPDATE tab_full_pk SET b = 'bar' WHERE a = 1",
        "UPDATE tab_full_pk SET a = 4 WHERE b IS NULL",
        "DELETE FROM tab_full_pk WHERE a = 2",
        "INSERT INTO tab_nothing VALUES (generate_series(1, 20))",
        "UPDATE tab_nothing SET a = a + 100 WHERE a % 2 = 0",
        "INSERT INTO tab_no_replidentity_index VALUES (1), (1), (NULL)",
        "DELETE FROM tab_no_replidentity_index WHERE c1 IS NULL",
        "INSERT INTO tab_index_identity SELECT g, 'b' || g, 'c' FROM generate_series(1, 20) g",
        "UPDATE tab_index_identity SET c = NULL WHERE a < 5",
        "UPDATE tab_index_identity SET b = 'moved' || b WHERE a BETWEEN 5 AND 10",
        "DELETE FROM tab_index_identity WHERE a > 15",
        "INSERT INTO tab_deferrable SELECT g, 'b' FROM generate_series(1, 20) g",
        "UPDATE tab_deferrable SET a = a + 1",
        "DELETE FROM tab_deferrable WHERE a > 15",
        "INSERT INTO tab_zero_columns DEFAULT VALUES",
        "INSERT INTO tab_zero_columns DEFAULT VALUES",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_duplicates_change_as_at_the_source() -> Result<()> {
    let mut scenario = Scenario::new("p001_duplicates").await?;
    scenario.source.run("CREATE TABLE tab_full2 (x text, y int)").await?;
    scenario.source.run("INSERT INTO tab_full2 SELECT 'a', g % 3 FROM generate_series(1, 30) g").await?;
    scenario.source.run("INSERT INTO tab_full2 VALUES (NULL, NULL), (NULL, NULL), (NULL, 1)").await?;
    scenario.start().await?;
    let one_of = |x: &str, y: &str| {
        format!(
            "(SELECT ctid FROM tab_full2 WHERE x IS NOT DISTINCT FROM {x} AND y IS NOT DISTINCT FROM {y} LIMIT 1)"
        )
    };
    for sql in [
        format!("UPDATE tab_full2 SET x = 'bb' WHERE ctid = {}", one_of("'a'", "1")),
        format!("DELETE FROM tab_full2 WHERE ctid = {}", one_of("'a'", "2")),
        format!("DELETE FROM tab_full2 WHERE ctid = {}", one_of("NULL", "NULL")),
        format!("UPDATE tab_full2 SET y = NULL WHERE ctid = {}", one_of("NULL", "1")),
        // To and fro within one transaction: nothing is left of it.
        "BEGIN; UPDATE tab_full2 SET x = 'c' WHERE y = 0; UPDATE tab_full2 SET x = 'a' WHERE x = 'c'; COMMIT".to_owned(),
        "BEGIN; DELETE FROM tab_full2 WHERE y = 0; INSERT INTO tab_full2 SELECT 'a', 0 FROM generate_series(1, 7); COMMIT".to_owned(),
    ] {
        scenario.source.run(&sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_go_by_name_and_local_ones_keep_their_values() -> Result<()> {
    let mut scenario = Scenario::new("p001_columns").await?;
    scenario.source.run("CREATE TABLE tab_mixed (a int PRIMARY KEY, b text, c numeric)").await?;
    scenario.source.run("INSERT INTO tab_mixed VALUES (1, 'foo', 1.1)").await?;
    scenario
        .source
        .run("CREATE TABLE keyless (a int, b text); INSERT INTO keyless VALUES (1, 'x'), (1, 'x')")
        .await?;
    scenario.start().await?;
    scenario.tasks.pause(scenario.task_id()).await?;
    // Another order, and two columns of the destination's own.
    scenario
        .destination
        .run(
            "DROP TABLE tab_mixed;
             CREATE TABLE tab_mixed (d text DEFAULT 'local', c numeric, b text, a int PRIMARY KEY, e int DEFAULT 7);
             INSERT INTO tab_mixed (a, b, c) VALUES (1, 'foo', 1.1);
             ALTER TABLE keyless ADD COLUMN local serial",
        )
        .await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.source.run("INSERT INTO tab_mixed VALUES (2, 'bar', 2.2)").await?;
    scenario
        .assert_arrived(
            "SELECT a, b, c, d, e FROM tab_mixed ORDER BY a",
            "1|foo|1.1|local|7\n2|bar|2.2|local|7",
        )
        .await?;
    scenario.destination.run("UPDATE tab_mixed SET d = 'mine' WHERE a = 2").await?;
    scenario.source.run("UPDATE tab_mixed SET b = 'baz' WHERE a = 2").await?;
    scenario.source.run("UPDATE tab_mixed SET a = 3 WHERE a = 2").await?;
    scenario
        .assert_arrived(
            "SELECT a, b, c, d, e FROM tab_mixed ORDER BY a",
            "1|foo|1.1|local|7\n3|baz|2.2|mine|7",
        )
        .await?;
    // Without a key a row is found by what the source knows of it; its local value stays.
    scenario.source.run("UPDATE keyless SET b = 'y' WHERE ctid = (SELECT min(ctid) FROM keyless)").await?;
    scenario.assert_arrived("SELECT a, b FROM keyless ORDER BY b", "1|x\n1|y").await?;
    ensure!(
        scenario.destination.text("SELECT string_agg(local::text, ',' ORDER BY local) FROM keyless").await?
            == "1,2"
    );
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_stays_when_it_is_not_sent() -> Result<()> {
    let mut scenario = Scenario::new("p001_toast").await?;
    scenario.source.run("CREATE TABLE big (a int PRIMARY KEY, small int, large text, other text)").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO big VALUES (1, 1, (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 16000) g), NULL)").await?;
    scenario.assert_equal().await?;
    for sql in [
        "UPDATE big SET small = 2",
        // Key and other columns change, the value itself is not sent.
        "UPDATE big SET a = 2",
        "UPDATE big SET a = 3, small = 3, other = repeat('o', 9000)",
        "BEGIN; UPDATE big SET small = 4; UPDATE big SET a = 5; UPDATE big SET small = 6; UPDATE big SET a = 7; COMMIT",
        // Sent, then unchanged, in one transaction.
        "BEGIN; UPDATE big SET large = (SELECT string_agg(md5(g::text), '') FROM generate_series(7, 16000) g); UPDATE big SET small = 8; COMMIT",
        "BEGIN; INSERT INTO big SELECT 20, 1, large, NULL FROM big; UPDATE big SET small = 9 WHERE a = 20; UPDATE big SET a = 21 WHERE a = 20; COMMIT",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(
        scenario.destination.text("SELECT a, small, length(large) > 500000 FROM big WHERE a < 20").await?
            == "7|8|t"
    );
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_go_on_after_a_column_was_dropped() -> Result<()> {
    let mut scenario = Scenario::new("p001_dropped").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, gone text, b text)").await?;
    scenario.source.run("INSERT INTO t SELECT g, 'x', 'y' FROM generate_series(1, 5) g").await?;
    scenario.start().await?;
    scenario.source.run("UPDATE t SET b = 'before' WHERE a = 1").await?;
    scenario.source.run("ALTER TABLE t DROP COLUMN gone").await?;
    scenario.source.run("UPDATE t SET b = 'between' WHERE a = 2").await?;
    scenario.assert_equal().await?;
    scenario.destination.run("ALTER TABLE t DROP COLUMN gone").await?;
    scenario.source.run("UPDATE t SET b = 'after' WHERE a = 3").await?;
    scenario.source.run("INSERT INTO t VALUES (6, 'new')").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_row_is_counted_and_the_stream_goes_on() -> Result<()> {
    let mut scenario = Scenario::new("p001_missing").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text); CREATE TABLE keyless (a int)").await?;
    scenario
        .source
        .run("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5) g; INSERT INTO keyless VALUES (1), (2)")
        .await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario.destination.run("DELETE FROM t WHERE a IN (2, 3); DELETE FROM keyless WHERE a = 1").await?;
    scenario.source.run("UPDATE t SET b = 'lost' WHERE a = 2").await?;
    scenario.source.run("DELETE FROM t WHERE a = 3").await?;
    scenario.source.run("DELETE FROM keyless WHERE a = 1").await?;
    scenario.source.run("UPDATE t SET b = 'kept' WHERE a = 4").await?;
    scenario.assert_arrived("SELECT a, b FROM t ORDER BY a", "1|x\n4|kept\n5|x").await?;
    scenario.assert_arrived("SELECT a FROM keyless", "2").await?;
    scenario
        .tasks
        .wait_until(scenario.task_id(), "three conflicts are told", strait_tests::wait::patience(), |task| {
            task.progress.as_ref().and_then(|p| p.stream.as_ref()).is_some_and(|s| s.conflicts == 3)
        })
        .await?;
    ensure!(scenario.destination.number("SELECT count(*) FROM strait.conflict").await? == 3);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_row_is_overwritten() -> Result<()> {
    let mut scenario = Scenario::new("p001_existing").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE, c text)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario
        .destination
        .run("INSERT INTO t VALUES (1, 10, 'local'), (2, 20, 'local'), (3, 30, 'local')")
        .await?;
    // By its key, and by another unique value.
    scenario.source.run("INSERT INTO t VALUES (1, 11, 'source')").await?;
    scenario.source.run("INSERT INTO t VALUES (9, 20, 'source')").await?;
    scenario.source.run("UPDATE t SET a = 3 WHERE a = 9").await?;
    scenario.assert_arrived("SELECT * FROM t ORDER BY a", "1|11|source\n3|20|source").await?;
    scenario.finish().await
}

/// Nothing but transactions of which the task wants nothing moves this slot: no heartbeat comes within the test.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_hold_nothing_for_the_task_move_its_position() -> Result<()> {
    let mut scenario = Scenario::new("p001_empty").await?;
    scenario.layout().heartbeat = Duration::from_secs(3600);
    scenario.source.run("CREATE TABLE wanted (a int); CREATE TABLE unwanted (a int)").await?;
    let mut spec = scenario.spec();
    let unwanted = ObjectPattern { schema: "public".into(), table: "unwanted".into(), options: None };
    spec.objects = Some(ObjectSelection { include: vec![], exclude: vec![unwanted], ..Default::default() });
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.settle().await?;
    let slot = format!("dts_sync_{}", scenario.task_id());
    for _ in 0..3 {
        for number in 0..50 {
            scenario.source.run(&format!("INSERT INTO unwanted VALUES ({number})")).await?;
        }
        let position = scenario.source.wal_position().await?;
        let confirmed = format!(
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND confirmed_flush_lsn - '0/0' >= {position}"
        );
        eventually("the slot has passed them", patience(), async || {
            Ok((scenario.source.number(&confirmed).await? == 1).then_some(()))
        })
        .await?;
    }
    scenario.assert_arrived("SELECT to_regclass('unwanted') IS NULL", "t").await?;
    scenario.finish().await
}
