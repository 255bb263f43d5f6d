//! Kill -9 of any process at any time, under load: no change lost, none applied twice, with and without a key.
//!
//! `STRAIT_TEST_KILLS` says how often (5; `make soak` 50).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use rand::{SeedableRng, seq::IndexedRandom};
use strait_proto::v1::TaskState;
use strait_tests::processes::Part;
use strait_tests::proxy::Proxy;
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, from_environment, patience};
use strait_tests::workload::Workload;

fn random() -> StdRng {
    let seed = from_environment("STRAIT_TEST_SEED", rand::random());
    eprintln!("kills: STRAIT_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// One, two or all of the parts.
fn victims(random: &mut StdRng) -> Vec<Part> {
    let number = *[1, 1, 1, 2, 3].choose(random).unwrap_or(&1);
    Part::ALL.choose_multiple(random, number).copied().collect()
}

async fn crash(scenario: &mut Scenario, victims: &[Part]) -> Result<()> {
    for &part in victims {
        scenario.processes()?.kill(part).await?;
    }
    for &part in victims {
        scenario.processes()?.start_again(part).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_changes_flow() -> Result<()> {
    let mut random = random();
    let mut scenario = Scenario::new("killed_stream").await?;
    Workload::prepare(&scenario.source).await?;
    scenario.start_processes().await?;
    let workload = Workload::start(&scenario.source, 4, 200);
    for round in 1..=from_environment("STRAIT_TEST_KILLS", 5) {
        let begun = workload.committed();
        let wanted = begun + random.random_range(20..200);
        eventually(
            "the load goes on",
            patience(),
            async || Ok((workload.committed() > wanted).then_some(())),
        )
        .await?;
        let victims = victims(&mut random);
        eprintln!("kill {round}: {victims:?}");
        crash(&mut scenario, &victims).await?;
        // Whether or not it has caught up: some kills hit the reconnecting.
        if random.random_bool(0.5) {
            scenario.settle().await?;
        }
    }
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_the_copy() -> Result<()> {
    let mut random = random();
    let mut scenario = Scenario::new("killed_copy").await?;
    scenario
        .source
        .run(
            "CREATE TABLE large (id int PRIMARY KEY, v text);
             INSERT INTO large SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 50000) g;
             CREATE TABLE large_keyless (a int, v text);
             INSERT INTO large_keyless SELECT g % 1000, repeat('k', 200) FROM generate_series(1, 100000) g;
             CREATE TABLE wide AS SELECT g AS a, repeat(md5(g::text), 200) AS v FROM generate_series(1, 2000) g;
             CREATE INDEX ON large (v)",
        )
        .await?;
    Workload::prepare(&scenario.source).await?;
    let workload = Workload::start(&scenario.source, 2, 60);
    // A slow line, so that the copy lasts long enough to be hit in its middle.
    let sink = SocketAddr::from((Ipv4Addr::LOCALHOST, scenario.layout().sink_port));
    let line = Proxy::with_rate(sink, 8_000_000).await?;
    scenario.layout().source_to_sink = line.port();
    let spec = scenario.spec();
    scenario.create_with_processes(spec).await?;
    scenario.tasks.start(scenario.task_id(), false).await?;

    let (wanted, mut kills) = (from_environment("STRAIT_TEST_KILLS", 5), 0);
    while kills < wanted {
        let copying = eventually("the copy runs", patience(), async || {
            let state = scenario.task().await.map(|task| task.state());
            Ok(match state {
                Ok(TaskState::FullSync) => Some(true),
                Ok(TaskState::Incremental) => Some(false),
                _ => None,
            })
        })
        .await?;
        if !copying {
            break;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
        let victims = victims(&mut random);
        kills += 1;
        eprintln!("kill {kills} during the copy: {victims:?}");
        crash(&mut scenario, &victims).await?;
    }
    ensure!(kills > 1, "the copy was over before anything could be killed");
    scenario.wait_for(TaskState::Incremental).await?;
    workload.stop().await?;
    scenario.assert_equal().await?;
    scenario.foreign_keys_arrived().await?;
    scenario.finish().await
}
