//! The workers of a full copy and what they share.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strait_postgres::Client;
use strait_proto::v1;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::chunk::{ChunkCopy, ChunkOutcome};
use super::plan::TablePlan;
use super::progress::{CopyCounters, TableStage};
use crate::capture::Snapshot;
use crate::error::{During, RunError};
use crate::progress;
use crate::reporter::Reporter;
use crate::sink::Sink;
use crate::source::Source;

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// A full copy, or what is left of one.
pub(crate) struct CopyRun {
    pub(crate) source: Source,
    pub(crate) sink: Sink,
    pub(crate) reporter: Reporter,
    pub(crate) counters: Arc<CopyCounters>,
    /// None where only tables that are copied already are left to be finished.
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) connections: usize,
    pub(crate) tracker: TaskTracker,
}

/// A table that is not ready yet.
#[derive(Debug, Clone)]
pub(crate) struct PlannedTable {
    pub(crate) table_id: u32,
    pub(crate) name: v1::TableName,
    /// Decides the order.
    pub(crate) size_bytes: u64,
    pub(crate) plan: TablePlan,
    /// Chunks that stand in the ledger.
    pub(crate) chunks_done: HashSet<u32>,
    /// All its rows are there; keys and indexes are not.
    pub(crate) copied: bool,
}

struct Shared {
    run: CopyRun,
    tables: Vec<RunningTable>,
    queue: Mutex<VecDeque<Job>>,
}

struct RunningTable {
    planned: PlannedTable,
    /// Chunks that do not stand yet.
    missing: AtomicUsize,
    rewritten: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    /// Position among the tables.
    table: usize,
    chunk: u32,
}

impl CopyRun {
    /// Copies and finishes the tables. Returns those that have to begin again because they were rewritten.
    pub(crate) async fn run(self, mut tables: Vec<PlannedTable>) -> Result<Vec<u32>, RunError> {
        tables.sort_by_key(|table| std::cmp::Reverse(table.size_bytes));
        let queue = jobs(&tables);
        let (complete, mut completed) = mpsc::channel(tables.len().max(1));
        let running = tables.into_iter().map(|planned| RunningTable {
            missing: AtomicUsize::new(queue_length(&planned)),
            rewritten: AtomicBool::new(false),
            planned,
        });
        let shared =
            Arc::new(Shared { tables: running.collect(), queue: Mutex::new(queue.into()), run: self });
        shared.start_with_nothing_missing(&complete).await;

        let mut workers = JoinSet::new();
        let count = shared.run.connections.max(1);
        let readers = if matches!(shared.run.snapshot, Some(Snapshot::Held(_))) { 1 } else { count };
        for _ in 0..readers {
            let worker = Arc::clone(&shared).work(complete.clone());
            workers.spawn(shared.run.tracker.track_future(worker.in_current_span()));
        }
        drop(complete);
        let permits = Arc::new(Semaphore::new(count));
        let mut finishing = JoinSet::new();
        let mut ticks = interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(worker) = workers.join_next() => worker??,
                Some(finished) = finishing.join_next() => finished??,
                Some(table) = completed.recv() => {
                    let finish = Arc::clone(&shared).finish(table, Arc::clone(&permits));
                    finishing.spawn(shared.run.tracker.track_future(finish.in_current_span()));
                }
                _ = ticks.tick(), if !(workers.is_empty() && finishing.is_empty()) => shared.run.report().await,
                else => break,
            }
        }
        shared.run.report().await;
        let rewritten = shared.tables.iter().filter(|table| table.rewritten.load(Ordering::Relaxed));
        Ok(rewritten.map(|table| table.planned.table_id).collect())
    }

    async fn report(&self) {
        let copy = Some(self.counters.snapshot(progress::TABLES_MAX));
        self.reporter.progress(v1::TaskProgress { copy, stream: None }).await;
    }
}

impl Shared {
    async fn start_with_nothing_missing(&self, complete: &mpsc::Sender<usize>) {
        for (index, table) in self.tables.iter().enumerate() {
            if table.missing.load(Ordering::Relaxed) == 0 {
                // The channel holds as many as there are tables, and its receiver outlives this.
                let _ = complete.send(index).await;
            }
        }
    }

    /// One worker: takes chunks from the queue until it is empty.
    async fn work(self: Arc<Self>, complete: mpsc::Sender<usize>) -> Result<(), RunError> {
        let mut client: Option<Client> = None;
        while let Some(job) = self.next() {
            let table = &self.tables[job.table];
            if table.rewritten.load(Ordering::Relaxed) {
                continue;
            }
            let outcome = match &self.run.snapshot {
                Some(Snapshot::Held(reader)) => {
                    // Put back only if the transaction is whole.
                    let mut reader = reader.lock().await;
                    let connection = reader.take().ok_or(RunError::SnapshotGone)?;
                    let outcome = self.copy(job, &connection, None).await?;
                    *reader = (outcome != ChunkOutcome::Existed).then_some(connection);
                    outcome
                }
                Some(Snapshot::Exported(name)) => {
                    let connection = match client.take() {
                        Some(connection) => connection,
                        None => self.run.source.connect().await.during("connect for the full copy")?,
                    };
                    let outcome = self.copy(job, &connection, Some(name.as_str())).await?;
                    client = (outcome != ChunkOutcome::Existed).then_some(connection);
                    outcome
                }
                None => return Err(RunError::SnapshotGone),
            };
            if outcome == ChunkOutcome::Rewritten {
                self.put_aside(table).await;
                continue;
            }
            self.run.reporter.moved().await;
            if table.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
                // As above.
                let _ = complete.send(job.table).await;
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Job> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    async fn copy(
        &self,
        job: Job,
        client: &Client,
        snapshot: Option<&str>,
    ) -> Result<ChunkOutcome, RunError> {
        let planned = &self.tables[job.table].planned;
        let counter = self.run.counters.table(planned.table_id);
        if let Some(counter) = counter {
            counter.enter(TableStage::Copying);
        }
        let copy = ChunkCopy {
            sink: &self.run.sink,
            snapshot_name: snapshot,
            table_id: planned.table_id,
            name: &planned.name,
            plan: &planned.plan,
            number: job.chunk,
            counter,
        };
        copy.run(client).await
    }

    async fn put_aside(&self, table: &RunningTable) {
        if !table.rewritten.swap(true, Ordering::Relaxed) {
            let name = &table.planned.name;
            let text =
                format!("{name} was rewritten at the source while it was copied: its copy begins again");
            self.run.reporter.notice(text).await;
        }
    }

    /// Builds what a copied table still lacks.
    async fn finish(self: Arc<Self>, table: usize, permits: Arc<Semaphore>) -> Result<(), RunError> {
        // Closed by nobody, so there is always a permit to wait for.
        let _permit = permits.acquire().await;
        let planned = &self.tables[table].planned;
        let counter = self.run.counters.table(planned.table_id);
        if let Some(counter) = counter {
            counter.enter(TableStage::Indexing);
        }
        let chunks = u32::try_from(planned.plan.chunks.len()).unwrap_or(u32::MAX);
        let (sink, reporter) = (&self.run.sink, &self.run.reporter);
        sink.finish_table(planned.table_id, planned.plan.generation, chunks, &planned.name, reporter).await?;
        reporter.moved().await;
        if let Some(counter) = counter {
            counter.enter(TableStage::Ready);
        }
        Ok(())
    }
}

/// The chunks that are missing, in the order of the tables.
fn jobs(tables: &[PlannedTable]) -> Vec<Job> {
    let of = |(table, planned): (usize, &PlannedTable)| {
        let missing = missing(planned).map(move |chunk| Job { table, chunk });
        missing.collect::<Vec<_>>()
    };
    tables.iter().enumerate().flat_map(of).collect()
}

fn queue_length(planned: &PlannedTable) -> usize {
    missing(planned).count()
}

fn missing(planned: &PlannedTable) -> impl Iterator<Item = u32> {
    let chunks = if planned.copied { 0 } else { planned.plan.chunks.len() };
    let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
    (0..chunks).filter(|chunk| !planned.chunks_done.contains(chunk))
}

#[cfg(test)]
mod tests {
    use super::super::plan::Chunk;
    use super::*;

    fn planned(chunks: usize, chunks_done: &[u32], copied: bool) -> PlannedTable {
        let chunk = Chunk { relation: 0, from_page: None, to_page: None };
        PlannedTable {
            table_id: 1,
            name: v1::TableName::default(),
            size_bytes: 0,
            plan: TablePlan { chunks: vec![chunk; chunks], ..TablePlan::unknown(1) },
            chunks_done: chunks_done.iter().copied().collect(),
            copied,
        }
    }

    #[test]
    fn only_what_the_ledger_lacks_is_copied() {
        let tables = [
            planned(3, &[1], false),
            planned(2, &[0, 1], false),
            planned(2, &[], true),
            planned(0, &[], false),
        ];
        let jobs: Vec<_> = jobs(&tables).into_iter().map(|job| (job.table, job.chunk)).collect();
        assert_eq!(jobs, [(0, 0), (0, 2)]);
    }
}
