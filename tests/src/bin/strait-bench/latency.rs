//! From the commit at the source to visible at the destination, under 500 transactions a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use strait_tests::wait::{from_environment, patience};

use crate::report::Latency;
use crate::subject::Subject;

const TRANSACTIONS_PER_SECOND: u64 = 500;
const WRITERS: u64 = 4;

/// Writes at the fixed rate and watches the rows arrive.
pub(crate) async fn measure(subject: &Subject) -> Result<Latency> {
    let seconds = from_environment("STRAIT_BENCH_SECONDS", 20);
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

    let mut micros = Vec::new();
    for writer in writers {
        for (id, committed) in writer.await?? {
            let arrived = arrivals.get(&id).context("find an arrival")?;
            micros.push(u64::try_from(arrived.saturating_duration_since(committed).as_micros())?);
        }
    }
    micros.sort_unstable();
    let quantile = |percent: usize| micros[(micros.len() - 1) * percent / 100];
    Ok(Latency {
        transactions: micros.len(),
        median_us: quantile(50),
        p90_us: quantile(90),
        p99_us: quantile(99),
        max_us: quantile(100),
    })
}
