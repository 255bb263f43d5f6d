//! A source of the Greenplum family, as far as a stand-in can be one: schema and rows, read in one transaction.

use anyhow::{Result, ensure};
use strait_proto::v1::{Synchronization, TaskSpec, TaskState};
use strait_tests::compare;
use strait_tests::greenplum::Greenplum;
use strait_tests::scenario::Scenario;

const TABLES: &str = r#"
    CREATE TABLE keyed (id int PRIMARY KEY, region text, v text) DISTRIBUTED BY (id);
    CREATE TABLE "Odd ""1""" ("a b" int, v text) USING ao_column DISTRIBUTED BY ("a b");
    CREATE TABLE spread (a int) USING ao_row DISTRIBUTED RANDOMLY;
    CREATE TABLE everywhere (id int PRIMARY KEY) DISTRIBUTED REPLICATED;
    CREATE TABLE parted (id int, v text) PARTITION BY RANGE (id) DISTRIBUTED BY (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (50) DISTRIBUTED BY (id);
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (50) TO (500) DISTRIBUTED BY (id);
    CREATE TABLE empty (id serial PRIMARY KEY) DISTRIBUTED BY (id)"#;

const ROWS: &str = r#"
    INSERT INTO keyed SELECT g, 'r' || g % 3, repeat(md5(g::text), 20) FROM generate_series(1, 20000) g;
    INSERT INTO "Odd ""1""" SELECT g % 7, NULL FROM generate_series(1, 100) g;
    INSERT INTO spread SELECT g % 3 FROM generate_series(1, 50) g;
    INSERT INTO everywhere SELECT generate_series(1, 9);
    INSERT INTO parted SELECT g, 'v' FROM generate_series(0, 199) g;
    SELECT setval('empty_id_seq', 41)"#;

fn without_changes(spec: TaskSpec) -> TaskSpec {
    let parts = [Synchronization::Schema.into(), Synchronization::Full.into()];
    TaskSpec { synchronize: parts.to_vec(), ..spec }
}

async fn fill(standin: &Greenplum, scenario: &Scenario) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(standin.uri(), tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    client.batch_execute(TABLES).await?;
    // The scenario's own table was there before the server became one of the family.
    client.batch_execute("SELECT gp_standin.distribute('fence', 'p', '{id}')").await?;
    drop(client);
    driver.await??;
    scenario.source.run(ROWS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_and_rows_arrive_on_plain_postgresql() -> Result<()> {
    let mut scenario = Scenario::new("greenplum_source").await?;
    let standin = Greenplum::source_of(&mut scenario, false).await?;
    fill(&standin, &scenario).await?;
    scenario.create_in_process(without_changes(scenario.spec())).await?;
    scenario.run_until(TaskState::Finished).await?;
    compare::assert_equal(&scenario.source, &scenario.destination).await?;
    ensure!(
        scenario.destination.number("SELECT nextval('empty_id_seq')").await? > 41,
        "the sequence goes on"
    );
    standin.assert_nothing_refused()?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn distribution_and_storage_are_kept_within_the_family() -> Result<()> {
    let mut scenario = Scenario::new("greenplum_both").await?;
    let source = Greenplum::source_of(&mut scenario, false).await?;
    let destination = Greenplum::destination_of(&mut scenario, false).await?;
    fill(&source, &scenario).await?;
    scenario.create_in_process(without_changes(scenario.spec())).await?;
    scenario.run_until(TaskState::Finished).await?;
    compare::assert_equal(&scenario.source, &scenario.destination).await?;
    let layout = "SELECT c.relname, m.amname, pg_get_table_distributedby(c.oid)
        FROM pg_class AS c JOIN pg_am AS m ON m.oid = c.relam JOIN gp_distribution_policy AS p ON p.localoid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'parted%' ORDER BY 1";
    compare::assert_same_answer(&scenario.source, &scenario.destination, layout).await?;
    source.assert_nothing_refused()?;
    destination.assert_nothing_refused()?;
    scenario.finish().await
}
