//! How fast a backlog is worked off, and what it costs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use strait_tests::database::Database;
use strait_tests::pair::Pair;

use crate::meter::{Meter, Used};
use crate::subject::{Kind, Subject};
use crate::workload::{MARKER_LOOK, MARKER_TABLE, MARKER_WRITE, Workload};

const DEADLINE: Duration = Duration::from_secs(1800);
/// Small beside the shortest run; a look costs a tenth of a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// One backlog, worked off.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Drained {
    /// From the order to go on until the destination holds the last transaction.
    pub(crate) wall_seconds: f64,
    /// What was used meanwhile.
    #[serde(flatten)]
    pub(crate) used: Used,
}

/// Holds a fresh replication, writes, lets it go and watches.
pub(crate) async fn measure(pair: &Pair, kind: Kind, workload: &Workload) -> Result<Drained> {
    let tables = format!("{}; {MARKER_TABLE}", workload.tables);
    let mut subject = Subject::start(pair, kind, &tables, &workload.fill).await?;
    subject.hold().await?;
    write(subject.source(), workload).await?;
    checkpoint(pair).await?;

    let meter = Meter::start(pair, subject.processes()?)?;
    let begun = Instant::now();
    subject.release().await?;
    wait_for_marker(&mut subject).await?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    let used = meter.stop(pair, subject.processes()?)?;

    let wanted = subject.source().text(workload.state).await?;
    let found = subject.destination().text(workload.state).await?;
    ensure!(found == wanted, "the source holds {wanted}, the destination {found}");
    subject.finish().await?;
    Ok(Drained { wall_seconds, used })
}

/// Writes as fast as the server can; the last transaction waits for the disk, and so for all before it.
pub(crate) async fn write(source: &Database, workload: &Workload) -> Result<()> {
    let writer = source.connect().await?;
    writer.batch_execute("SET synchronous_commit = off").await?;
    for sql in &workload.writes {
        writer
            .batch_execute(sql)
            .await
            .with_context(|| format!("write workload {}", workload.letter.name()))?;
    }
    writer.batch_execute("SET synchronous_commit = on").await?;
    Ok(writer.batch_execute(MARKER_WRITE).await?)
}

/// So that no checkpoint of what was before falls into what is measured.
async fn checkpoint(pair: &Pair) -> Result<()> {
    for server in [&pair.source, &pair.destination] {
        server.connect("postgres").await?.batch_execute("CHECKPOINT").await?;
    }
    Ok(())
}

async fn wait_for_marker(subject: &mut Subject) -> Result<()> {
    let begun = Instant::now();
    let observer = subject.destination().connect().await?;
    let look = observer.prepare(MARKER_LOOK).await?;
    let mut asked = begun;
    while observer.query_opt(&look, &[]).await?.is_none() {
        ensure!(begun.elapsed() < DEADLINE, "the backlog is not worked off within {DEADLINE:?}");
        if asked.elapsed() > ASK_EVERY {
            asked = Instant::now();
            subject.assert_alive().await?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
