//! `partitions: preserve`: the destination has the same partitions, every leaf the same rows, and what becomes of the partitions
//! while the task runs becomes of them there.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{
    ApplyPolicy, ExistingTables, NameCase, ObjectPattern, ObjectSelection, Partitions, PrecheckOutcome,
    Rename, TableOptions, TaskSpec, TaskState,
};
use strait_tests::compare;
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::schema_dump::SchemaDump;
use strait_tests::version::PgVersion;
use strait_tests::wait::{eventually, patience};

/// Every way to partition, with what partitions may have of their own.
const TREE: &str = r#"
    CREATE SCHEMA s;
    CREATE TABLE s.customers (id int PRIMARY KEY, name text);
    INSERT INTO s.customers SELECT g, 'c' FROM generate_series(1, 9) g;
    CREATE TABLE s.orders (id bigint NOT NULL, region text NOT NULL DEFAULT 'eu', customer int REFERENCES s.customers,
                           total numeric CHECK (total >= 0), note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
    CREATE INDEX orders_total ON s.orders (total) WHERE total > 10;
    COMMENT ON TABLE s.orders IS 'the root';
    CREATE TABLE s.orders_eu PARTITION OF s.orders FOR VALUES IN ('eu', 'uk') PARTITION BY RANGE (id);
    CREATE TABLE s.orders_eu_1 PARTITION OF s.orders_eu FOR VALUES FROM (MINVALUE) TO (100) WITH (fillfactor = 70);
    CREATE TABLE s.orders_eu_2 (note text, total numeric CHECK (total < 100000), gone int, region text NOT NULL DEFAULT 'uk',
                                customer int, id bigint NOT NULL, CONSTRAINT orders_total_check CHECK (total >= 0));
    ALTER TABLE s.orders_eu_2 DROP COLUMN gone;
    ALTER TABLE s.orders_eu ATTACH PARTITION s.orders_eu_2 FOR VALUES FROM (100) TO (200);
    CREATE INDEX only_here ON s.orders_eu_2 (note);
    ALTER TABLE s.orders_eu_2 ALTER note SET STORAGE external;
    CREATE TABLE s.orders_us PARTITION OF s.orders FOR VALUES IN ('us');
    COMMENT ON TABLE s.orders_eu_1 IS 'a leaf';
    CREATE TABLE s."Orders ""rest""" PARTITION OF s.orders DEFAULT;
    CREATE FUNCTION s.note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'fired'; RETURN NEW; END $$;
    CREATE TRIGGER cloned AFTER INSERT ON s.orders FOR EACH ROW EXECUTE FUNCTION s.note_it();
    CREATE TRIGGER of_a_leaf BEFORE INSERT ON s.orders_us FOR EACH ROW WHEN (NEW.id < 0) EXECUTE FUNCTION s.note_it();
    CREATE TABLE s.parcels (id int PRIMARY KEY, order_id bigint, order_region text,
                            FOREIGN KEY (order_id, order_region) REFERENCES s.orders);
    CREATE TABLE s.events (at date, kind text COLLATE "C", v int) PARTITION BY RANGE (at, lower(kind) COLLATE "POSIX" text_pattern_ops);
    CREATE TABLE s.events_old PARTITION OF s.events FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2020-01-01', 'm');
    CREATE TABLE s.events_new PARTITION OF s.events FOR VALUES FROM ('2020-01-01', 'm') TO (MAXVALUE, MAXVALUE);
    CREATE TABLE s.spread (a int, b text) PARTITION BY HASH (a);
    CREATE TABLE s.spread_0 PARTITION OF s.spread FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE s.spread_1 PARTITION OF s.spread FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE s.empty (a int) PARTITION BY LIST (a);
    INSERT INTO s.orders (id, region, customer, total)
        SELECT g, (ARRAY['eu', 'uk', 'us', 'xx'])[1 + g % 4], 1 + g % 9, g FROM generate_series(1, 199) g;
    INSERT INTO s.parcels SELECT g, g, (ARRAY['eu', 'uk', 'us', 'xx'])[1 + g % 4] FROM generate_series(1, 20) g;
    INSERT INTO s.events SELECT '2019-12-25'::date + g, (ARRAY['a', 'M', 'z'])[1 + g % 3], g FROM generate_series(1, 30) g;
    INSERT INTO s.spread SELECT g % 7, 'x' FROM generate_series(1, 50) g;
"#;

/// Changes through the roots and of leaves directly.
const CHANGES: [&str; 9] = [
    "UPDATE s.orders SET total = total + 1 WHERE id % 3 = 0",
    // Moves between leaves.
    "UPDATE s.orders SET region = 'us' WHERE id BETWEEN 30 AND 60 AND region = 'eu'",
    "BEGIN; DELETE FROM s.orders WHERE id BETWEEN 170 AND 180; UPDATE s.orders SET id = id + 100 WHERE id BETWEEN 70 AND 80 AND region = 'uk'; COMMIT",
    "INSERT INTO s.orders_eu_2 (note, id, region, total) VALUES ('leaf', 1000 - 801, 'eu', 5)",
    "TRUNCATE s.events_old",
    "INSERT INTO s.events VALUES ('2019-01-01', 'a', 1), ('2021-01-01', 'z', 2)",
    // Without a key.
    "UPDATE s.spread SET a = a + 1 WHERE a = 3",
    "DELETE FROM s.spread WHERE ctid IN (SELECT min(ctid) FROM s.spread_0) AND tableoid = 's.spread_0'::regclass",
    "BEGIN; TRUNCATE s.spread; INSERT INTO s.spread VALUES (1, 'a'), (2, 'b'), (2, 'b'), (3, 'c'); COMMIT",
];

/// What becomes of partitions later. The rows that a new one takes from the default one go with it.
const LATER: [&str; 8] = [
    "CREATE TABLE s.orders_cn PARTITION OF s.orders FOR VALUES IN ('cn'); INSERT INTO s.orders (id, region) VALUES (1, 'cn'), (2, 'cn')",
    "CREATE TABLE s.orders_br (LIKE s.orders INCLUDING ALL); INSERT INTO s.orders_br (id, region) VALUES (7, 'br'), (8, 'br');
     ALTER TABLE s.orders_br ADD FOREIGN KEY (customer) REFERENCES s.customers;
     ALTER TABLE s.orders ATTACH PARTITION s.orders_br FOR VALUES IN ('br')",
    "INSERT INTO s.orders (id, region) VALUES (3, 'cn'), (9, 'br'), (500, 'zz')",
    r#"BEGIN; CREATE TABLE s.orders_xx (LIKE s.orders INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
       WITH moved AS (DELETE FROM s."Orders ""rest""" WHERE region = 'xx' AND id > 20 RETURNING *) INSERT INTO s.orders_xx SELECT * FROM moved;
       DELETE FROM s.parcels WHERE order_region = 'xx'; DELETE FROM s."Orders ""rest""" WHERE region = 'xx';
       ALTER TABLE s.orders ATTACH PARTITION s.orders_xx FOR VALUES IN ('xx'); COMMIT"#,
    "ALTER TABLE s.events DETACH PARTITION s.events_old; UPDATE s.events_old SET at = '2030-01-01' WHERE v = 1; INSERT INTO s.events_old VALUES ('2040-01-01', 'q', 9)",
    "CREATE TABLE s.empty_1 PARTITION OF s.empty FOR VALUES IN (1) PARTITION BY LIST (a); CREATE TABLE s.empty_11 PARTITION OF s.empty_1 DEFAULT; INSERT INTO s.empty VALUES (1), (1)",
    "DELETE FROM s.parcels WHERE order_region = 'us'; ALTER TABLE s.orders DETACH PARTITION s.orders_us; DROP TABLE s.orders_us",
    "CREATE TABLE s.orders_us PARTITION OF s.orders FOR VALUES IN ('us', 'ca'); INSERT INTO s.orders (id, region) VALUES (11, 'us'), (12, 'ca')",
];

fn preserved(scenario: &Scenario) -> TaskSpec {
    TaskSpec { partitions: Partitions::Preserve.into(), ..scenario.spec() }
}

/// Every table and every leaf by itself.
async fn tables(database: &Database) -> Result<Vec<String>> {
    let mut tables = compare::tables(database).await?;
    let leaves = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relispartition AND c.relkind IN ('r', 'p')";
    tables.extend(database.rows(leaves).await?);
    Ok(tables)
}

/// How tables and indexes hang together.
const STRUCTURE: &str = "
    SELECT c.oid::regclass || ' ' || coalesce(pg_get_partkeydef(c.oid), '-') || ' ' || coalesce(i.inhparent::regclass::text, '-')
           || ' ' || coalesce(pg_get_expr(c.relpartbound, c.oid), '-')
    FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'i', 'I') AND c.relnamespace = 's'::regnamespace ORDER BY 1";

async fn eventually_alike(scenario: &Scenario) -> Result<()> {
    let (source, destination) = (&scenario.source, &scenario.destination);
    let waited = eventually("the partitions are those of the source", 2 * patience(), async || {
        let same = source.rows(STRUCTURE).await? == destination.rows(STRUCTURE).await?;
        Ok(same.then_some(()))
    })
    .await;
    if waited.is_err() {
        eprintln!(
            "source: {:#?}\ndestination: {:#?}",
            source.rows(STRUCTURE).await?,
            destination.rows(STRUCTURE).await?
        );
    }
    scenario.explain(waited).await?;
    scenario.settle().await?;
    let tables = tables(source).await?;
    scenario.explain(compare::eventually_tables_equal(source, destination, &tables, patience()).await).await
}

async fn dumps_alike(scenario: &Scenario) -> Result<()> {
    let (source, destination) = (&scenario.source, &scenario.destination);
    let dump = async |database| SchemaDump::with_partitions(database, &["strait"]).await;
    let wanted = dump(source).await?;
    let waited = eventually("the schema is the source's", patience(), async || {
        Ok(wanted.assert_same(&dump(destination).await?).is_ok().then_some(()))
    })
    .await;
    match waited {
        Ok(()) => Ok(()),
        Err(_) => scenario.explain(wanted.assert_same(&dump(destination).await?)).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_arrive_as_pg_dump_sees_them_and_so_does_what_becomes_of_them() -> Result<()> {
    let mut scenario = Scenario::new("preserve").await?;
    scenario.source.run(TREE).await?;
    scenario.create_in_process(preserved(&scenario)).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.foreign_keys_arrived().await?;
    dumps_alike(&scenario).await?;
    scenario.source.run_each(&CHANGES).await?;
    eventually_alike(&scenario).await?;
    ensure!(scenario.conflicts().await? == 0);
    for statements in LATER {
        scenario.source.run(statements).await.with_context(|| statements.to_owned())?;
    }
    eventually_alike(&scenario).await?;
    scenario.foreign_keys_arrived().await?;
    dumps_alike(&scenario).await?;
    // They go on as tables of the task.
    scenario.source.run("UPDATE s.orders SET total = 1; DELETE FROM s.empty WHERE ctid = '(0,1)'; INSERT INTO s.events_old VALUES ('2041-01-01', 'r', 1)").await?;
    eventually_alike(&scenario).await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

async fn partitions_arrive_and_follow(pair: &Pair) -> Result<()> {
    let mut scenario = Scenario::on(pair, "preserve_versions").await?;
    scenario.source.run(TREE).await?;
    scenario.create_in_process(preserved(&scenario)).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run_each(&CHANGES).await?;
    eventually_alike(&scenario).await?;
    for statements in LATER {
        scenario.source.run(statements).await.with_context(|| statements.to_owned())?;
    }
    eventually_alike(&scenario).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_kept_between_the_oldest_and_the_newest_servers() -> Result<()> {
    for (source, destination) in [(PgVersion::V12, PgVersion::V18), (PgVersion::V18, PgVersion::V12)] {
        if let Some(pair) = Pair::of_versions(source, destination).await? {
            let followed = partitions_arrive_and_follow(&pair).await;
            followed.with_context(|| format!("{source} to {destination}"))?;
        }
    }
    Ok(())
}

/// What an entry says of a partitioned table holds for its partitions, those made later included.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_table_holds_for_its_partitions() -> Result<()> {
    let mut scenario = Scenario::new("preserve_mapped").await?;
    scenario
        .source
        .run(
            "CREATE TABLE orders (id int, day date, secret text, v int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE orders_2024 PARTITION OF orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
             CREATE TABLE elsewhere PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
             INSERT INTO orders SELECT g, '2024-12-01'::date + g, 'secret', g FROM generate_series(1, 60) g",
        )
        .await?;
    let rename =
        Rename { schema: "Dw".into(), table: "Fact".into(), columns: [("v".into(), "Value".into())].into() };
    let options = TableOptions {
        rename: Some(rename),
        columns: vec!["id".into(), "day".into(), "v".into()],
        r#where: "v % 2 = 0".into(),
        ..Default::default()
    };
    let include =
        |table: &str, options| ObjectPattern { schema: "public".into(), table: table.into(), options };
    let objects = ObjectSelection {
        include: vec![include("orders", Some(options)), include("fence", None)],
        ..Default::default()
    };
    let spec = TaskSpec {
        objects: Some(objects),
        name_case: NameCase::Source.into(),
        apply: Some(ApplyPolicy { lanes: 4 }),
        ..preserved(&scenario)
    };
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario
        .source
        .run(
            "CREATE TABLE orders_2026 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
             INSERT INTO orders SELECT g, '2025-12-25'::date + g, 'secret', g FROM generate_series(1, 20) g;
             UPDATE orders SET v = v + 1 WHERE id % 3 = 0; UPDATE orders SET day = '2024-02-02' WHERE id = 40",
        )
        .await?;
    let structure = "SELECT string_agg(format('%s %s', c.relname, pg_get_expr(c.relpartbound, c.oid)), '; ' ORDER BY c.relname)
                     FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE i.inhparent = '\"Dw\".\"Fact\"'::regclass";
    let wanted = "Fact_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
                  Fact_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); \
                  elsewhere FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')";
    let waited = eventually("the partitions have the table's place", 2 * patience(), async || {
        Ok((scenario.destination.text(structure).await? == wanted).then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.settle().await?;
    let rows = "SELECT string_agg(format('%s %s %s', id, day, v), ',' ORDER BY id, day) FROM";
    let wanted = scenario.source.text(&format!("{rows} orders WHERE v % 2 = 0")).await?;
    let arrived = format!("{rows} (SELECT id, day, \"Value\" AS v FROM \"Dw\".\"Fact\") AS f");
    scenario.assert_arrived(&arrived, &wanted).await?;
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'Dw' AND column_name = 'secret'";
    scenario.assert_arrived(columns, "0").await?;
    // Alone, a partition is not what the task says anything about: no column that is left out may follow.
    scenario.source.run("ALTER TABLE orders DETACH PARTITION orders_2024").await?;
    let detached = "SELECT phase FROM strait.table_state WHERE table_name = 'Fact_2024'";
    let waited = eventually("the detached partition is left where it is", 2 * patience(), async || {
        Ok((scenario.destination.text(detached).await? == "suspended").then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.settle().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_partitions_are_used_and_a_plain_table_is_none() -> Result<()> {
    let tree = "CREATE TABLE t (a int PRIMARY KEY, b text) PARTITION BY RANGE (a);
                CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)";
    let mut scenario = Scenario::new("preserve_existing").await?;
    scenario.source.run(tree).await?;
    scenario.source.run("INSERT INTO t SELECT g, 'source' FROM generate_series(1, 5) g").await?;
    scenario.destination.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    let spec = TaskSpec { existing_tables: ExistingTables::Proceed.into(), ..preserved(&scenario) };
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let failed =
        task.precheck.iter().find(|it| it.outcome() == PrecheckOutcome::Failed).context("a failed item")?;
    ensure!(failed.cause.contains("not partitioned there"), "{failed:?}");

    scenario.destination.run("DROP TABLE t").await?;
    scenario.destination.run(tree).await?;
    scenario.destination.run("INSERT INTO t VALUES (5, 'stays'), (9, 'own')").await?;
    scenario.run_until(TaskState::Incremental).await?;
    scenario
        .source
        .run(
            "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (10) TO (20); INSERT INTO t VALUES (15, 'new');
             UPDATE t SET b = 'changed' WHERE a = 1",
        )
        .await?;
    let rows = "SELECT string_agg(a || b, ',' ORDER BY a) FROM t";
    let waited = eventually("the new partition is attached", 2 * patience(), async || {
        Ok((scenario.destination.text(rows).await? == "1changed,2source,3source,4source,5stays,9own,15new")
            .then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.finish().await
}

/// Killed again and again while partitions are made, filled, attached, detached and dropped.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_partitions_come_and_go() -> Result<()> {
    let mut scenario = Scenario::new("preserve_killed").await?;
    scenario
        .source
        .run(
            "CREATE SCHEMA s; CREATE TABLE s.t (a int PRIMARY KEY, b text) PARTITION BY RANGE (a);
             CREATE TABLE s.t_rest PARTITION OF s.t DEFAULT; INSERT INTO s.t SELECT g, 'x' FROM generate_series(1, 500) g",
        )
        .await?;
    scenario.create_with_processes(preserved(&scenario)).await?;
    scenario.run_until(TaskState::Incremental).await?;
    for (round, part) in (1..).zip([Part::SinkAgent, Part::SourceAgent, Part::SinkAgent]) {
        let (from, to) = (round * 1000, round * 1000 + 1000);
        scenario
            .source
            .run(&format!(
                "BEGIN; INSERT INTO s.t SELECT g, 'first' FROM generate_series({from}, {from} + 300) g; COMMIT;
                 BEGIN; CREATE TABLE s.t_{round} (a int PRIMARY KEY, b text);
                 WITH moved AS (DELETE FROM s.t_rest WHERE a >= {from} AND a < {to} RETURNING *) INSERT INTO s.t_{round} SELECT * FROM moved;
                 ALTER TABLE s.t ATTACH PARTITION s.t_{round} FOR VALUES FROM ({from}) TO ({to}); COMMIT;
                 UPDATE s.t SET b = b || '{round}' WHERE a % 7 = 0"
            ))
            .await?;
        if round > 1 {
            let before = round - 1;
            scenario
                .source
                .run(&format!("ALTER TABLE s.t DETACH PARTITION s.t_{before}; DROP TABLE s.t_{before}"))
                .await?;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        scenario.processes()?.kill(part).await?;
        scenario.processes()?.start_again(part).await?;
    }
    // A partition that was detached and dropped before anybody looked stays, as any dropped table does.
    let kept = "SELECT count(*) FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind = 'r'
                AND relname NOT IN ('t_rest', 't_3', 't_1', 't_2')";
    let attached = "SELECT string_agg(inhrelid::regclass::text, ',' ORDER BY 1) FROM pg_inherits WHERE inhparent = 's.t'::regclass";
    let waited = eventually("the partitions are those of the source", 3 * patience(), async || {
        Ok((scenario.destination.text(attached).await? == scenario.source.text(attached).await?)
            .then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.settle().await?;
    let source_tables = tables(&scenario.source).await?;
    let compared =
        compare::eventually_tables_equal(&scenario.source, &scenario.destination, &source_tables, patience())
            .await;
    scenario.explain(compared).await?;
    ensure!(scenario.destination.text(kept).await? == "0");
    scenario.finish().await
}
