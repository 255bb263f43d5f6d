use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{CopyProgress, TaskProgress};

use super::*;

async fn back(coordinator: &Coordinator, task_id: &str, epoch: u64) -> (Agent, Agent) {
    let running = Some((task_id, epoch));
    let source = Agent::connect(&coordinator.address, Side::Source, "eu-1", running).await;
    (source, Agent::connect(&coordinator.address, Side::Sink, "us-1", running).await)
}

#[tokio::test]
async fn agents_that_went_on_meanwhile_are_not_disturbed() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, sink) = coordinator.running_task().await;
    let progress =
        TaskProgress { copy: Some(CopyProgress { rows: 7, ..CopyProgress::default() }), stream: None };
    source.report(&task_id, 1, Kind::Progress(progress.clone())).await;
    coordinator.until(&task_id, |task| task.progress.is_some()).await;
    drop((source, sink));

    let coordinator = coordinator.restart().await;
    let task = coordinator.task(&task_id).await;
    assert_eq!((task.state(), task.epoch, task.progress), (TaskState::Incremental, 1, Some(progress)));
    let (mut source, mut sink) = back(&coordinator, &task_id, 1).await;
    source.phase(&task_id, 1, TaskState::FullSync).await;
    assert_eq!(coordinator.until_state(&task_id, TaskState::FullSync).await.epoch, 1);
    let agents = async { (source.revoked().await, sink.revoked().await) };
    let (paused, _) = tokio::join!(coordinator.pause(&task_id), agents);
    assert_eq!(paused.unwrap().epoch, 1);
}

#[tokio::test]
async fn after_a_crash_an_agent_without_the_task_gets_it_under_a_higher_epoch() {
    let coordinator = Coordinator::start().await;
    let (task_id, source, sink) = coordinator.running_task().await;
    let coordinator = coordinator.crash().await;
    drop((source, sink));
    let mut sink = Agent::connect(&coordinator.address, Side::Sink, "us-1", Some((&task_id, 1))).await;
    let mut source = coordinator.source().await;
    assert_eq!((sink.assigned().await.epoch, source.assigned().await.epoch), (2, 2));
    source.phase(&task_id, 2, TaskState::Incremental).await;
    coordinator.until_state(&task_id, TaskState::Incremental).await;
}

#[tokio::test]
async fn an_epoch_is_always_higher_than_what_an_agent_knows() {
    let coordinator = Coordinator::start().await;
    let (task_id, source, sink) = coordinator.running_task().await;
    drop((source, sink));
    // As if the store had been restored from before epochs 2 to 6.
    let coordinator = coordinator.restart().await;
    let (mut source, mut sink) = back(&coordinator, &task_id, 6).await;
    assert_eq!((sink.assigned().await.epoch, source.assigned().await.epoch), (7, 7));
}

#[tokio::test]
async fn agents_that_stay_away_after_a_restart_are_reported() {
    let coordinator = Coordinator::start().await;
    let (task_id, source, sink) = coordinator.running_task().await;
    drop((source, sink));
    let coordinator = coordinator.restart().await;
    let task = coordinator.until_state(&task_id, TaskState::Retrying).await;
    let cause = task.failure.unwrap().cause;
    assert!(cause.contains("eu-1 lost contact") && cause.contains("us-1 lost contact"), "{cause}");
}

#[tokio::test]
async fn a_precheck_that_was_under_way_begins_again_and_still_starts_the_task() {
    let coordinator = Coordinator::start().await;
    let mut source = coordinator.source().await;
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    let asking = tokio::spawn({
        let (mut tasks, task) = (coordinator.tasks.clone(), task_id.clone());
        async move { tasks.start_task(StartTaskRequest { task, once: true, ..StartTaskRequest::default() }).await }
    });
    source.command().await;
    let coordinator = coordinator.restart().await;
    assert!(within(asking).await.unwrap().is_err());
    let (mut source, mut sink) = (coordinator.source().await, coordinator.sink().await);
    source.answer_precheck(vec![]).await;
    sink.answer_precheck(vec![]).await;
    sink.assigned().await;
    assert!(source.assigned().await.once);
    coordinator.until_state(&task_id, TaskState::SchemaSync).await;
}

#[tokio::test]
async fn a_pause_that_was_under_way_is_brought_to_its_end() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, sink) = coordinator.running_task().await;
    let asking = tokio::spawn({
        let (mut tasks, task) = (coordinator.tasks.clone(), task_id.clone());
        async move { tasks.pause_task(PauseTaskRequest { task }).await }
    });
    source.revocation().await;
    let coordinator = coordinator.crash().await;
    assert!(within(asking).await.unwrap().is_err());
    drop((source, sink));
    coordinator.until_state(&task_id, TaskState::Paused).await;
    let (mut source, mut sink) = back(&coordinator, &task_id, 1).await;
    assert_eq!((source.revoked().await.epoch, sink.revoked().await.epoch), (1, 1));
}
