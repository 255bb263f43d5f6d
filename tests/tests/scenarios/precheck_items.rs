//! Each item of the precheck, provoked on real servers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use strait_proto::v1::{ObjectPattern, ObjectSelection, PrecheckItem, PrecheckOutcome, Task, TaskSpec};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::processes::strait;
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;

fn items(task: &Task) -> BTreeMap<&str, &PrecheckItem> {
    task.precheck.iter().map(|item| (&*item.name, item)).collect()
}

/// Fails unless each of these items has this outcome, says this, and what to do.
fn assert_items(task: &Task, outcome: PrecheckOutcome, wanted: &[(&str, &str)]) -> Result<()> {
    let items = items(task);
    for (name, words) in wanted {
        let item = items.get(name).with_context(|| format!("no item {name}: {:#?}", task.precheck))?;
        ensure!(item.outcome() == outcome, "{item:#?}");
        let said = format!("{}\n{}\n{}", item.detail, item.cause, item.remedy);
        ensure!(said.contains(words), "{words:?} is not said: {item:#?}");
        ensure!(!item.detail.is_empty() && !item.cause.is_empty() && !item.remedy.is_empty(), "{item:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_doubtful_about_the_servers_is_a_warning_of_its_own() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let doubtful = ServerOptions::new(source)
        .set("logical_decoding_work_mem", "64kB")
        .set("wal_sender_timeout", "3s")
        .set("max_slot_wal_keep_size", "1GB")
        .set("max_prepared_transactions", "2")
        .set("max_replication_slots", "3")
        .set("max_wal_senders", "2");
    let pair = Pair::of(doubtful, ServerOptions::new(destination)).await?;
    let from = Database::create(&pair.source, "doubtful").await?;
    let options = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    let to = Database::create_with(&pair.destination, "doubtful", options).await?;
    let mut scenario = Scenario::between(from, to).await?;
    scenario
        .source
        .run_each(&[
            "CREATE TABLE parent (id int PRIMARY KEY)",
            "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)",
            "CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY)",
            "CREATE TABLE keyless (a int)",
            "SELECT pg_create_physical_replication_slot('standby_1')",
            "SELECT pg_create_logical_replication_slot('forgotten', 'test_decoding')",
        ])
        .await?;
    for number in 0..5 {
        scenario.source.run(&format!("INSERT INTO keyless VALUES ({number})")).await?;
        scenario.source.run("SELECT pg_switch_wal()").await?;
    }
    scenario.source.run("BEGIN; INSERT INTO keyless VALUES (9); PREPARE TRANSACTION 'half done'").await?;
    let exclude = vec![ObjectPattern { schema: "public".into(), table: "parent".into(), options: None }];
    let objects = Some(ObjectSelection { exclude, ..ObjectSelection::default() });
    let spec = TaskSpec { objects, ..scenario.spec() };
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    assert_items(
        &task,
        PrecheckOutcome::Warning,
        &[
            ("source.logical_decoding_work_mem", "SET logical_decoding_work_mem = '64MB'"),
            ("source.wal_sender_timeout", "wal_sender_timeout = 3s"),
            ("source.max_slot_wal_keep_size", "max_slot_wal_keep_size = 1GB"),
            ("source.slots_free", "max_replication_slots = 3, 2 in use"),
            ("source.idle_slots", "pg_drop_replication_slot('forgotten')"),
            ("source.standbys", "standby_1 (slot)"),
            ("source.prepared_transactions", "half done"),
            ("source.foreign_key_parents", "public.child.child_parent_fkey: it refers to public.parent"),
            ("source.unsupported_objects", "table: 1"),
            ("source.replica_identity", "public.keyless"),
            ("destination.encoding", "LATIN1"),
            ("destination.collation", "libc C C"),
        ],
    )?;
    ensure!(items(&task)["destination.free_space"].detail.contains("come in addition"), "{task:#?}");

    // As a person reads and accepts it.
    let coordinator = scenario.layout().coordinator_uri();
    let task_id = scenario.task_id().to_owned();
    let command = ["task", "precheck", &task_id, "--coordinator", &coordinator];
    let shown = strait(&command).await?;
    let text = String::from_utf8_lossy(&shown.stdout);
    ensure!(shown.status.success(), "{shown:?}");
    ensure!(text.contains("WARNINGS\n") && text.contains("  ! source.standbys\n"), "{text}");
    ensure!(text.contains("Confirm what you accept"), "{text}");
    let confirm = [&command[..], &["--confirm", "source.standbys", "--output", "json"]].concat();
    let confirmed = strait(&confirm).await?;
    ensure!(confirmed.status.success(), "{confirmed:?}");
    let view: serde_json::Value = serde_json::from_slice(&confirmed.stdout)?;
    ensure!(view["confirmed"] == 1 && view["success_percent"] == 100, "{view}");
    let strict = strait(&["task", "start", &task_id, "--confirmed", "--coordinator", &coordinator]).await?;
    let said = String::from_utf8_lossy(&strict.stderr);
    ensure!(strict.status.code() == Some(1) && said.contains("warnings are not confirmed: "), "{said}");

    scenario.source.run("ROLLBACK PREPARED 'half done'").await?;
    scenario.expect_footprint("prepared half done", "");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_that_a_role_lacks_is_an_item_with_the_grant_to_make() -> Result<()> {
    let mut scenario = Scenario::new("lacking").await?;
    scenario
        .source
        .run("CREATE SCHEMA \"Secret\"; CREATE TABLE \"Secret\".\"t x\" (id int PRIMARY KEY)")
        .await?;
    scenario.destination.run("CREATE SCHEMA \"Secret\"").await?;
    let (reader, writer) =
        (format!("reader_{}", scenario.source.name()), format!("writer_{}", scenario.source.name()));
    scenario.source.run(&format!("CREATE ROLE {reader} LOGIN REPLICATION")).await?;
    scenario.destination.run(&format!("CREATE ROLE {writer} LOGIN")).await?;
    scenario.layout().source_uri = scenario.source.uri().replace("postgres@", &format!("{reader}@"));
    scenario.layout().destination_uri =
        scenario.destination.uri().replace("postgres@", &format!("{writer}@"));
    let missing = ObjectPattern { schema: "nowhere".into(), ..ObjectPattern::default() };
    let secret = ObjectPattern { schema: "Secret".into(), ..ObjectPattern::default() };
    let objects = Some(ObjectSelection { include: vec![secret, missing], ..ObjectSelection::default() });
    let spec = TaskSpec { objects, ..scenario.spec() };
    scenario.create_in_process(spec).await?;
    let task = scenario.tasks.precheck(scenario.task_id()).await?;
    assert_items(
        &task,
        PrecheckOutcome::Failed,
        &[
            ("source.selection", "schema nowhere"),
            ("source.read_privilege", "GRANT USAGE ON SCHEMA \"Secret\""),
            ("source.publication_privilege", "OWNER TO"),
            ("destination.privileges", "ON SCHEMA \"Secret\""),
        ],
    )?;
    assert_items(
        &task,
        PrecheckOutcome::Warning,
        &[("destination.replica_role", "session_replication_role")],
    )?;
    scenario.finish().await
}
