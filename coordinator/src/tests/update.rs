use strait_proto::v1::{RateLimits, Throttle, UpdateTaskRequest};
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
async fn every_other_field_that_differs_is_named_and_nothing_changes() {
    let coordinator = Coordinator::start().await;
    let task = coordinator.create(request("")).await.unwrap();
    let other = TaskSpec { name: "other".into(), source: None, ..throttled(5) };
    let refused = coordinator.update(&task.task_id, TaskSpec { source: spec().destination, ..other }).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for field in ["name is ", "source.agent is \"eu-1\" there and \"us-1\" here", "source.endpoint is "] {
        assert!(refused.message().contains(field), "{}", refused.message());
    }
    assert!(!refused.message().contains("throttle"), "{}", refused.message());
    let same = coordinator.update(&task.task_id, spec()).await.unwrap();
    assert_eq!(same.spec, task.spec);
    assert_eq!(coordinator.events(&task.task_id).await.len(), 1, "nothing happened");
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
