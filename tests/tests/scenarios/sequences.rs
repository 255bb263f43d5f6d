//! Sequences stand at the destination where they stood at the source, never behind.

use anyhow::Result;
use strait_proto::v1::TaskState;
use strait_tests::compare;
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn once_carries_every_sequence() -> Result<()> {
    let mut scenario = Scenario::new("sequences").await?;
    scenario
        .source
        .run(
            "CREATE TABLE t (id serial PRIMARY KEY, k bigint GENERATED ALWAYS AS IDENTITY (INCREMENT 7));
             CREATE SEQUENCE falling INCREMENT -3 MINVALUE -1000 START -1;
             CREATE SEQUENCE never_used START 50;
             CREATE SEQUENCE cycling MAXVALUE 5 CYCLE;
             INSERT INTO t SELECT FROM generate_series(1, 25);
             SELECT nextval('falling') FROM generate_series(1, 10);
             SELECT nextval('cycling') FROM generate_series(1, 3)",
        )
        .await?;
    let spec = scenario.spec();
    scenario.create_in_process(spec).await?;
    scenario.run_until(TaskState::Finished).await?;
    for sequence in ["t_id_seq", "t_k_seq", "falling", "never_used", "cycling"] {
        let value = format!("SELECT last_value, is_called FROM {sequence}");
        compare::assert_same_answer(&scenario.source, &scenario.destination, &value).await?;
    }
    compare::assert_equal(&scenario.source, &scenario.destination).await?;
    // The copy at the destination takes over: its next values are free.
    scenario.destination.run("INSERT INTO t SELECT FROM generate_series(1, 5)").await?;
    scenario.finish().await
}
