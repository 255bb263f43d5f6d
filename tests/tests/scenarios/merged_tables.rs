//! `merge: true`: several tables become one, with the rows of all of them.

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{
    ApplyPolicy, ObjectPattern, ObjectSelection, Operation, PrecheckOutcome, Rename, TableOptions, TaskSpec,
    TaskState,
};
use strait_tests::processes::Part;
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

/// Shards in schemas of their own: `shard_1.orders` and so on, with and without a key.
fn shard(number: u32, rows: u32) -> String {
    let first = number * 10_000;
    format!(
        "CREATE SCHEMA shard_{number};
         CREATE TABLE shard_{number}.orders (id bigserial PRIMARY KEY, v text, n int DEFAULT 5 CHECK (n < 100), UNIQUE (id, n));
         CREATE INDEX ON shard_{number}.orders (v);
         CREATE TABLE shard_{number}.notes (a int, t text);
         INSERT INTO shard_{number}.orders (id, v) SELECT g, 'shard {number}' FROM generate_series({first} + 1, {first} + {rows}) g;
         SELECT setval('shard_{number}.orders_id_seq', {first} + {rows});
         INSERT INTO shard_{number}.notes SELECT g % 3, 'same' FROM generate_series(1, 20) g;"
    )
}

fn merged(scenario: &Scenario) -> TaskSpec {
    let options = TableOptions {
        merge: true,
        rename: Some(Rename { schema: "whole".into(), ..Default::default() }),
        operations: [Operation::Insert, Operation::Update, Operation::Delete].map(Into::into).into(),
        ..Default::default()
    };
    let include = |schema: &str, table: &str, options| ObjectPattern {
        schema: schema.into(),
        table: table.into(),
        options,
    };
    let objects = ObjectSelection {
        include: vec![include("shard_*", "*", Some(options)), include("public", "fence", None)],
        ..Default::default()
    };
    TaskSpec { objects: Some(objects), ..scenario.spec() }
}

/// The rows of a table of every shard, as one text.
async fn rows_are_those_of(scenario: &Scenario, shards: &[u32]) -> Result<()> {
    for table in ["orders", "notes"] {
        let union: Vec<String> =
            shards.iter().map(|it| format!("SELECT * FROM shard_{it}.{table}")).collect();
        let text = "SELECT count(*) || ' ' || md5(string_agg(r::text, ',' ORDER BY r::text)) FROM";
        let wanted = scenario.source.text(&format!("{text} ({}) AS r", union.join(" UNION ALL "))).await?;
        let found = format!("{text} (SELECT * FROM whole.{table}) AS r");
        let waited = eventually("the rows of all shards are there", 2 * patience(), async || {
            Ok((scenario.destination.text(&found).await? == wanted).then_some(()))
        })
        .await;
        scenario.explain(waited).await.with_context(|| table.to_owned())?;
    }
    Ok(())
}

async fn precheck_cause(scenario: &Scenario) -> Result<String> {
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    let failed = task.precheck.iter().filter(|it| it.outcome() == PrecheckOutcome::Failed);
    Ok(failed.map(|it| it.cause.clone()).collect::<Vec<_>>().join("; "))
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_become_one_table_and_later_ones_join() -> Result<()> {
    let mut scenario = Scenario::new("merge").await?;
    for number in 1..=3 {
        scenario.source.run(&shard(number, 1000)).await?;
    }
    scenario.source.run("COMMENT ON TABLE shard_2.orders IS 'the second'").await?;
    let spec = TaskSpec { apply: Some(ApplyPolicy { lanes: 3 }), ..merged(&scenario) };
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;
    rows_are_those_of(&scenario, &[1, 2, 3]).await?;
    let keys = "SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'whole.orders'::regclass AND contype <> 'n'";
    scenario.assert_arrived(keys, "orders_id_n_key,orders_n_check,orders_pkey").await?;
    for sql in [
        "UPDATE shard_1.orders SET v = v || '!' WHERE id % 2 = 0; DELETE FROM shard_2.orders WHERE id % 3 = 0",
        // A row moves from one shard to another.
        "BEGIN; DELETE FROM shard_1.orders WHERE id = 10007; INSERT INTO shard_2.orders VALUES (10007, 'moved', 1); COMMIT",
        "BEGIN; DELETE FROM shard_1.orders WHERE id = 10009; INSERT INTO shard_3.orders VALUES (10009, 'moved', 2); INSERT INTO shard_1.orders VALUES (19999, 'x', 3); COMMIT",
        "DELETE FROM shard_1.notes WHERE ctid IN (SELECT ctid FROM shard_1.notes LIMIT 3); UPDATE shard_3.notes SET t = 'other' WHERE a = 1",
        // Nothing of it is carried: the rows of one cannot be told from the others'.
        "BEGIN; CREATE TABLE public.kept AS SELECT * FROM shard_3.notes; TRUNCATE shard_3.notes; INSERT INTO shard_3.notes SELECT * FROM public.kept; COMMIT",
    ] {
        scenario.source.run(sql).await?;
    }
    scenario.settle().await?;
    // What was inserted after the TRUNCATE came in addition.
    let notes = "SELECT count(*) FROM whole.notes";
    let wanted = "SELECT sum(n) FROM (SELECT count(*) AS n FROM shard_1.notes UNION ALL SELECT count(*) FROM shard_2.notes
                  UNION ALL SELECT 2 * count(*) FROM shard_3.notes) AS s";
    let wanted = scenario.source.text(wanted).await?;
    scenario.assert_arrived(notes, &wanted).await?;
    scenario.source.run("DELETE FROM shard_3.notes; INSERT INTO shard_3.notes VALUES (1, 'a')").await?;
    scenario.source.run("CREATE TABLE shard_3.rest AS SELECT * FROM public.kept").await?;
    scenario.source.run(&shard(4, 500)).await?;
    let joined = "SELECT count(*) FROM whole.orders WHERE v = 'shard 4'";
    let waited = eventually("the new shard has joined", 2 * patience(), async || {
        Ok((scenario.destination.number(joined).await? == 500).then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario
        .source
        .run("UPDATE shard_4.orders SET n = 7; DELETE FROM shard_1.orders WHERE id % 5 = 0")
        .await?;
    scenario.settle().await?;
    let text = "SELECT count(*) || ' ' || md5(string_agg(r::text, ',' ORDER BY r::text)) FROM";
    let union = "(SELECT * FROM shard_1.orders UNION ALL SELECT * FROM shard_2.orders UNION ALL SELECT * FROM shard_3.orders UNION ALL SELECT * FROM shard_4.orders) AS r";
    let wanted = scenario.source.text(&format!("{text} {union}")).await?;
    let waited = eventually("the rows of all shards are there", 2 * patience(), async || {
        Ok((scenario.destination.text(&format!("{text} (SELECT * FROM whole.orders) AS r")).await? == wanted)
            .then_some(()))
    })
    .await;
    scenario.explain(waited).await?;
    scenario.expect_footprint("", "schema shard_4");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_copied_whole_whatever_is_killed() -> Result<()> {
    let mut scenario = Scenario::new("merge_killed").await?;
    for number in 1..=3 {
        scenario.source.run(&shard(number, 9000)).await?;
    }
    let sink = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, scenario.layout().sink_port));
    let line = strait_tests::proxy::Proxy::with_rate(sink, 300_000).await?;
    scenario.layout().source_to_sink = line.port();
    scenario.create_with_processes(merged(&scenario)).await?;
    scenario.tasks.start(scenario.task_id(), false).await?;
    for part in [Part::SourceAgent, Part::SinkAgent, Part::SourceAgent] {
        scenario
            .source
            .run(
                "UPDATE shard_1.orders SET n = n + 1 WHERE id % 7 = 0; DELETE FROM shard_2.notes WHERE a = 1",
            )
            .await?;
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        scenario.processes()?.kill(part).await?;
        scenario.processes()?.start_again(part).await?;
    }
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.settle().await?;
    rows_are_those_of(&scenario, &[1, 2, 3]).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_merged_is_refused_before_anything_is_made() -> Result<()> {
    let mut scenario = Scenario::new("merge_refused").await?;
    for number in 1..=2 {
        scenario.source.run(&shard(number, 10)).await?;
    }
    let spec = merged(&scenario);
    // Two that do not say so.
    let mut silent = spec.clone();
    let include = &mut silent.objects.as_mut().context("objects")?.include;
    include[0].options = None;
    for number in 1..=2 {
        let rename = Rename { schema: "whole".into(), ..Default::default() };
        let options = TableOptions { rename: Some(rename), ..Default::default() };
        let entry =
            ObjectPattern { schema: format!("shard_{number}"), table: "*".into(), options: Some(options) };
        include.push(entry);
    }
    scenario.create_in_process(silent).await?;
    let cause = precheck_cause(&scenario).await?;
    ensure!(cause.contains("would all become whole.orders"), "{cause}");
    scenario.tasks.release(scenario.task_id()).await?;

    let mut truncating = spec.clone();
    let include = &mut truncating.objects.as_mut().context("objects")?.include;
    include[0].options.as_mut().context("options")?.operations.clear();
    scenario.create(truncating).await?;
    let cause = precheck_cause(&scenario).await?;
    ensure!(cause.contains("without truncate"), "{cause}");
    scenario.tasks.release(scenario.task_id()).await?;

    scenario.source.run("INSERT INTO shard_2.orders VALUES (10003, 'twice', 1); ALTER TABLE shard_2.notes ADD COLUMN more int").await?;
    scenario.create(spec.clone()).await?;
    let cause = precheck_cause(&scenario).await?;
    ensure!(cause.contains("only one of them has a column more"), "{cause}");
    ensure!(cause.contains("a key of whole.orders is in more than one of its tables"), "{cause}");
    scenario
        .source
        .run("ALTER TABLE shard_2.notes DROP COLUMN more; DELETE FROM shard_2.orders WHERE id = 10003")
        .await?;
    ensure!(precheck_cause(&scenario).await?.is_empty());

    // A key that comes to be in two is a conflict, and the later change counts.
    scenario.run_until(TaskState::Incremental).await?;
    scenario.source.run("INSERT INTO shard_2.orders VALUES (10004, 'twice', 1)").await?;
    scenario.assert_arrived("SELECT v FROM whole.orders WHERE id = 10004", "twice").await?;
    let overwritten = "SELECT count(*) FROM strait.conflict WHERE reason = 'row_overwritten'";
    scenario.assert_arrived(overwritten, "1").await?;
    scenario.finish().await
}
