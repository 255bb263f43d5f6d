//! One table that the destination cannot take, or that changes its name or goes at the source, stops no other: it alone
//! is marked, with the reason.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{TableIssue, TableIssueKind, Task, TaskState};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

fn issue<'a>(task: &'a Task, table: &str) -> Option<&'a TableIssue> {
    let stream = task.progress.as_ref()?.stream.as_ref()?;
    stream.table_issues.iter().find(|issue| issue.table.as_ref().is_some_and(|it| it.name == table))
}

/// Waits until the status marks a table.
async fn marked(scenario: &Scenario, table: &str, kind: TableIssueKind) -> Result<TableIssue> {
    let task = scenario
        .tasks
        .wait_until(scenario.task_id(), "the table is marked", patience(), |task| {
            issue(task, table).is_some_and(|issue| issue.kind() == kind)
        })
        .await?;
    issue(&task, table).cloned().context("the mark is gone")
}

async fn phase(scenario: &Scenario, table: &str) -> Result<String> {
    scenario
        .destination
        .text(&format!("SELECT phase FROM strait.table_state WHERE table_name = '{table}'"))
        .await
}

/// Waits until a table has joined again, which it does by itself once the destination has what it lacked.
async fn begun_over(scenario: &Scenario, table: &str) -> Result<()> {
    let sql = format!(
        "SELECT phase FROM strait.table_state WHERE table_name = '{table}' AND task_id = '{}'",
        scenario.task_id()
    );
    let waited = eventually("the table has begun over", patience(), async || {
        Ok((scenario.destination.text(&sql).await? == "ready").then_some(()))
    })
    .await;
    scenario.explain(waited).await
}

async fn pause_and_resume(scenario: &Scenario) -> Result<()> {
    scenario.tasks.pause(scenario.task_id()).await?;
    scenario.tasks.resume(scenario.task_id()).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_destination_lacks_suspends_that_table_until_it_is_there() -> Result<()> {
    let mut scenario = Scenario::new("suspend_column").await?;
    scenario
        .source
        .run("CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE other (a int PRIMARY KEY); INSERT INTO t VALUES (0)")
        .await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO t VALUES (1)").await?;
    // In one transaction: what came before the column is there, what comes with it is left out, the other table is whole.
    scenario
        .source
        .run(
            "BEGIN; INSERT INTO other VALUES (1); INSERT INTO t VALUES (2);
             ALTER TABLE t ADD COLUMN surprise text;
             INSERT INTO t VALUES (3, 'x'); INSERT INTO other VALUES (2); COMMIT",
        )
        .await?;
    scenario.source.run("INSERT INTO other VALUES (3); DELETE FROM t WHERE a = 1; TRUNCATE t").await?;
    scenario.source.run("INSERT INTO t VALUES (4, 'y')").await?;
    scenario.assert_same_answer("SELECT a FROM other ORDER BY a").await?;
    scenario.assert_arrived("SELECT string_agg(a::text, ',' ORDER BY a) FROM t", "0,1,2").await?;
    let mark = marked(&scenario, "t", TableIssueKind::Suspended).await?;
    ensure!(mark.reason.contains("surprise") && mark.remedy.contains("ADD COLUMN"), "{mark:?}");
    ensure!(phase(&scenario, "t").await? == "suspended");

    // Not mended: it stays as it is, and is still told of.
    pause_and_resume(&scenario).await?;
    scenario.source.run("INSERT INTO t VALUES (5, 'z'); INSERT INTO other VALUES (4)").await?;
    scenario.assert_same_answer("SELECT a FROM other ORDER BY a").await?;
    marked(&scenario, "t", TableIssueKind::Suspended).await?;

    // The others flow while it begins over.
    scenario.destination.run("ALTER TABLE t ADD COLUMN surprise text").await?;
    scenario.source.run("INSERT INTO other VALUES (5)").await?;
    scenario.assert_same_answer("SELECT a FROM other ORDER BY a").await?;
    begun_over(&scenario, "t").await?;
    scenario.source.run("UPDATE t SET surprise = 'changed' WHERE a = 5").await?;
    scenario.assert_equal().await?;
    ensure!(phase(&scenario, "t").await? == "ready");
    scenario
        .tasks
        .wait_until(scenario.task_id(), "the mark goes", patience(), |task| {
            task.progress.as_ref().is_some_and(|progress| progress.stream.is_some())
                && issue(task, "t").is_none()
        })
        .await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_at_the_destination_is_suspended_by_any_change() -> Result<()> {
    let mut scenario = Scenario::new("suspend_gone").await?;
    scenario
        .source
        .run(
            "CREATE TABLE written (a int PRIMARY KEY); CREATE TABLE emptied (a int PRIMARY KEY);
             CREATE TABLE other (a int PRIMARY KEY)",
        )
        .await?;
    scenario.start().await?;
    // One of them is known to the session already.
    scenario.source.run("INSERT INTO written VALUES (1); INSERT INTO emptied VALUES (1)").await?;
    scenario.settle().await?;
    scenario.destination.run("DROP TABLE written, emptied").await?;
    scenario
        .source
        .run("INSERT INTO written VALUES (2); TRUNCATE emptied; INSERT INTO other VALUES (1)")
        .await?;
    scenario.assert_arrived("SELECT a FROM other", "1").await?;
    for table in ["written", "emptied"] {
        let mark = marked(&scenario, table, TableIssueKind::Suspended).await?;
        ensure!(mark.reason.contains("does not exist"), "{mark:?}");
    }
    scenario.source.run("INSERT INTO emptied VALUES (7); INSERT INTO other VALUES (2)").await?;
    scenario
        .destination
        .run("CREATE TABLE written (a int PRIMARY KEY); CREATE TABLE emptied (a int PRIMARY KEY)")
        .await?;
    begun_over(&scenario, "written").await?;
    begun_over(&scenario, "emptied").await?;
    scenario.source.run("INSERT INTO written VALUES (3)").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_others_refer_to_begins_over_with_its_foreign_keys_in_place() -> Result<()> {
    let mut scenario = Scenario::new("suspend_referenced").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (a int PRIMARY KEY, b text);
             CREATE TABLE child (id int PRIMARY KEY, a int REFERENCES t);
             INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g; INSERT INTO child SELECT g, g FROM generate_series(1, 100) g",
        )
        .await?;
    scenario.start().await?;
    scenario.foreign_keys_arrived().await?;
    scenario.source.run("ALTER TABLE t ADD COLUMN c int; UPDATE t SET c = a").await?;
    marked(&scenario, "t", TableIssueKind::Suspended).await?;
    scenario.source.run("INSERT INTO t VALUES (101, 'y', 1); INSERT INTO child VALUES (101, 101)").await?;
    scenario.settle().await?;
    scenario.destination.run("ALTER TABLE t ADD COLUMN c int").await?;
    pause_and_resume(&scenario).await?;
    begun_over(&scenario, "t").await?;
    scenario.source.run("DELETE FROM child WHERE id = 1; DELETE FROM t WHERE a = 1").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table_goes_on_under_the_destinations_name() -> Result<()> {
    let mut scenario = Scenario::new("suspend_renamed").await?;
    scenario
        .source
        .run("CREATE SCHEMA s; CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (i int PRIMARY KEY)")
        .await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO a VALUES (1)").await?;
    scenario.source.run("ALTER TABLE a RENAME TO renamed; INSERT INTO renamed VALUES (2)").await?;
    scenario.assert_arrived("SELECT string_agg(i::text, ',' ORDER BY i) FROM a", "1,2").await?;
    let mark = marked(&scenario, "a", TableIssueKind::Renamed).await?;
    ensure!(mark.reason.contains("public.renamed"), "{mark:?}");
    pause_and_resume(&scenario).await?;
    scenario.source.run("ALTER TABLE renamed SET SCHEMA s; INSERT INTO s.renamed VALUES (3)").await?;
    scenario
        .source
        .run("INSERT INTO b VALUES (1); TRUNCATE s.renamed; INSERT INTO s.renamed VALUES (4)")
        .await?;
    scenario.assert_arrived("SELECT i FROM b", "1").await?;
    scenario.assert_arrived("SELECT string_agg(i::text, ',' ORDER BY i) FROM a", "4").await?;
    marked(&scenario, "a", TableIssueKind::Renamed).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_at_the_source_is_marked_and_stays() -> Result<()> {
    let mut scenario = Scenario::new("suspend_dropped").await?;
    scenario.source.run("CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (i int PRIMARY KEY)").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO a VALUES (1); DROP TABLE a; INSERT INTO b VALUES (1)").await?;
    scenario.assert_arrived("SELECT a.i, b.i FROM a, b", "1|1").await?;
    marked(&scenario, "a", TableIssueKind::Dropped).await?;
    pause_and_resume(&scenario).await?;
    scenario.source.run("INSERT INTO b VALUES (2)").await?;
    scenario.assert_arrived("SELECT count(*) FROM b", "2").await?;
    marked(&scenario, "a", TableIssueKind::Dropped).await?;

    // Another one of that name takes nothing away, and joins once there is room for it.
    scenario.source.run("CREATE TABLE a (x text PRIMARY KEY); INSERT INTO a VALUES ('new')").await?;
    eventually("the new table is told of", patience(), async || {
        let events = scenario.tasks.events(scenario.task_id()).await?;
        Ok(events.iter().any(|event| event.contains("keeps tables of these names")).then_some(()))
    })
    .await?;
    scenario.assert_arrived("SELECT i FROM a", "1").await?;
    scenario.destination.run("DROP TABLE a").await?;
    pause_and_resume(&scenario).await?;
    let new = scenario.source.number("SELECT 'a'::regclass::oid::int8").await?;
    let joined = format!(
        "SELECT count(*) FROM strait.table_state WHERE table_id = {new} AND phase = 'ready' AND task_id = '{}'",
        scenario.task_id()
    );
    eventually("the new table has joined", patience(), async || {
        Ok((scenario.destination.number(&joined).await? == 1).then_some(()))
    })
    .await?;
    scenario.source.run("INSERT INTO a VALUES ('newer')").await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
