use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{
    CopyProgress, Finished, ListAgentsRequest, ObjectResult, ObjectResults, PrecheckItem, PrecheckOutcome,
    StreamProgress, TaskNotice, TaskProgress,
};
use tonic::Code;

use super::*;

fn item(name: &str, outcome: PrecheckOutcome) -> PrecheckItem {
    let cause = if outcome == PrecheckOutcome::Failed { "it is replica" } else { "" };
    PrecheckItem {
        name: name.into(),
        outcome: outcome.into(),
        cause: cause.into(),
        ..PrecheckItem::default()
    }
}

fn names(task: &Task) -> Vec<&str> {
    task.precheck.iter().map(|item| item.name.as_str()).collect()
}

#[tokio::test]
async fn a_task_runs_from_its_start_to_its_end() {
    let coordinator = Coordinator::start().await;
    let (mut source, mut sink) = (coordinator.source().await, coordinator.sink().await);
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    let starting = coordinator.start_task(&task_id, true);
    let agents = async {
        assert_eq!(
            source.answer_precheck(vec![item("source.wal_level", PrecheckOutcome::Passed)]).await,
            None
        );
        let summary = sink.answer_precheck(vec![item("destination.objects", PrecheckOutcome::Warning)]).await;
        assert_eq!(summary.unwrap().encoding, "UTF8");
        (sink.assigned().await, source.assigned().await)
    };
    let (started, (to_sink, to_source)) = tokio::join!(starting, agents);
    assert_eq!(started.unwrap().state(), TaskState::SchemaSync);
    assert_eq!((to_sink.epoch, to_source.epoch), (1, 1));
    assert_eq!(to_sink.token, to_source.token);
    assert_eq!(to_sink.token.len(), 64);
    assert_eq!(to_source.data_address, "http://127.0.0.1:7401");
    assert!(to_source.once);
    assert_eq!(to_source.spec.unwrap().retry.unwrap().connection_minutes, 720);

    source.phase(&task_id, 1, TaskState::FullSync).await;
    coordinator.until_state(&task_id, TaskState::FullSync).await;
    let object = |detail: &str| ObjectResult {
        object_kind: "table".into(),
        name: "orders".into(),
        detail: detail.into(),
        ..ObjectResult::default()
    };
    for detail in ["first", "last"] {
        source.report(&task_id, 1, Kind::Objects(ObjectResults { results: vec![object(detail)] })).await;
    }
    let copy = CopyProgress { rows: 7, ..CopyProgress::default() };
    let stream = StreamProgress { lag_bytes: 9, ..StreamProgress::default() };
    source.report(&task_id, 1, Kind::Progress(TaskProgress { copy: Some(copy), stream: None })).await;
    source.report(&task_id, 1, Kind::Progress(TaskProgress { copy: None, stream: Some(stream) })).await;
    source.report(&task_id, 1, Kind::Notice(TaskNotice { text: "a line".into() })).await;
    source.phase(&task_id, 1, TaskState::Incremental).await;
    source.report(&task_id, 1, Kind::Finished(Finished {})).await;
    let task = coordinator.until_state(&task_id, TaskState::Finished).await;
    assert_eq!(coordinator.task(&task_id).await.objects, [object("last")]);
    let progress = task.progress.unwrap();
    assert_eq!((progress.copy.unwrap().rows, progress.stream.unwrap().lag_bytes), (7, 9));
    assert_eq!((source.revoked().await.epoch, sink.revoked().await.epoch), (1, 1));
    let expected = [
        &format!("created as {}", task.spec.unwrap().name),
        "created → prechecking",
        "precheck passed: 6 checks, 0 failed, 1 warnings",
        "prechecking → schema-sync, epoch 1",
        "schema-sync → full-sync",
        "a line",
        "full-sync → incremental",
        "incremental → finished",
    ];
    assert_eq!(coordinator.events(&task_id).await, expected);
    let again = coordinator.start_task(&task_id, false).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_precheck_names_what_keeps_the_task_from_starting() {
    let coordinator = Coordinator::start().await;
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    let task = coordinator.precheck(&task_id).await.unwrap();
    assert_eq!(task.state(), TaskState::PrecheckFailed);
    assert_eq!(names(&task), ["source.agent", "destination.agent"]);
    assert_eq!(task.precheck[0].cause, "source-agent eu-1 is not connected");
    assert!(task.precheck[0].remedy.contains("start strait-source-agent"), "{:?}", task.precheck[0]);

    let (mut source, mut sink) = (coordinator.source().await, coordinator.sink().await);
    let answering = async {
        source.answer_precheck(vec![item("source.wal_level", PrecheckOutcome::Failed)]).await;
        sink.answer_precheck(vec![]).await;
    };
    let (task, ()) = tokio::join!(coordinator.start_task(&task_id, false), answering);
    let task = task.unwrap();
    assert_eq!(task.state(), TaskState::PrecheckFailed);
    let all =
        ["source.agent", "source.endpoint", "source.wal_level", "destination.agent", "destination.endpoint"];
    assert_eq!(names(&task), all);
    let events = coordinator.events(&task_id).await;
    assert!(events.contains(&"precheck failed: source.wal_level: it is replica".to_owned()), "{events:?}");

    let answering = async {
        source.answer_precheck(vec![]).await;
        sink.answer_precheck(vec![]).await;
    };
    let (task, ()) = tokio::join!(coordinator.precheck(&task_id), answering);
    assert_eq!(task.unwrap().state(), TaskState::Ready);
}

#[tokio::test]
async fn an_endpoint_that_the_agent_does_not_offer_fails_the_precheck() {
    let coordinator = Coordinator::start().await;
    let (_source, mut sink) = (coordinator.source().await, coordinator.sink().await);
    let mut spec = spec();
    spec.source.as_mut().unwrap().endpoint = "invoices".into();
    let create = CreateTaskRequest { spec: Some(spec), ..CreateTaskRequest::default() };
    let task_id = coordinator.create(create).await.unwrap().task_id;
    let (task, _) = tokio::join!(coordinator.precheck(&task_id), sink.answer_precheck(vec![]));
    let item = task.unwrap().precheck.remove(1);
    assert_eq!(item.cause, "source-agent eu-1 offers no endpoint \"invoices\"");
    assert_eq!(item.detail, "offered: orders");
    assert!(item.remedy.contains("[endpoints.invoices]"), "{}", item.remedy);
}

#[tokio::test]
async fn a_pause_drains_the_source_first_and_a_resume_begins_a_new_epoch() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    let agents = async {
        source.revocation().await;
        // Not stopped yet: still incremental, and the sink-agent undisturbed.
        assert_eq!(coordinator.task(&task_id).await.state(), TaskState::Incremental);
        source.report(&task_id, 1, Kind::Stopped(strait_proto::v1::Stopped {})).await;
        sink.revoked().await;
    };
    let (paused, ()) = tokio::join!(coordinator.pause(&task_id), agents);
    let paused = paused.unwrap();
    assert_eq!((paused.state(), paused.return_to()), (TaskState::Paused, TaskState::Incremental));
    assert_eq!(coordinator.pause(&task_id).await.unwrap().state(), TaskState::Paused);

    // A precheck of a paused task changes nothing but its items.
    let answering = async {
        source.answer_precheck(vec![item("source.slot", PrecheckOutcome::Failed)]).await;
        sink.answer_precheck(vec![]).await;
    };
    let (task, ()) = tokio::join!(coordinator.precheck(&task_id), answering);
    let task = task.unwrap();
    assert_eq!((task.state(), task.precheck.len()), (TaskState::Paused, 5));

    let resumed = coordinator.resume(&task_id).await.unwrap();
    assert_eq!((resumed.state(), resumed.epoch), (TaskState::Incremental, 2));
    assert_eq!((sink.assigned().await.epoch, source.assigned().await.epoch), (2, 2));
}

#[tokio::test]
async fn a_pause_does_not_wait_for_an_agent_that_is_away() {
    let coordinator = Coordinator::start().await;
    let (task_id, source, mut sink) = coordinator.running_task().await;
    drop(source);
    coordinator.until_state(&task_id, TaskState::Retrying).await;
    let (paused, _) = tokio::join!(coordinator.pause(&task_id), sink.revoked());
    assert_eq!(paused.unwrap().state(), TaskState::Paused);
    // When it is back it is told to stop what it still runs.
    let mut source = Agent::connect(&coordinator.address, Side::Source, "eu-1", Some((&task_id, 1))).await;
    assert_eq!(source.revoked().await.epoch, 1);
}

#[tokio::test]
async fn a_watch_misses_no_event_and_ends_with_the_release() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, mut sink) = coordinator.running_task().await;
    let before = coordinator.events(&task_id).await.len();
    let request = WatchTaskRequest { task: task_id.clone() };
    let mut watch = within(coordinator.tasks.clone().watch_task(request)).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!((first.task.unwrap().state(), first.events.len()), (TaskState::Incremental, 0));
    for n in 0..700 {
        source.report(&task_id, 1, Kind::Notice(TaskNotice { text: n.to_string() })).await;
        let copy = Some(CopyProgress { rows: n, ..CopyProgress::default() });
        source.report(&task_id, 1, Kind::Progress(TaskProgress { copy, stream: None })).await;
    }
    let releasing = async {
        let rows = |task: &Task| task.progress.as_ref()?.copy.as_ref().map(|copy| copy.rows);
        coordinator.until(&task_id, |task| rows(task) == Some(699)).await;
        coordinator.release(&task_id).await.unwrap();
        source.revoked().await;
        source.answer_release("slot").await;
        sink.revoked().await;
        sink.answer_release("rows").await;
    };
    let watching = async {
        let (mut seen, mut last) = (Vec::new(), TaskState::Unspecified);
        while let Some(response) = watch.message().await.unwrap() {
            last = response.task.unwrap().state();
            seen.extend(response.events.into_iter().map(|event| event.text));
        }
        (seen, last)
    };
    let ((seen, last), ()) = Box::pin(within(async { tokio::join!(watching, releasing) })).await;
    assert_eq!(last, TaskState::Released);
    assert_eq!(seen, coordinator.events(&task_id).await[before..]);
    assert!(seen.len() > 700);
}

#[tokio::test]
async fn a_newer_session_of_an_agent_ends_the_older_one() {
    let coordinator = Coordinator::start().await;
    let mut older = coordinator.source().await;
    let _newer = coordinator.source().await;
    let status = older.ended().await;
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.message().contains("newer session"), "{}", status.message());
    let agents =
        coordinator.tasks.clone().list_agents(ListAgentsRequest {}).await.unwrap().into_inner().agents;
    assert_eq!((agents.len(), agents[0].connected, agents[0].agent.as_str()), (1, true, "eu-1"));
}
