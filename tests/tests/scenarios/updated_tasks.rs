//! What a task synchronises becomes more while it runs, and never less.

use anyhow::{Result, ensure};
use strait_proto::v1::{ObjectPattern, ObjectSelection, TableOptions, TaskSpec};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};
use tonic::Code;

fn selecting(scenario: &Scenario, include: &[ObjectPattern], exclude: &[ObjectPattern]) -> TaskSpec {
    let objects =
        ObjectSelection { include: include.to_vec(), exclude: exclude.to_vec(), ..Default::default() };
    TaskSpec { objects: Some(objects), ..scenario.spec() }
}

fn entry(schema: &str, table: &str, condition: &str) -> ObjectPattern {
    let options = TableOptions { r#where: condition.to_owned(), ..TableOptions::default() };
    let options = (!condition.is_empty()).then_some(options);
    ObjectPattern { schema: schema.to_owned(), table: table.to_owned(), options }
}

async fn joined(scenario: &Scenario, table: &str) -> Result<()> {
    let sql = format!(
        "SELECT count(*) FROM strait.table_state WHERE task_id = '{}' AND phase = 'ready' AND schema_name = '{table}'",
        scenario.task_id()
    );
    let waited = eventually("the table has joined", 2 * patience(), async || {
        Ok((scenario.destination.number(&sql).await.ok() == Some(1)).then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_join_by_an_update_with_all_their_rows_while_the_others_go_on() -> Result<()> {
    let mut scenario = Scenario::new("update_objects").await?;
    for (schema, first) in [("a", 1), ("\"B\"", 10), ("c", 20), ("d", 30)] {
        scenario
            .source
            .run(&format!(
                "CREATE SCHEMA {schema}; CREATE TABLE {schema}.\"odd t\" (id int PRIMARY KEY, v text);
                 INSERT INTO {schema}.\"odd t\" SELECT g, 'old' FROM generate_series({first}, {first} + 5) g"
            ))
            .await?;
    }
    let (public, a, b) = (entry("public", "", ""), entry("a", "", ""), entry("B", "", ""));
    let (c, d) = (entry("c", "odd t", "id > 22"), entry("d", "*", ""));
    let first = selecting(&scenario, &[public.clone(), a.clone()], &[entry("d", "odd t", "")]);
    scenario.create_in_process(first).await?;
    scenario.run_until(strait_proto::v1::TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO a.\"odd t\" VALUES (100, 'before')").await?;

    // While it runs.
    let more = [public.clone(), a.clone(), b.clone(), c.clone(), d.clone()];
    let grown = selecting(&scenario, &more, &[entry("d", "odd t", "")]);
    let task = scenario.tasks.update(scenario.task_id(), grown).await?;
    ensure!(task.epoch == 2, "assigned again: {}", task.epoch);
    scenario.source.run("INSERT INTO a.\"odd t\" VALUES (101, 'meanwhile'); UPDATE c.\"odd t\" SET v = 'new' WHERE id = 25").await?;
    joined(&scenario, "B").await?;
    joined(&scenario, "c").await?;
    scenario
        .source
        .run("INSERT INTO \"B\".\"odd t\" VALUES (102, 'after'); DELETE FROM c.\"odd t\" WHERE id = 24")
        .await?;
    for table in ["a", "\"B\""] {
        scenario.assert_same_answer(&format!("SELECT * FROM {table}.\"odd t\" ORDER BY id")).await?;
    }
    scenario.assert_arrived("SELECT id, v FROM c.\"odd t\" ORDER BY id", "23|old\n25|new").await?;
    ensure!(scenario.destination.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'd'").await? == 0);

    // Nothing leaves, and no rule changes.
    let less = selecting(&scenario, &more[1..], &[entry("d", "odd t", "")]);
    let other_rule = [public, a, b, entry("c", "odd t", "id > 0"), d];
    let other_rule = selecting(&scenario, &other_rule, &[entry("d", "odd t", "")]);
    for refused in [less, other_rule] {
        let status = scenario.tasks.update(scenario.task_id(), refused).await.err();
        ensure!(status.as_ref().is_some_and(|it| it.code() == Code::InvalidArgument), "{status:?}");
    }

    // While it rests.
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario.tasks.update(scenario.task_id(), selecting(&scenario, &more, &[])).await?;
    scenario.source.run("DELETE FROM d.\"odd t\" WHERE id = 30").await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    joined(&scenario, "d").await?;
    scenario.source.run("UPDATE d.\"odd t\" SET v = 'joined'").await?;
    scenario.assert_same_answer("SELECT * FROM d.\"odd t\" ORDER BY id").await?;
    scenario.assert_same_answer("SELECT * FROM a.\"odd t\" ORDER BY id").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}
