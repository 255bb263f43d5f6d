//! 003_constraints: foreign keys and triggers at the destination do not get in the way, and those that are meant to fire do.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_are_carried_and_not_enforced_against_the_stream() -> Result<()> {
    let mut scenario = Scenario::new("p003_keys").await?;
    scenario
        .source
        .run(
            "CREATE TABLE tab_fk (bid int PRIMARY KEY);
             CREATE TABLE tab_fk_ref (id int PRIMARY KEY, bid int REFERENCES tab_fk (bid));
             CREATE TABLE self (id int PRIMARY KEY, parent int REFERENCES self);
             CREATE TABLE ring_a (id int PRIMARY KEY, b int);
             CREATE TABLE ring_b (id int PRIMARY KEY, a int REFERENCES ring_a DEFERRABLE INITIALLY DEFERRED);
             ALTER TABLE ring_a ADD CONSTRAINT ring_a_b FOREIGN KEY (b) REFERENCES ring_b DEFERRABLE INITIALLY DEFERRED;
             INSERT INTO tab_fk SELECT generate_series(1, 10);
             INSERT INTO tab_fk_ref SELECT g, g FROM generate_series(1, 10) g;
             INSERT INTO self SELECT g, nullif(g - 1, 0) FROM generate_series(1, 10) g;
             INSERT INTO ring_a VALUES (1, 1); INSERT INTO ring_b VALUES (1, 1)",
        )
        .await?;
    scenario.start().await?;
    scenario.foreign_keys_arrived().await?;
    for sql in [
        "INSERT INTO tab_fk VALUES (11); INSERT INTO tab_fk_ref VALUES (11, 11)",
        "BEGIN; INSERT INTO ring_a VALUES (2, 2); INSERT INTO ring_b VALUES (2, 2); COMMIT",
        "INSERT INTO self VALUES (12, 12); UPDATE self SET parent = 1 WHERE id = 12",
        "DELETE FROM tab_fk_ref WHERE id = 1; DELETE FROM tab_fk WHERE bid = 1",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    let validated = "SELECT conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1";
    scenario.assert_same_answer(validated).await?;

    scenario.source.run("ALTER TABLE tab_fk_ref DROP CONSTRAINT tab_fk_ref_bid_fkey").await?;
    scenario.source.run("INSERT INTO tab_fk_ref VALUES (99, 99)").await?;
    scenario.assert_arrived("SELECT bid FROM tab_fk_ref WHERE id = 99", "99").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_replica_triggers_fire() -> Result<()> {
    let mut scenario = Scenario::new("p003_triggers").await?;
    scenario.source.run("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE fired (how text)").await?;
    scenario.start().await?;
    scenario.settle().await?;
    scenario
        .destination
        .run(
            "CREATE FUNCTION filter() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF TG_OP = 'INSERT' AND NEW.id < 10 THEN RETURN NEW; END IF;
                 IF TG_OP = 'UPDATE' AND NEW.v <> 'refused' THEN RETURN NEW; END IF;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER filter BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION filter();
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN INSERT INTO public.fired VALUES (TG_ARGV[0]); RETURN NULL; END $$;
             CREATE TRIGGER always AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note('always');
             ALTER TABLE t ENABLE ALWAYS TRIGGER always",
        )
        .await?;
    // An ordinary trigger is silent.
    scenario.source.run("INSERT INTO t VALUES (1, 'a'), (11, 'a')").await?;
    scenario.assert_arrived("SELECT string_agg(id::text, ',' ORDER BY id) FROM t", "1,11").await?;
    ensure!(scenario.destination.text("SELECT how FROM fired").await? == "always\nalways");

    scenario.destination.run("ALTER TABLE t ENABLE REPLICA TRIGGER filter").await?;
    scenario.source.run("INSERT INTO t VALUES (2, 'a'), (12, 'a')").await?;
    scenario.source.run("UPDATE t SET v = 'refused' WHERE id = 1").await?;
    scenario.source.run("UPDATE t SET v = 'taken' WHERE id = 2").await?;
    scenario.assert_arrived("SELECT id, v FROM t ORDER BY id", "1|a\n2|taken\n11|a").await?;
    scenario.finish().await
}

/// Values that a statement shifts or rows exchange: in between, at the source, they were never twice there.
#[tokio::test(flavor = "multi_thread")]
async fn unique_values_shift_and_swap() -> Result<()> {
    let mut scenario = Scenario::new("p003_unique").await?;
    scenario
        .source
        .run(
            "CREATE TABLE shift (id int PRIMARY KEY, k int UNIQUE DEFERRABLE);
             CREATE TABLE places (id int PRIMARY KEY, k int UNIQUE, n int);
             CREATE TABLE rooms (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
             CREATE TABLE keys (id int PRIMARY KEY, v text)",
        )
        .await?;
    scenario
        .source
        .run(
            "INSERT INTO shift SELECT g, g FROM generate_series(1, 100) g;
             INSERT INTO places SELECT g, g, 0 FROM generate_series(1, 100) g;
             INSERT INTO rooms SELECT g, int4range(g * 10, g * 10 + 10) FROM generate_series(1, 50) g;
             INSERT INTO keys SELECT g, 'v' || g FROM generate_series(1, 100) g",
        )
        .await?;
    scenario.start().await?;
    for sql in [
        "UPDATE shift SET k = k + 1",
        "UPDATE shift SET k = 200 - k",
        "BEGIN; UPDATE places SET k = NULL WHERE id = 1; UPDATE places SET k = 1 WHERE id = 2; UPDATE places SET k = 2 WHERE id = 1; COMMIT",
        "BEGIN; DELETE FROM places WHERE id = 3; INSERT INTO places VALUES (103, 3, 1); UPDATE places SET n = 9; COMMIT",
        "BEGIN; UPDATE rooms SET during = NULL WHERE id = 1; UPDATE rooms SET during = '[10,20)' WHERE id = 2; UPDATE rooms SET during = '[20,30)' WHERE id = 1; COMMIT",
        "BEGIN; UPDATE keys SET id = -1 WHERE id = 1; UPDATE keys SET id = 1 WHERE id = 2; UPDATE keys SET id = 2 WHERE id = -1; COMMIT",
        "BEGIN; UPDATE keys SET id = id + 1000; UPDATE keys SET id = id - 999; COMMIT",
        "BEGIN; DELETE FROM keys WHERE id = 50; UPDATE keys SET id = 50 WHERE id = 51; INSERT INTO keys VALUES (51, 'again'); COMMIT",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}
