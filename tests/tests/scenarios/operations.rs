//! Operations that are left out are not carried, of the whole task or of single tables.

use anyhow::{Result, ensure};
use strait_proto::v1::TaskState;
use strait_proto::v1::{ObjectPattern, ObjectSelection, Operation, TableOptions};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};

#[tokio::test(flavor = "multi_thread")]
async fn each_table_carries_its_own_operations() -> Result<()> {
    let mut scenario = Scenario::new("operations").await?;
    scenario.source.run("CREATE SCHEMA audit").await?;
    for table in ["public.most", "public.inserts", "audit.a", "audit.b"] {
        scenario.source.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY, v int)")).await?;
        scenario.source.run(&format!("INSERT INTO {table} SELECT g, 0 FROM generate_series(1, 5) g")).await?;
    }
    let entry = |schema: &str, table: &str, operations: &[Operation]| ObjectPattern {
        schema: schema.into(),
        table: table.into(),
        options: Some(TableOptions {
            operations: operations.iter().map(|it| (*it).into()).collect(),
            ..Default::default()
        }),
    };
    let mut spec = scenario.spec();
    spec.operations = vec![Operation::Insert.into(), Operation::Update.into(), Operation::Truncate.into()];
    let include = vec![
        entry("public", "", &[]),
        entry("public", "inserts", &[Operation::Insert]),
        entry("audit", "", &[Operation::Insert, Operation::Delete]),
        entry("audit", "b", &[Operation::Update]),
    ];
    spec.objects = Some(ObjectSelection { include, ..Default::default() });
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Incremental).await?;

    for table in ["public.most", "public.inserts", "audit.a", "audit.b"] {
        // The last UPDATE changes the key: an UPDATE as well.
        scenario
            .source
            .run(&format!(
                "INSERT INTO {table} VALUES (10, 0); UPDATE {table} SET v = 1 WHERE id IN (1, 10);
                 DELETE FROM {table} WHERE id = 2; UPDATE {table} SET id = 30 WHERE id = 3"
            ))
            .await?;
    }
    let rows = |table: &str| format!("SELECT string_agg(id || ':' || v, ' ' ORDER BY id) FROM {table}");
    for (table, wanted) in [
        ("public.most", "1:1 2:0 4:0 5:0 10:1 30:0"),
        ("public.inserts", "1:0 2:0 3:0 4:0 5:0 10:0"),
        ("audit.a", "1:0 3:0 4:0 5:0 10:0"),
        ("audit.b", "1:1 2:0 4:0 5:0 30:0"),
    ] {
        let arrived = scenario.assert_arrived(&rows(table), wanted).await;
        scenario.explain(arrived).await?;
    }
    // The row whose INSERT was left out is missing when its UPDATE comes: counted, as any missing row.
    eventually("the conflict is told", patience(), async || {
        Ok((scenario.conflicts().await? == 1).then_some(()))
    })
    .await?;

    scenario.source.run("TRUNCATE public.most, public.inserts, audit.a, audit.b").await?;
    scenario.assert_arrived("SELECT count(*) FROM public.most", "0").await?;
    scenario.assert_arrived("SELECT count(*) FROM public.inserts", "6").await?;
    scenario.assert_arrived("SELECT count(*) FROM audit.a", "5").await?;
    // Nothing that no table carries is published; what one of them carries is.
    let published = "SELECT pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication";
    ensure!(
        scenario.source.text(published).await? == "t|t|t|t",
        "{}",
        scenario.source.text(published).await?
    );
    scenario.finish().await
}
