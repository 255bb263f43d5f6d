use strait_proto::v1::{Failure, FailureKind, ListTasksRequest};
use tonic::Code;

use super::*;

fn in_use() -> Failure {
    Failure {
        kind: FailureKind::Other.into(),
        definite: false,
        cause: "the slot is in use".into(),
        remedy: "SELECT pg_drop_replication_slot('dts_sync_x')".into(),
    }
}

async fn listed(coordinator: &Coordinator, include_released: bool) -> Vec<TaskState> {
    let response = coordinator
        .tasks
        .clone()
        .list_tasks(ListTasksRequest { include_released, ..Default::default() })
        .await
        .unwrap();
    response.into_inner().tasks.iter().map(Task::state).collect()
}

#[tokio::test]
async fn a_release_is_tried_until_it_succeeds() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    assert_eq!(coordinator.release(&task_id).await.unwrap().state(), TaskState::Releasing);
    sink.revoked().await;
    sink.answer_release("rows of strait.checkpoint").await;
    source.revoked().await;
    source.refuse_release(in_use()).await;
    let task = coordinator.until(&task_id, |task| task.failure.is_some()).await;
    assert_eq!(task.failure, Some(in_use()));
    source.revoked().await;
    source.refuse_release(in_use()).await;
    source.revoked().await;
    source.answer_release("slot dts_sync_x").await;
    let task = coordinator.until_state(&task_id, TaskState::Released).await;
    assert_eq!(task.failure, None);
    let events = coordinator.events(&task_id).await;
    let rest: Vec<_> = events.iter().filter(|event| event.contains("release")).collect();
    assert_eq!(rest.iter().filter(|event| event.contains("in use")).count(), 1, "{rest:?}");
    for expected in [
        "incremental → releasing",
        "released at the destination: rows of strait.checkpoint",
        "release waits at the source: the slot is in use",
        "released at the source: slot dts_sync_x",
        "releasing → released",
    ] {
        assert!(events.iter().any(|event| event == expected), "{expected}: {events:?}");
    }
    assert_eq!(listed(&coordinator, false).await, []);
    assert_eq!(listed(&coordinator, true).await, [TaskState::Released]);
    assert_eq!(coordinator.pause(&task_id).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_release_waits_for_an_agent_that_is_away_and_survives_restarts() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, sink) = coordinator.running_task().await;
    drop(sink);
    coordinator.until_state(&task_id, TaskState::Retrying).await;
    coordinator.release(&task_id).await.unwrap();
    source.revoked().await;
    source.answer_release("slot dts_sync_x").await;
    let waits = |task: &Task| {
        task.failure.as_ref().is_some_and(|failure| failure.cause == "sink-agent us-1 is not connected")
    };
    coordinator.until(&task_id, waits).await;
    let source_is_done = async {
        let line = "released at the source: slot dts_sync_x".to_owned();
        while !coordinator.events(&task_id).await.contains(&line) {
            tokio::task::yield_now().await;
        }
    };
    within(source_is_done).await;

    let coordinator = coordinator.crash().await;
    drop(source);
    assert_eq!(coordinator.until(&task_id, waits).await.state(), TaskState::Releasing);
    // The source is done and is not asked again; the sink-agent still runs the task and is stopped first.
    let mut source = coordinator.source().await;
    let mut sink = Agent::connect(&coordinator.address, Side::Sink, "us-1", Some((&task_id, 1))).await;
    assert_eq!(sink.revoked().await.epoch, 1);
    sink.answer_release("rows of strait.checkpoint").await;
    coordinator.until_state(&task_id, TaskState::Released).await;

    // The same id again: a new task, whose epochs go on.
    let mut anew = CreateTaskRequest { task_id: task_id.clone(), ..request("") };
    anew.spec.as_mut().unwrap().name = "anew".into();
    assert_eq!(coordinator.create(anew).await.unwrap().state(), TaskState::Created);
    let agents = async {
        source.answer_precheck(vec![]).await;
        sink.answer_precheck(vec![]).await;
        (sink.assigned().await.epoch, source.assigned().await.epoch)
    };
    let (started, epochs) = tokio::join!(coordinator.start_task("anew", false), agents);
    assert_eq!((started.unwrap().epoch, epochs), (2, (2, 2)));
}

#[tokio::test]
async fn an_agent_that_leaves_during_its_release_is_asked_again() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    coordinator.release(&task_id).await.unwrap();
    sink.revoked().await;
    sink.answer_release("rows").await;
    source.revoked().await;
    let (asked, _) = source.command().await;
    drop(source);
    let mut source = coordinator.source().await;
    source.revoked().await;
    let (again, _) = source.command().await;
    assert_eq!(asked, again, "so that an agent that is still at it does not begin twice");
    source.answer(again, strait_proto::v1::command_result::Result::Release(Default::default())).await;
    coordinator.until_state(&task_id, TaskState::Released).await;
    let events = coordinator.events(&task_id).await;
    assert!(events.contains(&"released at the source: nothing was left there".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_task_that_no_agent_ever_had_is_released_at_once() {
    let coordinator = Coordinator::start().await;
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    coordinator.precheck(&task_id).await.unwrap();
    assert_eq!(coordinator.release(&task_id).await.unwrap().state(), TaskState::Released);
    assert_eq!(listed(&coordinator, true).await, [TaskState::Released]);
}
