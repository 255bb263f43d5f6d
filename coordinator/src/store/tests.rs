use strait_proto::v1::{ObjectResult, PrecheckItem, RetryPolicy, TaskProgress, TaskSpec};
use strait_proto::{Epoch, TaskId};

use super::*;
use crate::task::{Phase, State, TaskRecord};

fn record(id: &str) -> TaskRecord {
    TaskRecord {
        task_id: id.parse().unwrap(),
        spec: TaskSpec {
            name: format!("task-{id}"),
            retry: Some(RetryPolicy { connection_minutes: 720, other_minutes: 10 }),
            ..TaskSpec::default()
        },
        name_generated: true,
        client_token: format!("token-{id}"),
        state: State::Created,
        epoch: Epoch(0),
        assigned: false,
        once: true,
        created_at_us: 1,
        state_changed_at_us: 2,
        precheck: vec![PrecheckItem { name: "source.wal_level".into(), ..PrecheckItem::default() }],
        progress: Some(TaskProgress::default()),
    }
}

fn object(name: &str, detail: &str) -> ObjectResult {
    ObjectResult {
        object_kind: "table".into(),
        schema: "public".into(),
        name: name.into(),
        detail: detail.into(),
        ..ObjectResult::default()
    }
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state/coordinator.sqlite")
    }

    async fn open(&self) -> Store {
        Store::open(&self.path()).await.unwrap()
    }
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let directory = Directory::new();
    let store = directory.open().await;
    let mut task = record("aaaaaaaaaaaa");
    assert_eq!(store.insert_task(&task, "created".into()).await.unwrap(), 1);
    task.state = State::Running { phase: Phase::FullSync };
    task.epoch = Epoch(3);
    task.assigned = true;
    assert_eq!(store.save_task(&task, vec!["one".into(), "two".into()]).await.unwrap(), 3);
    store.save_objects(&task.task_id, vec![object("b", "1"), object("a", "2")]).await.unwrap();
    store.save_objects(&task.task_id, vec![object("b", "3")]).await.unwrap();
    store.close().await;

    let store = directory.open().await;
    let loaded = store.load_live().await.unwrap();
    let objects = vec![object("a", "2"), object("b", "3")];
    assert_eq!(loaded, [LoadedTask { record: task.clone(), objects, last_event_id: 3 }]);
    let events = store.events_after(&task.task_id, 1, 1).await.unwrap();
    assert_eq!(events.iter().map(|event| event.text.as_str()).collect::<Vec<_>>(), ["one"]);
    assert_eq!(store.find_by_token("token-aaaaaaaaaaaa").await.unwrap(), Some(task));
    assert_eq!(store.find_by_token("").await.unwrap(), None);
}

#[tokio::test]
async fn released_tasks_are_kept_apart_and_can_be_replaced() {
    let directory = Directory::new();
    let store = directory.open().await;
    let mut task = record("aaaaaaaaaaaa");
    store.insert_task(&task, "created".into()).await.unwrap();
    store.save_objects(&task.task_id, vec![object("a", "")]).await.unwrap();
    task.state = State::Released;
    store.save_task(&task, vec!["released".into()]).await.unwrap();
    assert_eq!(store.load_live().await.unwrap(), []);
    assert_eq!(store.list_released().await.unwrap(), [task.clone()]);
    assert_eq!(store.released_by_name("task-aaaaaaaaaaaa").await.unwrap(), [task.task_id.clone()]);

    let anew = TaskRecord { epoch: Epoch(4), client_token: "another".into(), ..record("aaaaaaaaaaaa") };
    store.insert_task(&anew, "created anew".into()).await.unwrap();
    let loaded = store.load_live().await.unwrap();
    assert_eq!(loaded, [LoadedTask { record: anew, objects: vec![], last_event_id: 3 }]);
    assert_eq!(store.list_released().await.unwrap(), []);
    assert_eq!(store.find_by_token("token-aaaaaaaaaaaa").await.unwrap(), None);
}

#[tokio::test]
async fn events_are_bounded_in_length_and_number() {
    let directory = Directory::new();
    let store = directory.open().await;
    let task_id: TaskId = "aaaaaaaaaaaa".parse().unwrap();
    store.append_events(&task_id, vec!["ä".repeat(5000)]).await.unwrap();
    let first = store.events_after(&task_id, 0, 10).await.unwrap().remove(0);
    assert_eq!(first.text, "ä".repeat(2048));
    let many = (0..10_000).map(|n| n.to_string()).collect();
    assert_eq!(store.append_events(&task_id, many).await.unwrap(), 10_001);
    let oldest = store.events_after(&task_id, 0, 1).await.unwrap().remove(0);
    assert_eq!((oldest.event_id, oldest.text.as_str()), (2, "0"));
}

#[tokio::test]
async fn a_second_coordinator_is_kept_out() {
    let directory = Directory::new();
    let store = directory.open().await;
    store.insert_task(&record("aaaaaaaaaaaa"), "created".into()).await.unwrap();
    let second = tokio::spawn({
        let path = directory.path();
        async move { Store::open(&path).await.map(|_| ()) }
    });
    assert!(matches!(second.await.unwrap(), Err(StoreError::InUse { .. })));
    store.close().await;
    assert!(matches!(store.load_live().await, Err(StoreError::Closed)));
    assert_eq!(directory.open().await.load_live().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    let directory = Directory::new();
    directory.open().await.close().await;
    let connection = rusqlite::Connection::open(directory.path()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Store::open(&directory.path()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, known: migrations::VERSION, .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_an_error() {
    let directory = Directory::new();
    std::fs::create_dir_all(directory.path().parent().unwrap()).unwrap();
    std::fs::write(directory.path(), "this is not a database, and longer than a header".repeat(50)).unwrap();
    assert!(matches!(Store::open(&directory.path()).await.map(|_| ()), Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn commits_are_synced_to_a_write_ahead_journal() {
    let directory = Directory::new();
    let store = directory.open().await;
    let pragmas = store.call("read pragmas", |connection| {
        let text =
            |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, String>(0));
        let number =
            |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        Ok((text("journal_mode")?, text("locking_mode")?, number("synchronous")?))
    });
    assert_eq!(pragmas.await.unwrap(), ("wal".to_owned(), "exclusive".to_owned(), 2));
}

#[tokio::test]
async fn a_store_of_every_earlier_version_keeps_its_tasks() {
    let task = record("aaaaaaaaaaaa");
    for version in 1..migrations::VERSION {
        let directory = Directory::new();
        std::fs::create_dir_all(directory.path().parent().unwrap()).unwrap();
        let mut connection = Connection::open(directory.path()).unwrap();
        let transaction = connection.transaction().unwrap();
        for migration in migrations::MIGRATIONS.iter().take(version as usize) {
            transaction.execute_batch(migration).unwrap();
        }
        transaction.pragma_update(None, "user_version", version).unwrap();
        tasks::write(&transaction, &task).unwrap();
        transaction.commit().unwrap();
        drop(connection);

        let store = directory.open().await;
        let loaded: Vec<_> =
            store.load_live().await.unwrap().into_iter().map(|loaded| loaded.record).collect();
        assert_eq!(loaded, std::slice::from_ref(&task), "version {version}");
        assert_eq!(store.alerts().await.unwrap(), []);
    }
}
