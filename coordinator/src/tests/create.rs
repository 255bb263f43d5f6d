use strait_proto::v1::{ListTasksRequest, RetryPolicy};
use tonic::Code;

use super::*;

async fn list(coordinator: &Coordinator) -> Vec<Task> {
    let request = ListTasksRequest { include_released: true, ..ListTasksRequest::default() };
    coordinator.tasks.clone().list_tasks(request).await.unwrap().into_inner().tasks
}

fn with_retry(client_token: &str, connection_minutes: u32) -> CreateTaskRequest {
    let retry = Some(RetryPolicy { connection_minutes, other_minutes: 0 });
    CreateTaskRequest { spec: Some(TaskSpec { retry, ..spec() }), ..request(client_token) }
}

#[tokio::test]
async fn a_task_is_created_once_for_each_token_also_across_restarts() {
    let coordinator = Coordinator::start().await;
    let first = coordinator.create(request("t1")).await.unwrap();
    assert_eq!(first.state(), TaskState::Created);
    let suffix = &first.task_id[..4];
    assert_eq!(first.spec.as_ref().unwrap().name, format!("orders-to-warehouse-{suffix}"));
    assert_eq!(coordinator.create(request("t1")).await.unwrap(), first);

    let coordinator = coordinator.restart().await;
    assert_eq!(coordinator.create(request("t1")).await.unwrap(), first);
    let another = coordinator.create(request("t2")).await.unwrap();
    let without_token = coordinator.create(request("")).await.unwrap();
    let ids = list(&coordinator).await.into_iter().map(|task| task.task_id).collect::<Vec<_>>();
    assert_eq!(ids, [first.task_id.clone(), another.task_id, without_token.task_id]);

    let status = coordinator.create(with_retry("t1", 600)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let expected = format!(
        "client_token \"t1\" made task {}, and differs: retry.connection is 720m there and 600m here",
        first.task_id
    );
    assert_eq!(status.message(), expected);
    let status = coordinator
        .create(CreateTaskRequest { task_id: "aaaaaaaaaaaa".into(), ..request("t1") })
        .await
        .unwrap_err();
    assert!(status.message().contains("task_id is "), "{}", status.message());
}

#[tokio::test]
async fn a_given_id_names_one_task() {
    let coordinator = Coordinator::start().await;
    let with_id =
        |connection| CreateTaskRequest { task_id: "aaaaaaaaaaaa".into(), ..with_retry("", connection) };
    let first = coordinator.create(with_id(720)).await.unwrap();
    assert_eq!(first.task_id, "aaaaaaaaaaaa");
    assert_eq!(coordinator.create(with_id(0)).await.unwrap(), first);
    let status = coordinator.create(with_id(700)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(
        status.message(),
        "task aaaaaaaaaaaa exists, and differs: retry.connection is 720m there and 700m here"
    );

    // A store that was lost may have assigned it: the databases are looked at before it counts as released.
    assert_eq!(coordinator.release("aaaaaaaaaaaa").await.unwrap().state(), TaskState::Releasing);
}

#[tokio::test]
async fn a_released_id_can_be_created_anew() {
    let coordinator = Coordinator::start().await;
    let task_id = coordinator.create(with_retry("", 720)).await.unwrap().task_id;
    // Never assigned: there is nothing to remove anywhere.
    assert_eq!(coordinator.release(&task_id).await.unwrap().state(), TaskState::Released);
    assert_eq!(coordinator.task(&task_id).await.state(), TaskState::Released);
    assert_eq!(coordinator.release(&task_id).await.unwrap().state(), TaskState::Released);
    let request = CreateTaskRequest { task_id, ..with_retry("", 700) };
    assert_eq!(coordinator.create(request).await.unwrap().state(), TaskState::Created);
    assert_eq!(list(&coordinator).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_created_says_which_field_is_wrong() {
    let coordinator = Coordinator::start().await;
    let status = coordinator.create(with_retry("", 5)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "retry.connection: is 5m; it must lie between 10m and 1440m");
    let status =
        coordinator.create(CreateTaskRequest { task_id: "A".into(), ..request("") }).await.unwrap_err();
    assert!(status.message().starts_with("task_id: "), "{}", status.message());
    let status = coordinator.create(CreateTaskRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "spec: is required"));
}

#[tokio::test]
async fn a_preview_stores_nothing() {
    let coordinator = Coordinator::start().await;
    let preview =
        coordinator.create(CreateTaskRequest { validate_only: true, ..request("t1") }).await.unwrap();
    assert_eq!(preview.spec.unwrap().retry.unwrap().connection_minutes, 720);
    assert_eq!(list(&coordinator).await, []);
}

#[tokio::test]
async fn a_task_is_found_by_its_id_or_its_unique_name() {
    let coordinator = Coordinator::start().await;
    let named = |name: &str| CreateTaskRequest {
        spec: Some(TaskSpec { name: name.into(), ..spec() }),
        ..CreateTaskRequest::default()
    };
    let one = coordinator.create(named("one")).await.unwrap();
    assert_eq!(coordinator.task("one").await, one);
    assert_eq!(coordinator.task(&one.task_id).await, one);
    let twin = coordinator.create(named("one")).await.unwrap();
    let status = coordinator.pause("one").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains(&one.task_id) && status.message().contains(&twin.task_id));
    coordinator.release(&twin.task_id).await.unwrap();
    assert_eq!(coordinator.task("one").await, one);
    assert_eq!(coordinator.pause("two").await.unwrap_err().code(), Code::NotFound);
    let status = coordinator.pause("one").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        "the task is created: pause is possible in schema-sync, full-sync, incremental or retrying"
    );
}

#[tokio::test]
async fn a_list_is_filtered_and_comes_in_pages() {
    let coordinator = Coordinator::start().await;
    let mut ids = Vec::new();
    for (name, environment) in
        [("orders-1", "test"), ("orders-2", ""), ("people", "test"), ("orders-3", "test")]
    {
        let spec = TaskSpec { name: name.into(), environment: environment.into(), ..spec() };
        let request = CreateTaskRequest { spec: Some(spec), ..CreateTaskRequest::default() };
        ids.push(coordinator.create(request).await.unwrap().task_id);
    }
    coordinator.release(&ids[3]).await.unwrap();
    let ask = |request: ListTasksRequest| {
        let mut tasks = coordinator.tasks.clone();
        async move { tasks.list_tasks(request).await.map(tonic::Response::into_inner) }
    };
    let names = |tasks: &[Task]| -> Vec<String> {
        tasks.iter().map(|task| task.spec.as_ref().unwrap().name.clone()).collect()
    };
    let all = ListTasksRequest { include_released: true, ..ListTasksRequest::default() };
    for (request, expected) in [
        (ListTasksRequest::default(), vec!["orders-1", "orders-2", "people"]),
        (all.clone(), vec!["orders-1", "orders-2", "people", "orders-3"]),
        (
            ListTasksRequest { environment: "test".into(), ..all.clone() },
            vec!["orders-1", "people", "orders-3"],
        ),
        (
            ListTasksRequest { name: "orders-*".into(), ..ListTasksRequest::default() },
            vec!["orders-1", "orders-2"],
        ),
        (ListTasksRequest { states: vec![TaskState::Released.into()], ..all.clone() }, vec!["orders-3"]),
        (ListTasksRequest { agent: "us-2".into(), ..all.clone() }, vec![]),
        (
            ListTasksRequest { endpoint: "warehouse".into(), name: "people".into(), ..all.clone() },
            vec!["people"],
        ),
    ] {
        assert_eq!(names(&ask(request.clone()).await.unwrap().tasks), expected, "{request:?}");
    }
    let (mut page_token, mut seen) = (String::new(), Vec::new());
    loop {
        let page = ask(ListTasksRequest { page_size: 3, page_token, ..all.clone() }).await.unwrap();
        seen.push(names(&page.tasks));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [vec!["orders-1", "orders-2", "people"], vec!["orders-3"]]);
    let status = ask(ListTasksRequest { page_token: "x".into(), ..all }).await.unwrap_err();
    assert!(status.message().starts_with("page_token: "), "{}", status.message());
}

#[tokio::test]
async fn a_refusal_has_its_reason_its_fields_and_what_to_do() {
    use tonic_types::StatusExt as _;

    let coordinator = Coordinator::start().await;
    let status = coordinator.create(with_retry("", 5)).await.unwrap_err();
    let fields = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields[0].field, "retry.connection");
    assert!(fields[0].description.contains("between 10m and 1440m"), "{fields:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "FIELDS_INVALID");

    let status = coordinator.pause("nothing").await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!((&*info.reason, &*info.domain), ("TASK_NOT_FOUND", "strait"));
    assert!(info.metadata["remedy"].contains("strait task list"), "{info:?}");

    let task_id = coordinator.create(request("")).await.unwrap().task_id;
    let status = coordinator.pause(&task_id).await.unwrap_err();
    let violations = status.get_details_precondition_failure().unwrap().violations;
    assert_eq!((&*violations[0].r#type, &*violations[0].subject), ("STATE", "created"));
}
