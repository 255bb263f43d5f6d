//! How fast a backlog is worked off: many small transactions, and one large one.

use std::time::{Duration, Instant};

use anyhow::Result;
use strait_tests::wait::{eventually, from_environment};

use crate::report::Throughput;
use crate::subject::Subject;

const DEADLINE: Duration = Duration::from_secs(900);

/// Holds the replication, writes, and times how long the destination takes once it is let go.
pub(crate) async fn measure(subject: &Subject) -> Result<Throughput> {
    let transactions = from_environment("STRAIT_BENCH_TRANSACTIONS", 100_000);
    let singles = backlog(
        subject,
        &[
            "SET synchronous_commit = off",
            // One transaction a row: an insert, and an update of an earlier row each fourth time.
            &format!(
                "DO $$ BEGIN FOR i IN 1..{transactions} LOOP
                     INSERT INTO bench.singles VALUES (i, 0, repeat('x', 100));
                     IF i % 4 = 0 THEN UPDATE bench.singles SET n = i WHERE id = i / 2; END IF;
                     COMMIT;
                 END LOOP; END $$"
            ),
            "SET synchronous_commit = on",
        ],
        "SELECT count(*), coalesce(sum(n), 0) FROM bench.singles",
    )
    .await?;
    let rows = transactions * 5;
    let bulk = backlog(
        subject,
        &[&format!(
            "BEGIN; INSERT INTO bench.bulk SELECT g, 0, repeat('x', 100) FROM generate_series(1, {rows}) g;
             UPDATE bench.bulk SET n = id WHERE id % 2 = 0; DELETE FROM bench.bulk WHERE id % 10 = 0; COMMIT"
        )],
        "SELECT count(*), coalesce(sum(n), 0) FROM bench.bulk",
    )
    .await?;
    let changes = rows + rows / 2 + rows / 10;
    Ok(Throughput {
        transactions_per_second: per_second(transactions, singles),
        large_transaction_changes_per_second: per_second(changes, bulk),
    })
}

async fn backlog(subject: &Subject, writes: &[&str], state: &str) -> Result<Duration> {
    subject.hold().await?;
    subject.source().run_each(writes).await?;
    let wanted = subject.source().text(state).await?;
    let begun = Instant::now();
    subject.release().await?;
    eventually("the backlog is worked off", DEADLINE, async || {
        Ok((subject.destination().text(state).await? == wanted).then_some(()))
    })
    .await?;
    Ok(begun.elapsed())
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn per_second(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64()) as u64
}
