//! From the commit at the source to visible at the destination, under 500 transactions a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use strait_tests::pair::Pair;
use strait_tests::wait::patience;

use crate::subject::{Kind, Subject};

const TRANSACTIONS_PER_SECOND: u64 = 500;
const WRITERS: u64 = 4;

/// From commit to visible, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    /// How many were measured.
    pub(crate) transactions: usize,
    /// Half were quicker.
    pub(crate) median_ms: f64,
    /// Nine of ten were quicker.
    pub(crate) p90_ms: f64,
    /// All but one in a hundred were quicker.
    pub(crate) p99_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
}

const TABLE: &str = "CREATE TABLE bench.arrivals (id bigint PRIMARY KEY, payload text)";

/// Measures a fresh replication for some seconds.
pub(crate) async fn measure(pair: &Pair, kind: Kind, seconds: u64) -> Result<Latency> {
    let subject = Subject::start(pair, kind, TABLE, "").await?;
    let latency = watch(&subject, seconds).await?;
    subject.finish().await?;
    Ok(latency)
}

/// Writes at the fixed rate and watches the rows arrive.
async fn watch(subject: &Subject, seconds: u64) -> Result<Latency> {
    let total = seconds * TRANSACTIONS_PER_SECOND;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = subject.source().connect().await?;
        let insert = client.prepare("INSERT INTO bench.arrivals VALUES ($1, repeat('x', 100))").await?;
        writers.push(tokio::spawn(async move {
            let mut commits = Vec::new();
            let pause =
                Duration::from_secs(1) * u32::try_from(WRITERS)? / u32::try_from(TRANSACTIONS_PER_SECOND)?;
            let mut ticks = tokio::time::interval(pause);
            for number in 0..total / WRITERS {
                ticks.tick().await;
                let id = i64::try_from(number * WRITERS + writer)?;
                client.execute(&insert, &[&id]).await?;
                commits.push((id, Instant::now()));
            }
            anyhow::Ok(commits)
        }));
    }

    let observer = subject.destination().connect().await?;
    // Ids arrive roughly, not exactly, in order.
    let look = observer.prepare("SELECT id FROM bench.arrivals WHERE id >= $1").await?;
    let mut arrivals: HashMap<i64, Instant> = HashMap::new();
    let mut complete_below = 0_i64;
    let deadline = Instant::now() + Duration::from_secs(seconds) + patience();
    while arrivals.len() < usize::try_from(total)? {
        anyhow::ensure!(Instant::now() < deadline, "only {} of {total} rows arrived", arrivals.len());
        let rows = observer.query(&look, &[&complete_below]).await?;
        let now = Instant::now();
        for row in rows {
            arrivals.entry(row.get(0)).or_insert(now);
        }
        while arrivals.contains_key(&complete_below) {
            complete_below += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let mut latencies = Vec::new();
    for writer in writers {
        for (id, committed) in writer.await?? {
            let arrived = arrivals.get(&id).context("find an arrival")?;
            latencies.push(arrived.saturating_duration_since(committed));
        }
    }
    latencies.sort_unstable();
    let quantile = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    Ok(Latency {
        transactions: latencies.len(),
        median_ms: quantile(50),
        p90_ms: quantile(90),
        p99_ms: quantile(99),
        max_ms: quantile(100),
    })
}
