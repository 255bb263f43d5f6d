//! More tables in one task than a person looks at: statements, records and answers keep within their bounds.
//!
//! `STRAIT_TEST_TABLES` says how many (300; `make soak` 5,500).

use std::time::Instant;

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, from_environment, patience};

/// Makes tables `many.t1` and so on, keyless every tenth, partitioned every fiftieth, with a row each.
fn make(first: u64, last: u64) -> String {
    format!(
        "DO $$ BEGIN
           CREATE SCHEMA IF NOT EXISTS many;
           FOR i IN {first}..{last} LOOP
             IF i % 50 = 0 THEN
               EXECUTE format('CREATE TABLE many.t%s (id int, v text) PARTITION BY LIST (id)', i);
               EXECUTE format('CREATE TABLE many.t%s_1 PARTITION OF many.t%s FOR VALUES IN (1)', i, i);
               EXECUTE format('CREATE TABLE many.t%s_d PARTITION OF many.t%s DEFAULT', i, i);
             ELSIF i % 10 = 0 THEN
               EXECUTE format('CREATE TABLE many.t%s (id int, v text)', i);
             ELSE
               EXECUTE format('CREATE TABLE many.t%s (id serial PRIMARY KEY, v text UNIQUE)', i);
             END IF;
             EXECUTE format('INSERT INTO many.t%s VALUES (1, ''copied'')', i);
           END LOOP;
         END $$"
    )
}

/// A block a hundred tables: each transaction locks what it touches.
async fn for_each_hundred(
    scenario: &Scenario,
    first: u64,
    last: u64,
    sql: fn(u64, u64) -> String,
) -> Result<()> {
    for begin in (first..=last).step_by(100) {
        scenario.source.run(&sql(begin, last.min(begin + 99))).await?;
    }
    Ok(())
}

fn change(first: u64, last: u64) -> String {
    format!(
        "DO $$ BEGIN FOR i IN {first}..{last} LOOP
           EXECUTE format('UPDATE many.t%s SET v = ''changed''', i);
           EXECUTE format('INSERT INTO many.t%s VALUES (2, ''new'')', i);
         END LOOP; END $$"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_tables_are_one_task_and_more_join() -> Result<()> {
    let tables = from_environment("STRAIT_TEST_TABLES", 300);
    let mut scenario = Scenario::new("many").await?;
    for_each_hundred(&scenario, 1, tables, make).await?;
    let begun = Instant::now();
    scenario.start().await?;
    eprintln!("{tables} tables: changes flow after {:?}", begun.elapsed());
    for_each_hundred(&scenario, 1, tables, change).await?;
    scenario.settle().await?;

    let more = tables + tables / 5;
    for_each_hundred(&scenario, tables + 1, more, make).await?;
    for_each_hundred(&scenario, tables + 1, more, change).await?;
    let begun = Instant::now();
    let joined = format!(
        "SELECT count(*) FROM strait.table_state WHERE task_id = '{}' AND phase = 'ready'",
        scenario.task_id()
    );
    // With the table that the harness makes.
    let wanted = i64::try_from(more)? + 1;
    let waited = eventually("the new tables have joined", 5 * patience(), async || {
        Ok((scenario.destination.number(&joined).await.ok() == Some(wanted)).then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    eprintln!("{} tables have joined after {:?}", more - tables, begun.elapsed());
    scenario
        .source
        .run(&format!("INSERT INTO many.t1 VALUES (3, 'x'); INSERT INTO many.t{more} VALUES (3, 'x')"))
        .await?;
    scenario.assert_equal().await?;
    let listed = "SELECT count(*) FROM pg_publication_tables WHERE pubname LIKE 'dts%'";
    ensure!(scenario.source.number(listed).await? > i64::try_from(more)?);
    scenario.finish().await
}
