use strait_proto::v1::command::Command;
use strait_proto::v1::command_result::Result as Answer;
use strait_proto::v1::{
    AgentRole, CheckEndpointsRequest, InspectResult, Leftover, RemoveOrphanRequest, SlotInfo,
};

use super::*;

fn leftover(task_id: &str) -> Leftover {
    Leftover { kind: "publication".into(), name: format!("dts_sync_{task_id}"), task_id: task_id.into() }
}

fn removal(task_id: &str) -> RemoveOrphanRequest {
    RemoveOrphanRequest {
        role: AgentRole::Source.into(),
        agent: "eu-1".into(),
        endpoint: "orders".into(),
        database: String::new(),
        task_id: task_id.into(),
    }
}

#[tokio::test]
async fn what_belongs_to_no_task_is_offered_and_removed_only_when_asked() {
    let coordinator = Coordinator::start().await;
    let (task_id, mut source, _sink) = coordinator.running_task().await;
    let request = CheckEndpointsRequest { agent: "eu-1".into(), ..CheckEndpointsRequest::default() };
    let mut tasks = coordinator.tasks.clone();
    let answering = async {
        let (request_id, Command::Inspect(inspect)) = source.command().await else { panic!("no inspection") };
        assert_eq!(inspect.endpoint, "orders");
        let slot =
            SlotInfo { name: format!("dts_sync_{task_id}"), task_id: task_id.clone(), ..SlotInfo::default() };
        let leftovers = vec![leftover(&task_id), leftover("orphanorphan")];
        let found = InspectResult {
            server: "PostgreSQL 17".into(),
            slots: vec![slot],
            leftovers,
            ..Default::default()
        };
        source.answer(request_id, Answer::Inspect(found)).await;
    };
    let (checked, ()) = tokio::join!(tasks.check_endpoints(request), answering);
    let endpoints = checked.unwrap().into_inner().endpoints;
    assert_eq!(endpoints.len(), 1);
    assert_eq!((endpoints[0].slots.len(), &*endpoints[0].orphans), (1, &[leftover("orphanorphan")][..]));

    let status = tasks.remove_orphan(removal(&task_id)).await.unwrap_err();
    assert!(status.message().contains("is a task"), "{}", status.message());
    let answering = source.answer_release("dropped publication dts_sync_orphanorphan");
    let (removed, ()) = tokio::join!(tasks.remove_orphan(removal("orphanorphan")), answering);
    assert_eq!(removed.unwrap().into_inner().actions, ["dropped publication dts_sync_orphanorphan"]);
}

#[tokio::test]
async fn an_endpoint_whose_agent_is_away_is_shown_with_the_reason() {
    let coordinator = Coordinator::start().await;
    drop(coordinator.source().await);
    let away = async {
        loop {
            let checked = coordinator.tasks.clone().check_endpoints(CheckEndpointsRequest::default()).await;
            let endpoints = checked.unwrap().into_inner().endpoints;
            let failure = endpoints[0].failure.as_ref();
            if failure.is_some_and(|failure| failure.cause == "source-agent eu-1 is not connected") {
                return;
            }
        }
    };
    within(away).await;
}
