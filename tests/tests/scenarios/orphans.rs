//! What stands at the endpoints, and what is left there by tasks that nobody knows any more.

use anyhow::{Context, Result, ensure};
use strait_tests::processes::strait;
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found_on_both_sides_and_removed_when_asked_and_nothing_else_is() -> Result<()> {
    const SLOTS: &str =
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT temporary";
    let mut scenario = Scenario::new("orphans").await?;
    scenario.start().await?;
    // A name that no other test uses: slots are the server's.
    let orphan = format!("{:0>12}", std::process::id());
    let slot = format!("dts_sync_{orphan}");
    scenario
        .source
        .run_each(&[
            &format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
            &format!("CREATE PUBLICATION \"{slot}\""),
        ])
        .await?;
    scenario
        .destination
        .run(&format!("INSERT INTO strait.task (task_id, name) VALUES ('{orphan}', 'gone')"))
        .await?;
    let coordinator = scenario.layout().coordinator_uri();
    let check = ["endpoints", "--check", "--coordinator", &coordinator, "--output", "json"];
    let checked = strait(&check).await?;
    ensure!(checked.status.success(), "{checked:?}");
    let endpoints: serde_json::Value = serde_json::from_slice(&checked.stdout)?;
    let of = |role: &str| endpoints.as_array().and_then(|all| all.iter().find(|it| it["role"] == role));
    let (source, sink) = (of("source").context("a source")?, of("sink").context("a sink")?);
    ensure!(source["server"].as_str().is_some_and(|server| server.starts_with("PostgreSQL ")), "{source}");
    let named = |list: &serde_json::Value, name: &str| {
        list.as_array().is_some_and(|all| all.iter().any(|it| it["name"] == name))
    };
    let own = format!("dts_sync_{}", scenario.task_id());
    ensure!(named(&source["slots"], &own) && named(&source["slots"], &slot), "{source}");
    let orphans: Vec<_> =
        source["orphans"].as_array().context("orphans")?.iter().map(|it| &it["task_id"]).collect();
    ensure!(orphans == [&orphan, &orphan], "slot and publication: {source}");
    ensure!(sink["orphans"][0]["task_id"] == *orphan && sink["orphans"][1].is_null(), "{sink}");
    let text = strait(&check[..4]).await?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    ensure!(
        text.contains(&format!("strait endpoints --remove-orphan {orphan} --agent source --role source")),
        "{text}"
    );
    ensure!(scenario.source.rows(SLOTS).await?.len() == 2, "looking removes nothing");

    let remove = async |task: &str, agent: &str, role: &str| {
        let place = ["--agent", agent, "--role", role, "--endpoint", "main", "--coordinator", &coordinator];
        strait(&[&["endpoints", "--remove-orphan", task][..], &place[..]].concat()).await
    };
    let task_id = scenario.task_id().to_owned();
    let refused = remove(&task_id, "source", "source").await?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    for agent in ["source", "sink"] {
        let removed = remove(&orphan, agent, agent).await?;
        ensure!(removed.status.success(), "{removed:?}");
    }
    ensure!(scenario.source.rows(SLOTS).await? == [own], "the task keeps its slot");
    let left = format!("SELECT count(*) FROM strait.task WHERE task_id = '{orphan}'");
    ensure!(scenario.destination.number(&left).await? == 0);
    scenario.assert_equal().await?;
    scenario.finish().await
}
