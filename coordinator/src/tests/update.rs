use strait_proto::v1::{ObjectPattern, ObjectSelection, RateLimits, Throttle, UpdateTaskRequest};
use tonic::{Code, Status};

use super::*;

fn throttled(rows_per_second: u64) -> TaskSpec {
    let limits = RateLimits { rows_per_second, bytes_per_second: 0 };
    TaskSpec { throttle: Some(Throttle { incremental: Some(limits) }), ..spec() }
}

impl Coordinator {
    async fn update(&self, task: &str, spec: TaskSpec) -> Result<Task, Status> {
        let request = UpdateTaskRequest { task: task.into(), spec: Some(spec) };
        let response = within(self.tasks.clone().update_task(request)).await?;
        Ok(response.into_inner().task.unwrap())
    }
}

#[tokio::test]
async fn a_throttle_reaches_the_agent_that_runs_the_task_and_each_of_its_sessions() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, _sink) = coordinator.running_task().await;
    let task = coordinator.update(&task_id, throttled(5)).await.unwrap();
    assert_eq!(task.spec.unwrap().throttle, throttled(5).throttle);
    let adjust = source.adjusted().await;
    assert_eq!((&*adjust.task_id, adjust.epoch, adjust.throttle), (&*task_id, 1, throttled(5).throttle));
    let line = "updated: throttle.incremental.rows_per_second is 5 instead of 0".to_owned();
    assert!(coordinator.events(&task_id).await.contains(&line));

    drop(source);
    let running = Some((&*task_id, 1));
    let mut source = Agent::connect(&coordinator.address, Side::Source, "eu-1", running).await;
    assert_eq!(source.adjusted().await.throttle, throttled(5).throttle);
    coordinator.update(&task_id, spec()).await.unwrap();
    assert_eq!(source.adjusted().await.throttle, None);
}

#[tokio::test]
async fn every_field_that_cannot_change_is_named_with_the_reason_and_nothing_changes() {
    let coordinator = Coordinator::start().await;
    let (task_id, _source, _sink) = coordinator.running_task().await;
    let before = coordinator.task(&task_id).await;
    let events = coordinator.events(&task_id).await.len();
    let other = TaskSpec { name: "other".into(), source: spec().destination, ..throttled(5) };
    let refused = coordinator.update(&task_id, other).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for words in [
        "source.agent is \"eu-1\" there and \"us-1\" here",
        "source.endpoint is ",
        "release the task and create it anew",
    ] {
        assert!(refused.message().contains(words), "{}", refused.message());
    }
    let named = ["throttle", "name is"].iter().any(|field| refused.message().contains(field));
    assert!(!named, "{}", refused.message());
    let same = coordinator.update(&task_id, spec()).await.unwrap();
    assert_eq!(same.spec, before.spec);
    assert_eq!(coordinator.events(&task_id).await.len(), events, "nothing happened");
}

#[tokio::test]
async fn before_its_first_start_everything_may_change_and_the_precheck_counts_no_more() {
    let coordinator = Coordinator::start().await;
    let (mut source, mut sink) = (coordinator.source().await, coordinator.sink().await);
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    let agents = async {
        source.answer_precheck(vec![]).await;
        sink.answer_precheck(vec![]).await;
    };
    let (checked, ()) = tokio::join!(coordinator.precheck(&task_id), agents);
    assert_eq!(checked.unwrap().state(), TaskState::Ready);

    let elsewhere = spec().source.map(|it| EndpointReference { agent: "eu-2".into(), ..it });
    let wanted = TaskSpec { source: elsewhere, name: "another".into(), ..spec() };
    let updated = coordinator.update(&task_id, wanted).await.unwrap();
    assert_eq!((updated.state(), updated.precheck.len()), (TaskState::Created, 0));
    assert_eq!(coordinator.task("another").await, updated);

    let mut source = Agent::connect(&coordinator.address, Side::Source, "eu-2", None).await;
    let agents = async {
        source.answer_precheck(vec![]).await;
        sink.answer_precheck(vec![]).await;
        source.assigned().await;
    };
    let (started, ()) = tokio::join!(coordinator.start_task(&task_id, false), agents);
    assert_eq!(started.unwrap().state(), TaskState::SchemaSync);
    let coordinator = coordinator.restart().await;
    assert_eq!(coordinator.task("another").await.task_id, task_id);
}

#[tokio::test]
async fn a_running_task_is_assigned_again_with_more_tables_and_keeps_those_that_it_has() {
    let coordinator = Coordinator::start().await;
    let selecting = |schemas: &[&str]| {
        let entry =
            |schema: &&str| ObjectPattern { schema: (*schema).to_owned(), ..ObjectPattern::default() };
        let include = schemas.iter().map(entry).collect();
        TaskSpec { objects: Some(ObjectSelection { include, ..Default::default() }), ..spec() }
    };
    let request = CreateTaskRequest { spec: Some(selecting(&["a"])), ..CreateTaskRequest::default() };
    let (task_id, mut source, mut sink) = coordinator.running(request).await;
    let grown = coordinator.update(&task_id, selecting(&["a", "b"])).await.unwrap();
    assert_eq!((grown.state(), grown.epoch), (TaskState::Incremental, 2));
    let (to_sink, to_source) = (sink.assigned().await, source.assigned().await);
    assert_eq!((to_sink.epoch, to_source.epoch), (2, 2));
    assert_eq!(to_source.spec, grown.spec);

    let refused = coordinator.update(&task_id, selecting(&["b"])).await.unwrap_err();
    assert!(refused.message().contains("can neither leave the task"), "{}", refused.message());
    // While an agent is away, the change waits for it.
    drop(sink);
    coordinator.until_state(&task_id, TaskState::Retrying).await;
    let grown = coordinator.update(&task_id, selecting(&["a", "b", "c"])).await.unwrap();
    assert_eq!(grown.state(), TaskState::Retrying);
    source.revoked().await;
    let mut sink = coordinator.sink().await;
    assert_eq!(sink.assigned().await.spec, grown.spec);
    assert_eq!(source.assigned().await.spec, grown.spec);
}

#[tokio::test]
async fn what_was_changed_survives_the_coordinator() {
    let coordinator = Coordinator::start().await;
    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    let wanted = TaskSpec { environment: "test".into(), ..throttled(7) };
    let updated = coordinator.update(&task_id, wanted).await.unwrap();
    let coordinator = coordinator.restart().await;
    assert_eq!(coordinator.task(&task_id).await.spec, updated.spec);
}
