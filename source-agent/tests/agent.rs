//! The source-agent against a real server, with a sink in memory.
//!
//! What is compared is what arrived: copy and changes together have to be the source's rows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test that finds something else has failed"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use strait_postgres::Client;
use strait_proto::v1::{self, PrecheckOutcome, report::Report};
use support::coordinator::World;
use support::eventually;
use support::postgres::Server;
use support::table::{Row, parse_copy};

/// The rows of a table at the source.
async fn rows(client: &Client, table: &str) -> Vec<Row> {
    let sql = "SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute \
               WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''";
    let columns: Option<Vec<String>> = client.query_one(sql, &[&table]).await.unwrap().get(0);
    let columns = columns.unwrap_or_default();
    let list: Vec<String> = columns.iter().map(|name| strait_postgres::quote::identifier(name)).collect();
    let sql = format!("COPY (SELECT {} FROM {table}) TO STDOUT", list.join(","));
    let pieces: Vec<bytes::Bytes> = client.copy_out(&*sql).await.unwrap().try_collect().await.unwrap();
    sorted(parse_copy(&pieces.concat(), &columns))
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

async fn oid(client: &Client, table: &str) -> u32 {
    client.query_one("SELECT $1::text::regclass::oid", &[&table]).await.unwrap().get(0)
}

/// Waits until the sink has what the source has.
async fn same(world: &World, client: &Client, tables: &[&str]) {
    for table in tables {
        let oid = oid(client, table).await;
        let source = rows(client, table).await;
        let sink =
            || world.sink.state.lock().unwrap().tables.get(&oid).map(|table| sorted(table.rows.clone()));
        let deadline = std::time::Instant::now() + Duration::from_secs(40);
        while sink().as_ref() != Some(&source) {
            if std::time::Instant::now() > deadline {
                let sink = sink().unwrap_or_default();
                let lost = source.iter().find(|row| !sink.contains(row));
                let more = sink.iter().find(|row| !source.contains(row));
                panic!(
                    "{table}: {} at the source, {} at the sink; {lost:?} {more:?}",
                    source.len(),
                    sink.len()
                );
            }
            if let Some(failure) = world.failure() {
                panic!("{table}: {failure:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(world.sink.state.lock().unwrap().tables[&oid].conflicts, 0, "{table}");
    }
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

const SCHEMA: &str = "
    CREATE TABLE keyed (id int PRIMARY KEY, t text, n numeric, big text, g int GENERATED ALWAYS AS (id * 2) STORED);
    CREATE TABLE keyless (a int, b text, g int GENERATED ALWAYS AS (a * 2) STORED);
    CREATE TABLE gen_key (a int, k int GENERATED ALWAYS AS (a % 1000) STORED PRIMARY KEY);
    CREATE TABLE nothing ();
    CREATE TABLE \"Odd \"\"name\" (\"a b\" int PRIMARY KEY DEFERRABLE, c int[]);
    CREATE TABLE parted (id int, t text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
    CREATE TABLE p2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
    CREATE TABLE loose (id int, t text) PARTITION BY LIST (id);
    CREATE TABLE l1 PARTITION OF loose FOR VALUES IN (1);
    CREATE TABLE serial (id serial PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY);
    INSERT INTO keyed SELECT i, E'tab\\there\\n' || i, i / 7.0, repeat('x', 50) FROM generate_series(1, 5000) AS i;
    INSERT INTO keyless SELECT i % 10, NULL FROM generate_series(1, 100) AS i;
    INSERT INTO gen_key SELECT generate_series(1, 20);
    INSERT INTO nothing DEFAULT VALUES;
    INSERT INTO \"Odd \"\"name\" VALUES (1, '{1,NULL}');
    INSERT INTO parted SELECT i, 'p' FROM generate_series(0, 199) AS i;
    INSERT INTO loose VALUES (1, 'a'), (1, 'a');
    INSERT INTO serial SELECT FROM generate_series(1, 10);";

const HASHED: &str = "
    CREATE TABLE h (id int PRIMARY KEY) PARTITION BY HASH (id);
    CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);";

const TABLES: [&str; 8] =
    ["keyed", "keyless", "gen_key", "nothing", "\"Odd \"\"name\"", "parted", "loose", "serial"];

#[tokio::test(flavor = "multi_thread")]
async fn copy_then_changes_then_release() {
    let server = Server::start().await;
    let client = server.database("life", SCHEMA).await;
    let world = World::start(&server, "life").await;
    world.sink.unauthenticated.store(3, Ordering::SeqCst);
    world.assign(1, false).await;
    world.incremental().await;
    same(&world, &client, &TABLES).await;
    client
        .batch_execute(
            "BEGIN; UPDATE keyed SET t = 'new' WHERE id % 3 = 0; DELETE FROM keyed WHERE id % 5 = 0; COMMIT;
             BEGIN; INSERT INTO keyed VALUES (10001, 'rolled back'); ROLLBACK;
             UPDATE keyed SET id = -id WHERE id < 100;
             DELETE FROM keyless WHERE a = 3; UPDATE keyless SET b = 'x' WHERE a < 2;
             INSERT INTO nothing DEFAULT VALUES;
             UPDATE gen_key SET a = a + 2000 WHERE a = 3; UPDATE gen_key SET a = 77 WHERE a = 4;
             DELETE FROM gen_key WHERE k = 5;
             UPDATE \"Odd \"\"name\" SET c = '{7}';
             UPDATE parted SET id = id + 100 WHERE id < 50 AND id >= 50 OR id = 7 AND false;
             DELETE FROM parted WHERE id IN (150, 7); UPDATE parted SET id = 150 WHERE id = 8;
             UPDATE loose SET t = 'b';
             UPDATE keyed SET big = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) AS i) WHERE id = 7;
             UPDATE keyed SET t = 'toast stays' WHERE id = 7;
             INSERT INTO serial SELECT FROM generate_series(1, 5);
             TRUNCATE keyless; INSERT INTO keyless VALUES (1, 'after');
             SELECT pg_logical_emit_message(true, 'other', 'message');
             SELECT pg_logical_emit_message(false, 'strait', 'message');",
        )
        .await
        .unwrap();
    same(&world, &client, &TABLES).await;

    // A new partition joins in, and one without a key may be changed.
    client
        .batch_execute(
            "CREATE TABLE p3 PARTITION OF parted FOR VALUES FROM (200) TO (300);
             INSERT INTO parted VALUES (250, 'third'); INSERT INTO parted VALUES (260, 'third');
             UPDATE parted SET t = 'changed' WHERE id = 250;
             BEGIN; CREATE TABLE p4 (LIKE parted INCLUDING ALL);
             ALTER TABLE parted ATTACH PARTITION p4 FOR VALUES FROM (300) TO (400);
             INSERT INTO parted VALUES (350, 'fourth'); COMMIT;
             CREATE TABLE l2 PARTITION OF loose FOR VALUES IN (2);
             INSERT INTO loose VALUES (2, 'b');",
        )
        .await
        .unwrap();
    same(&world, &client, &TABLES).await;
    eventually("an identity for the new leaf", async || {
        client.batch_execute("UPDATE loose SET t = 'c' WHERE id = 2").await.is_ok()
    })
    .await;
    same(&world, &client, &TABLES).await;

    // A key is dropped under the stream.
    client.batch_execute("ALTER TABLE keyed DROP CONSTRAINT keyed_pkey").await.unwrap();
    eventually("an identity for the table", async || {
        client.batch_execute("UPDATE keyed SET t = 'keyless' WHERE id = 7").await.is_ok()
    })
    .await;
    same(&world, &client, &TABLES).await;

    // Truncated whole, and one leaf alone.
    client.batch_execute("TRUNCATE p2").await.unwrap();
    client.batch_execute("TRUNCATE loose").await.unwrap();
    eventually("both truncates", async || {
        let state = world.sink.state.lock().unwrap();
        let truncates: Vec<_> = state.log.iter().filter(|line| line.starts_with("truncate")).collect();
        truncates.len() == 3 && truncates[1].contains("id >= 100") && truncates[2] == "truncate []"
    })
    .await;

    // Positions move although nothing happens, and latency is measured.
    let positions = || world.last_progress().unwrap();
    let before = positions().durable_lsn;
    eventually("an idle slot advances", async || positions().confirmed_flush_lsn > before).await;
    assert!(positions().latency_us > 0 && positions().latency_us < 5_000_000, "{:?}", positions());
    let lag = positions();
    assert!(lag.confirmed_flush_lsn <= lag.source_lsn && lag.durable_lsn <= lag.received_lsn, "{lag:?}");
    assert_eq!(world.sink.state.lock().unwrap().sequences["serial_id_seq"].last_value, 10);

    // Nothing stays behind.
    world.revoke(1).await;
    let v1::command_result::Result::Release(result) = world.release().await else { panic!() };
    assert!(result.actions.iter().any(|action| action.contains("REPLICA IDENTITY DEFAULT")), "{result:?}");
    assert_eq!(count(&client, "SELECT count(*) FROM pg_replication_slots").await, 0);
    assert_eq!(count(&client, "SELECT count(*) FROM pg_publication").await, 0);
    assert_eq!(count(&client, "SELECT count(*) FROM pg_class WHERE relreplident = 'f'").await, 0);
    let v1::command_result::Result::Release(again) = world.release().await else { panic!() };
    assert_eq!(again.actions, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_break_is_survived_under_writes() {
    let server = Server::start().await;
    let client = server
        .database("breaks", "CREATE TABLE t (id int PRIMARY KEY, v int, pad text);
            INSERT INTO t SELECT i, 0, repeat('y', 1500) FROM generate_series(1, 60000) AS i; CREATE TABLE u (a int);")
        .await;
    let mut world = World::start(&server, "breaks").await;
    let writing = tokio::spawn({
        let writer = server.connect("breaks").await;
        async move {
            writer.batch_execute("SET search_path = public").await.unwrap();
            let mut n = 0;
            let stop = std::time::Instant::now() + Duration::from_secs(25);
            while std::time::Instant::now() < stop {
                n += 1;
                let sql = format!(
                    "UPDATE t SET v = v + 1 WHERE id % 1000 = {}; INSERT INTO u VALUES ({n});
                     INSERT INTO t VALUES ({}, {n}, 'new'); DELETE FROM t WHERE id = {}",
                    n % 1000,
                    1_000_000 + n,
                    n * 3
                );
                if writer.batch_execute(&sql).await.is_err() {
                    return writer;
                }
            }
            writer
        }
    });
    world.sink.fail_chunks.store(2, Ordering::SeqCst);
    world.assign(1, false).await;
    world.incremental().await;
    for round in 0..3 {
        world.sink.break_after_frames.store(3, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.sink.break_after_frames.store(0, Ordering::SeqCst);
        if round == 1 {
            world.kill_agent().await;
            world.reports.lock().unwrap().clear();
            world.assign(2, false).await;
            world.incremental().await;
        }
        let admin = server.connect("postgres").await;
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication", &[]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    writing.await.unwrap();
    same(&world, &client, &["t", "u"]).await;
    server.restart().await;
    let client = server.connect("breaks").await;
    client.batch_execute("SET search_path = public; INSERT INTO u VALUES (-1)").await.unwrap();
    same(&world, &client, &["t", "u"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_ends_with_everything_there() {
    let server = Server::start().await;
    let client = server.database("once", SCHEMA).await;
    // Another task has published one of the tables as well.
    let other = "CREATE PUBLICATION dts_sync_zzzzzzzzzz99 FOR TABLE keyless";
    client.batch_execute(other).await.unwrap();
    let world = World::start(&server, "once").await;
    world.assign(1, true).await;
    world.reported("finished", |report| matches!(report, Report::Finished(_))).await;
    same(&world, &client, &TABLES).await;
    {
        let state = world.sink.state.lock().unwrap();
        let last = |name: &str| state.sequences[name].last_value;
        assert_eq!((last("serial_id_seq"), last("serial_i_seq")), (10, 10));
        assert_eq!(state.finished.len(), TABLES.len());
    }

    let v1::command_result::Result::Release(result) = world.release().await else { panic!() };
    assert!(result.actions.iter().any(|action| action.contains("stays FULL")), "{result:?}");
    let full = "SELECT count(*) FROM pg_class WHERE relreplident = 'f'";
    assert_eq!(count(&client, full).await, 1);
    let record = "SELECT obj_description(oid, 'pg_publication') FROM pg_publication";
    let record: String = client.query_one(record, &[]).await.unwrap().get(0);
    assert!(record.contains("\"name\":\"keyless\",\"identity\":\"default\""), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_says_what_it_waits_for() {
    let server = Server::start().await;
    let client =
        server.database("waits", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let other = server.connect("waits").await;
    other.batch_execute("SET application_name = 'forgotten'").await.unwrap();
    other.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.unwrap();
    let world = World::start(&server, "waits").await;
    world.assign(1, false).await;
    eventually("a notice", async || {
        world.notices().iter().any(|notice| notice.contains("waits for") && notice.contains("forgotten"))
    })
    .await;
    other.batch_execute("COMMIT").await.unwrap();
    world.incremental().await;
    same(&world, &client, &["t"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_columns_without_a_key_are_refused_where_they_cannot_be_published() {
    let server = Server::start().await;
    let client = server.database("virtual", "CREATE TABLE v (a int)").await;
    let alter = "ALTER TABLE v ADD COLUMN g int GENERATED ALWAYS AS (a * 2) VIRTUAL";
    if client.batch_execute(alter).await.is_err() {
        return; // Before PostgreSQL 18 there are none.
    }
    let world = World::start(&server, "virtual").await;
    let items = world.precheck().await.items;
    let identity = items.iter().find(|item| item.name == "source.replica_identity").unwrap();
    assert_eq!(identity.outcome(), PrecheckOutcome::Failed, "{identity:?}");
    world.assign(1, false).await;
    eventually("a failure", async || world.failure().is_some()).await;
    assert!(world.failure().unwrap().remedy.contains("ADD PRIMARY KEY"));
    client.batch_execute("INSERT INTO v VALUES (1); UPDATE v SET a = 2").await.unwrap();
    client.batch_execute("ALTER TABLE v ADD PRIMARY KEY (a)").await.unwrap();
    world.reports.lock().unwrap().clear();
    world.assign(2, false).await;
    world.incremental().await;
    client.batch_execute("UPDATE v SET a = 3").await.unwrap();
    let oid = oid(&client, "v").await;
    eventually("the change", async || {
        let state = world.sink.state.lock().unwrap();
        state.tables[&oid].rows.iter().any(|row| row["a"].as_deref() == Some("3"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_ends_with_a_failure() {
    let server = Server::start().await;
    server.database("zombie", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let world = World::start(&server, "zombie").await;
    world.assign(1, false).await;
    world.incremental().await;
    world.sink.fenced.store(true, Ordering::SeqCst);
    let admin = server.connect("postgres").await;
    let terminate =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication WHERE state = 'streaming'";
    eventually("a stream to break", async || count(&admin, terminate).await > 0).await;
    eventually("a failure", async || world.failure().is_some()).await;
    assert!(world.failure().unwrap().cause.contains("epoch 9 is newer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_table_and_a_lost_snapshot_begin_again() {
    let server = Server::start().await;
    let client = server
        .database(
            "again",
            "CREATE TABLE big (id int PRIMARY KEY, pad text) WITH (autovacuum_enabled = off);
            CREATE TABLE small (id int PRIMARY KEY);
            INSERT INTO big SELECT i, repeat('z', 1500) FROM generate_series(1, 60000) AS i;
            INSERT INTO small SELECT generate_series(1, 10);",
        )
        .await;
    let mut world = World::start(&server, "again").await;
    // The lock holds the first chunks up until the table is rewritten.
    let blocker = server.connect("again").await;
    blocker.batch_execute("BEGIN; ALTER TABLE public.big ADD COLUMN x int DEFAULT 1").await.unwrap();
    blocker.batch_execute("ROLLBACK").await.unwrap();
    world.sink.fail_chunks.store(1000, Ordering::SeqCst);
    world.assign(1, false).await;
    world.reported("interrupted", |report| matches!(report, Report::Interrupted(_))).await;
    blocker.batch_execute("VACUUM FULL public.big").await.unwrap();
    client
        .batch_execute("UPDATE big SET pad = 'u' WHERE id < 10; INSERT INTO small VALUES (11)")
        .await
        .unwrap();
    world.sink.fail_chunks.store(0, Ordering::SeqCst);
    world.incremental().await;
    same(&world, &client, &["big", "small"]).await;
    assert!(world.notices().iter().any(|notice| notice.contains("rewritten")), "{:?}", world.notices());
    world.revoke(1).await;
    world.release().await;

    // The agent dies during the copy: what was not finished begins under another snapshot.
    *world.sink.state.lock().unwrap() = support::sink::State::default();
    world.sink.fail_chunks.store(1000, Ordering::SeqCst);
    world.reports.lock().unwrap().clear();
    world.assign(2, false).await;
    world.reported("interrupted", |report| matches!(report, Report::Interrupted(_))).await;
    client.batch_execute("DELETE FROM big WHERE id % 7 = 0").await.unwrap();
    world.kill_agent().await;
    world.sink.fail_chunks.store(0, Ordering::SeqCst);
    world.assign(3, false).await;
    world.incremental().await;
    same(&world, &client, &["big", "small"]).await;
    let generations: Vec<u32> =
        world.sink.state.lock().unwrap().states.values().map(|state| state.generation).collect();
    assert!(generations.contains(&2), "{generations:?}");
    eventually("no temporary slot is left", async || {
        count(&client, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%_copy'").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_partitions_cannot_be_followed_is_suspended() {
    let server = Server::start().await;
    let cases: [(&str, &[&str], &str); 4] = [
        (
            "attached",
            &[
                "CREATE TABLE p9 (LIKE parted)",
                "INSERT INTO p9 VALUES (900, 'x')",
                "ALTER TABLE parted ATTACH PARTITION p9 FOR VALUES FROM (900) TO (1000)",
            ],
            "was attached",
        ),
        (
            "loaded",
            &["BEGIN; CREATE TABLE p9 (LIKE parted); INSERT INTO p9 VALUES (900, 'x');
               ALTER TABLE parted ATTACH PARTITION p9 FOR VALUES FROM (900) TO (1000); COMMIT"],
            "was attached",
        ),
        (
            "swapped",
            &["BEGIN; ALTER TABLE parted DETACH PARTITION p1; DELETE FROM p1 WHERE id = 9;
               ALTER TABLE parted ATTACH PARTITION p1 FOR VALUES FROM (0) TO (100); COMMIT"],
            "was attached",
        ),
        ("hash", &["TRUNCATE h1"], "hash partition"),
    ];
    for (name, statements, words) in cases {
        let database = format!("begin_over_{name}");
        let client = server.database(&database, SCHEMA).await;
        client.batch_execute(HASHED).await.unwrap();
        let world = World::start(&server, &database).await;
        world.assign(1, false).await;
        world.incremental().await;
        same(&world, &client, &TABLES).await;
        for statement in statements {
            client.batch_execute(statement).await.unwrap();
        }
        let suspended = || world.sink.state.lock().unwrap().suspended.clone();
        eventually("a table to suspend", async || !suspended().is_empty()).await;
        let table = oid(&client, if name == "hash" { "h" } else { "parted" }).await;
        let (found, reason) = &suspended()[0];
        assert!(*found == table && reason.contains(words), "{name}: {found} {reason}");
        world.revoke(1).await;
        world.release().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_rows_stops_the_task() {
    let server = Server::start().await;
    let cases: [(&str, &[&str], &str); 3] = [
        (
            "unpublished",
            &["ALTER PUBLICATION dts_sync_abcdefghij12 DROP TABLE keyed"],
            "removed from publication",
        ),
        ("slotless", &["SELECT pg_drop_replication_slot('dts_sync_abcdefghij12')"], "does not exist"),
        (
            "advanced",
            &[
                "INSERT INTO keyless VALUES (77, 'lost')",
                "SELECT pg_replication_slot_advance('dts_sync_abcdefghij12', pg_current_wal_lsn())",
            ],
            "past the destination",
        ),
    ];
    for (name, statements, words) in cases {
        let database = format!("stop_{name}");
        let client = server.database(&database, SCHEMA).await;
        client.batch_execute(HASHED).await.unwrap();
        let world = World::start(&server, &database).await;
        world.assign(1, false).await;
        world.incremental().await;
        same(&world, &client, &TABLES).await;
        world.revoke(1).await;
        eventually("a free slot", async || {
            count(&client, "SELECT count(*) FROM pg_replication_slots WHERE active").await == 0
        })
        .await;
        for statement in statements {
            client.batch_execute(statement).await.unwrap();
        }
        world.assign(2, false).await;
        eventually("a failure", async || world.failure().is_some()).await;
        let failure = world.failure().unwrap();
        assert!(failure.definite && failure.cause.contains(words), "{name}: {failure:?}");
        assert!(!failure.remedy.is_empty(), "{name}");
        let released = world.release().await;
        assert!(matches!(released, v1::command_result::Result::Release(_)), "{released:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sink_does_not_cost_the_connection() {
    let server = Server::start().await;
    let client = server.database("slow", "CREATE TABLE t (id int PRIMARY KEY, pad text)").await;
    let admin = server.connect("postgres").await;
    for sql in ["ALTER SYSTEM SET wal_sender_timeout = '2s'", "SELECT pg_reload_conf()"] {
        admin.batch_execute(sql).await.unwrap();
    }
    let world = World::start(&server, "slow").await;
    world.assign(1, false).await;
    world.incremental().await;
    world.sink.hold_credit.store(true, Ordering::SeqCst);
    client
        .batch_execute(
            "INSERT INTO t SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 200000) AS i",
        )
        .await
        .unwrap();
    let pid = "SELECT max(pid)::int8 FROM pg_stat_replication";
    eventually("the credit is used up", async || world.sink.held_bytes.load(Ordering::SeqCst) >= 4 << 20)
        .await;
    let before = count(&client, pid).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(count(&client, pid).await, before, "the walsender gave up");
    let held = world.sink.held_bytes.load(Ordering::SeqCst);
    assert!(held < 6 << 20, "{held} bytes came without credit");
    world.sink.hold_credit.store(false, Ordering::SeqCst);
    same(&world, &client, &["t"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_precheck_names_what_is_wrong() {
    let server = Server::start().await;
    let client = server.database("checks", SCHEMA).await;
    let world = World::start(&server, "checks").await;
    let result = world.precheck().await;
    let summary = result.source.unwrap();
    assert_eq!(summary.tables.len(), TABLES.len());
    let held = format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND (classid::int8 << 32 | objid::int8) = {}",
        summary.probe_lock
    );
    assert_eq!(count(&client, &held).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_learns_what_it_needs() {
    let server = Server::start().await;
    let client = server.database("rights", SCHEMA).await;
    client
        .batch_execute(
            "CREATE ROLE weak LOGIN; ALTER TABLE keyed ENABLE ROW LEVEL SECURITY;
        GRANT SELECT ON keyed TO weak; CREATE SEQUENCE s",
        )
        .await
        .unwrap();
    let mut world = World::start(&server, "rights").await;
    world.use_role("weak").await;
    let result = world.precheck().await;
    let failed: Vec<&str> = result
        .items
        .iter()
        .filter(|item| item.outcome() == PrecheckOutcome::Failed)
        .map(|item| &*item.name)
        .collect();
    for name in [
        "source.replication_privilege",
        "source.read_privilege",
        "source.publication_privilege",
        "source.replica_identity",
    ] {
        assert!(failed.contains(&name), "{name}: {failed:?}");
    }
}
