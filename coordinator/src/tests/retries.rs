use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{Failure, FailureKind, RetryPolicy};

use super::*;

fn failure(kind: FailureKind) -> Failure {
    Failure { kind: kind.into(), definite: false, cause: "broken".into(), remedy: "mend it".into() }
}

#[tokio::test]
async fn an_interruption_is_shown_until_the_task_runs_again() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, _sink) = coordinator.running_task().await;
    source.interrupted(&task_id, 1, failure(FailureKind::Connection)).await;
    let task = coordinator.until_state(&task_id, TaskState::Retrying).await;
    assert_eq!((task.return_to(), task.attempt), (TaskState::Incremental, 2));
    assert_eq!(task.failure.unwrap().cause, "broken");
    let window_us = task.retry_until_us - task.state_changed_at_us;
    assert!((720 * 60_000_000 - 1_000_000..=720 * 60_000_000).contains(&window_us), "{window_us}");
    assert!(task.next_attempt_us > task.state_changed_at_us);
    source.phase(&task_id, 1, TaskState::Incremental).await;
    let task = coordinator.until_state(&task_id, TaskState::Incremental).await;
    assert_eq!((task.failure, task.retry_until_us, task.attempt), (None, 0, 0));
}

#[tokio::test]
async fn a_spent_window_fails_the_task_and_stops_the_agents() {
    let coordinator =
        Coordinator::start_with(Timings { retry_minute: Duration::from_millis(20), ..timings() }).await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    source.interrupted(&task_id, 1, failure(FailureKind::Other)).await;
    let task = coordinator.until_state(&task_id, TaskState::Failed).await;
    assert_eq!(task.return_to(), TaskState::Incremental);
    assert!(task.failure.unwrap().cause.ends_with("without success: broken"));
    assert_eq!((source.revoked().await.epoch, sink.revoked().await.epoch), (1, 1));

    let resumed = coordinator.resume(&task_id).await.unwrap();
    assert_eq!((resumed.state(), resumed.epoch), (TaskState::Incremental, 2));
    assert_eq!((sink.assigned().await.epoch, source.assigned().await.epoch), (2, 2));
    // What is still on its way from the old epoch counts for nothing.
    source.report(&task_id, 1, Kind::Failed(failure(FailureKind::Other))).await;
    source.phase(&task_id, 2, TaskState::FullSync).await;
    assert_eq!(coordinator.until_state(&task_id, TaskState::FullSync).await.failure, None);
}

#[tokio::test]
async fn the_shortest_window_of_tasks_that_share_an_endpoint_counts() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    let retry = Some(RetryPolicy { connection_minutes: 30, other_minutes: 3 });
    let short = CreateTaskRequest { spec: Some(TaskSpec { retry, ..spec() }), ..request("") };
    let short = coordinator.create(short).await.unwrap().task_id;
    let window = |task: &Task| (task.retry_until_us - task.state_changed_at_us + 500_000) / 60_000_000;

    // A task that is not at work does not count.
    source.interrupted(&task_id, 1, failure(FailureKind::Other)).await;
    assert_eq!(window(&coordinator.until_state(&task_id, TaskState::Retrying).await), 10);
    let agents = async {
        source.answer_precheck(vec![]).await;
        sink.answer_precheck(vec![]).await;
        sink.assigned().await;
        source.assigned().await;
    };
    tokio::join!(coordinator.start_task(&short, false), agents).0.unwrap();
    source.interrupted(&task_id, 1, failure(FailureKind::Other)).await;
    coordinator.until(&task_id, |task| window(task) == 3).await;
    source.interrupted(&task_id, 1, failure(FailureKind::Connection)).await;
    coordinator.until(&task_id, |task| window(task) == 30).await;
}

#[tokio::test]
async fn a_failure_that_is_definite_stops_both_agents() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    sink.report(&task_id, 1, Kind::Failed(failure(FailureKind::Other))).await;
    let task = coordinator.until_state(&task_id, TaskState::Failed).await;
    assert_eq!(task.failure.unwrap().remedy, "mend it");
    assert_eq!((source.revoked().await.epoch, sink.revoked().await.epoch), (1, 1));
    let events = coordinator.events(&task_id).await;
    assert_eq!(events.last().unwrap(), "incremental → failed: broken");
}

#[tokio::test]
async fn an_agent_that_loses_contact_and_comes_back_is_not_disturbed() {
    let coordinator = Coordinator::start().await;
    let (task_id, source, mut sink) = coordinator.running_task().await;
    drop(source);
    let task = coordinator.until_state(&task_id, TaskState::Retrying).await;
    let cause = task.failure.unwrap().cause;
    assert!(cause.starts_with("source-agent eu-1 lost contact with the coordinator"), "{cause}");

    let mut source = Agent::connect(&coordinator.address, Side::Source, "eu-1", Some((&task_id, 1))).await;
    source.phase(&task_id, 1, TaskState::Incremental).await;
    assert_eq!(coordinator.until_state(&task_id, TaskState::Incremental).await.epoch, 1);

    // The sink-agent has nothing to say again: its contact is enough.
    drop(sink);
    let task = coordinator.until_state(&task_id, TaskState::Retrying).await;
    assert!(task.failure.unwrap().cause.starts_with("sink-agent us-1 lost contact"));
    sink = Agent::connect(&coordinator.address, Side::Sink, "us-1", Some((&task_id, 1))).await;
    assert_eq!(coordinator.until_state(&task_id, TaskState::Incremental).await.epoch, 1);

    // Neither was sent anything meanwhile: the next thing that they hear of is the pause.
    let agents = async { (source.revoked().await, sink.revoked().await) };
    let (paused, _) = tokio::join!(coordinator.pause(&task_id), agents);
    assert_eq!(paused.unwrap().state(), TaskState::Paused);
}

#[tokio::test]
async fn an_agent_that_comes_back_without_the_task_gets_it_under_a_new_epoch() {
    let coordinator = Coordinator::start().await;
    let (task_id, source, mut sink) = coordinator.running_task().await;
    drop(source);
    let mut source = coordinator.source().await;
    let (to_sink, to_source) = (sink.assigned().await, source.assigned().await);
    assert_eq!((to_sink.epoch, to_source.epoch), (2, 2));
    assert_eq!(to_sink.token, to_source.token);
    // Only a phase that is reached ends the retry.
    let task = coordinator.until(&task_id, |task| task.epoch == 2).await;
    assert_eq!(task.state(), TaskState::Retrying);
    source.phase(&task_id, 2, TaskState::FullSync).await;
    coordinator.until_state(&task_id, TaskState::FullSync).await;
}

#[tokio::test]
async fn a_task_that_is_resumed_without_its_agents_waits_for_them() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    let agents = async { (source.revoked().await, sink.revoked().await) };
    tokio::join!(coordinator.pause(&task_id), agents).0.unwrap();
    drop((source, sink));
    let disconnected = async {
        let agents = strait_proto::v1::ListAgentsRequest {};
        while coordinator
            .tasks
            .clone()
            .list_agents(agents)
            .await
            .unwrap()
            .into_inner()
            .agents
            .iter()
            .any(|a| a.connected)
        {
            tokio::task::yield_now().await;
        }
    };
    within(disconnected).await;
    let resumed = coordinator.resume(&task_id).await.unwrap();
    assert_eq!((resumed.state(), resumed.return_to()), (TaskState::Retrying, TaskState::Incremental));
    let failure = resumed.failure.unwrap();
    assert_eq!(failure.cause, "source-agent eu-1 is not connected; sink-agent us-1 is not connected");
    assert!(failure.remedy.contains("start strait-sink-agent"), "{}", failure.remedy);
    let (mut sink, mut source) = (coordinator.sink().await, coordinator.source().await);
    assert_eq!((sink.assigned().await.epoch, source.assigned().await.epoch), (2, 2));
    source.phase(&task_id, 2, TaskState::Incremental).await;
    coordinator.until_state(&task_id, TaskState::Incremental).await;
}
