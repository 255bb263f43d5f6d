use std::time::Instant;

use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{
    CopyProgress, ListTasksRequest, ObjectResult, ObjectResults, TableName, TableProgress, TaskProgress,
};

use super::*;

const TASKS: usize = 1000;
const TABLES: usize = 10_000;

/// Kilobytes of this process that lie in memory, clients and fake agents included.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make soak` runs it"]
async fn a_thousand_tasks_and_one_of_ten_thousand_tables_fit_into_little_memory() {
    let coordinator = Coordinator::start().await;
    let before = resident();
    let (task_id, mut source, _sink) = coordinator.running_task().await;
    for _ in 1..TASKS {
        coordinator.create(request("")).await.unwrap();
    }
    let names = || (0..TABLES).map(|number| format!("table_with_a_usual_name_{number}"));
    let object = |name| ObjectResult {
        object_kind: "table".into(),
        schema: "public".into(),
        name,
        ..Default::default()
    };
    source.report(&task_id, 1, Kind::Objects(ObjectResults { results: names().map(object).collect() })).await;
    let table = |name| TableProgress {
        table: Some(TableName { schema: "public".into(), name }),
        ..Default::default()
    };
    let copy = CopyProgress { tables: names().map(table).collect(), ..Default::default() };
    source.report(&task_id, 1, Kind::Progress(TaskProgress { copy: Some(copy), stream: None })).await;
    coordinator.until(&task_id, |task| task.objects.len() == TABLES && task.progress.is_some()).await;

    let started = Instant::now();
    let page = coordinator.tasks.clone().list_tasks(ListTasksRequest::default()).await.unwrap().into_inner();
    let listed = started.elapsed();
    assert_eq!(page.tasks.len(), TASKS);
    let started = Instant::now();
    let task = coordinator
        .tasks
        .clone()
        .max_decoding_message_size(64 << 20)
        .get_task(GetTaskRequest { task: task_id })
        .await;
    assert_eq!(task.unwrap().into_inner().task.unwrap().objects.len(), TABLES);
    let (shown, grown) = (started.elapsed(), resident().saturating_sub(before));
    eprintln!(
        "{TASKS} tasks: list {listed:?}, show one of {TABLES} tables {shown:?}, {} MiB more",
        grown / 1024
    );
    assert!(grown < 200 * 1024, "{grown} KiB more");
}
