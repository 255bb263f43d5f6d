//! A process that was thought dead and is not: whatever it still does, it writes nothing.

use anyhow::{Result, ensure};
use strait_proto::v1::{Task, TaskState};
use strait_tests::processes::{Part, Signal};
use strait_tests::scenario::Scenario;
use strait_tests::server::free_port;
use strait_tests::wait::{eventually, patience};
use strait_tests::workload::Workload;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_source_agent_that_wakes_up_disturbs_nothing() -> Result<()> {
    frozen(Part::SourceAgent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_sink_agent_that_wakes_up_disturbs_nothing() -> Result<()> {
    frozen(Part::SinkAgent).await
}

async fn frozen(part: Part) -> Result<()> {
    let mut scenario = Scenario::new("frozen").await?;
    Workload::prepare(&scenario.source).await?;
    scenario.start_processes().await?;
    scenario.settle().await?;
    let workload = Workload::start(&scenario.source, 3, 150);
    let epoch = scenario.task().await?.epoch;
    // In the middle of its work, perhaps in an open transaction.
    scenario.processes()?.signal(part, Signal::Stop).await?;
    let mut layout = scenario.layout().clone();
    if part == Part::SinkAgent {
        layout.sink_port = free_port()?;
        layout.source_to_sink = layout.sink_port;
    }
    scenario.processes()?.start_beside(part, &layout).await?;
    eventually("the replacement is assigned", patience(), async || {
        let task = scenario.task().await?;
        Ok((task.epoch > epoch && task.state() == TaskState::Incremental).then_some(()))
    })
    .await?;
    scenario.settle().await?;
    let before = workload.committed();
    scenario.processes()?.signal(part, Signal::Continue).await?;
    eventually("the load goes on", patience(), async || {
        Ok((workload.committed() > before + 200).then_some(()))
    })
    .await?;
    scenario.processes()?.kill(part).await?;
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.finish().await
}

/// The check stands in the server: a session of an older epoch cannot commit, whatever its client believes.
#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_row_carries_the_epoch_of_the_assignment() -> Result<()> {
    let mut scenario = Scenario::new("epoch").await?;
    scenario.start().await?;
    scenario.settle().await?;
    for _ in 0..2 {
        let stored = scenario.destination.text("SELECT epoch FROM strait.checkpoint").await?;
        ensure!(stored == scenario.task().await?.epoch.to_string(), "{stored}");
        scenario.tasks.pause(scenario.task_id()).await?;
        scenario.tasks.resume(scenario.task_id()).await?;
        scenario.wait_for(TaskState::Incremental).await?;
        scenario.settle().await?;
    }
    // An assignment from the future, as a restored coordinator would find it: the agents' own epoch is refused.
    scenario.destination.run("UPDATE strait.checkpoint SET epoch = epoch + 1000").await?;
    scenario.source.run("INSERT INTO fence VALUES (-1)").await?;
    let arrived = "SELECT count(*) FROM fence WHERE id = -1";
    let told = |task: &Task| {
        let cause = task.failure.as_ref().map(|failure| failure.cause.as_str()).unwrap_or_default();
        cause.contains("epoch") || cause.contains("newer session")
    };
    scenario.tasks.wait_until(scenario.task_id(), "the refused epoch is told", patience(), told).await?;
    ensure!(scenario.destination.number(arrived).await? == 0, "a superseded epoch has written");
    scenario.destination.run("UPDATE strait.checkpoint SET epoch = 0").await?;
    if scenario.task().await?.state() == TaskState::Failed {
        scenario.tasks.resume(scenario.task_id()).await?;
    }
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}
