//! The executing half of a stream session: batches in, acks out, and what has to be done between
//! transactions.

use std::time::Duration;

use strait_postgres::ConnectionUri;
use strait_proto::Lsn;
use strait_runtime::telemetry::names;
use strait_runtime::trace_context::{continue_from, is_sampled};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument as _;
use v1::stream_changes_response::Message;

use strait_proto::v1;

use super::arrivals::Arrivals;
use super::batch::{Batch, Extent};
use super::behind::Behind;
use super::change::Operation;
use super::executor::{Executor, Outcome};
use super::lanes::{Lanes, folded};
use super::replies::{Counters, Notices, Replies};
use super::the_other_says_why;
use crate::error::Error;
use crate::metrics::{Applied, ApplyMetrics};

/// An idle position is written no more often than this: the heartbeat of an idle source must not cost a
/// commit each.
const IDLE_WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Executes the batches of one session.
pub(crate) struct Execution {
    executor: Executor,
    lanes: Lanes,
    /// The destination stands within a batch that lanes have applied in part.
    incomplete: bool,
    behind: Behind,
    replies: Replies,
    uri: ConnectionUri,
    arrivals: Arrivals,
    /// Everything before it is visible here.
    applied_lsn: Lsn,
    last_write: Instant,
    counters: Counters,
    notices: Notices,
    metrics: ApplyMetrics,
    /// The trace that the next ack belongs to; empty where none is sent.
    traceparent: String,
}

impl Execution {
    pub(crate) fn new(
        executor: Executor,
        lanes: Lanes,
        incomplete: bool,
        behind: Behind,
        replies: Replies,
        uri: ConnectionUri,
        arrivals: Arrivals,
    ) -> Self {
        let metrics = ApplyMetrics::new(executor.task_id());
        let applied_lsn = executor.durable_lsn();
        let (last_write, counters, notices) = (Instant::now(), Counters::default(), Notices::default());
        Self {
            executor,
            lanes,
            incomplete,
            behind,
            replies,
            uri,
            arrivals,
            applied_lsn,
            last_write,
            counters,
            notices,
            metrics,
            traceparent: String::new(),
        }
    }

    /// Runs until something fails.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        done: mpsc::Sender<()>,
    ) -> Result<(), Error> {
        self.between_transactions().await?;
        self.ack().await?;
        loop {
            let write_at = self.last_write + IDLE_WRITE_INTERVAL;
            let idle = self.is_idle();
            tokio::select! {
                biased;
                batch = batches.recv() => {
                    let Some(batch) = batch else { return the_other_says_why().await };
                    self.batch(batch).await?;
                    if done.send(()).await.is_err() {
                        return the_other_says_why().await;
                    }
                }
                () = tokio::time::sleep_until(write_at), if self.owes_write() => self.write().await?,
                () = self.behind.due(), if idle => {}
            }
            self.between_transactions().await?;
        }
    }

    fn is_idle(&self) -> bool {
        !self.executor.in_pieces() && !self.incomplete
    }

    /// An idle position is acknowledged as applied and not written yet.
    fn owes_write(&self) -> bool {
        self.is_idle() && self.applied_lsn > self.executor.durable_lsn()
    }

    async fn batch(&mut self, batch: Batch) -> Result<(), Error> {
        let changes =
            batch.operations.iter().filter(|operation| matches!(operation, Operation::Row(_))).count();
        match batch.extent {
            Extent::Whole { end_lsn } if batch.operations.is_empty() && !batch.completes => {
                self.applied_lsn = self.applied_lsn.max(end_lsn);
                if self.last_write.elapsed() >= IDLE_WRITE_INTERVAL {
                    self.executor.advance(self.applied_lsn).await?;
                    self.last_write = Instant::now();
                }
            }
            extent => {
                let span = tracing::info_span!(parent: None, names::SPAN_APPLY, strait.changes = changes);
                continue_from(&span, &batch.traceparent);
                let started = Instant::now();
                let outcome = self.apply(&batch, extent).instrument(span).await?;
                let took = started.elapsed();
                tracing::debug!(changes, transactions = batch.transactions, ?took, "applied a batch");
                self.metrics.record(&Applied {
                    rows: changes as u64,
                    transactions: batch.transactions,
                    bytes: batch.credit,
                    conflicts: outcome.conflicts.kinds().map(|(_, count)| count).sum(),
                    fell_back: outcome.fallback.is_some(),
                    took,
                });
                if is_sampled(&batch.traceparent) {
                    self.traceparent = batch.traceparent;
                }
                self.incomplete = false;
                self.counters.add(&outcome.conflicts);
                if let Some(reason) = outcome.fallback {
                    self.notices.fallback(&self.replies, &reason).await?;
                }
                self.notices.conflicts(&self.replies, &outcome.conflicts).await?;
                for operation in &batch.operations {
                    if let Operation::Suspend(suspension) = operation {
                        tracing::warn!(table = %suspension.table, suspension.reason, "a table is suspended");
                        self.replies.send(Message::Issue(suspension.issue())).await?;
                    }
                }
                if !self.executor.in_pieces() {
                    self.applied_lsn = self.executor.durable_lsn();
                    self.last_write = Instant::now();
                }
            }
        }
        self.counters.changes += changes as u64;
        self.counters.transactions += batch.transactions;
        if batch.extent != Extent::Piece {
            self.ack().await?;
        }
        self.replies.credit(batch.credit).await
    }

    async fn apply(&mut self, batch: &Batch, extent: Extent) -> Result<Outcome, Error> {
        let operations = &batch.operations;
        match (&batch.lanes, extent) {
            (Some(plans), Extent::Whole { end_lsn }) if self.behind.foreign_keys.are_done() => {
                self.lanes.run(&mut self.executor, operations, plans, end_lsn).await
            }
            // A foreign key that is being validated must see committed states of the source.
            (Some(_), _) => self.executor.run(operations, folded(operations)?.as_deref(), extent).await,
            (None, _) => self.executor.run(operations, batch.steps.as_deref(), extent).await,
        }
    }

    async fn write(&mut self) -> Result<(), Error> {
        self.executor.advance(self.applied_lsn).await?;
        self.last_write = Instant::now();
        self.ack().await
    }

    async fn ack(&mut self) -> Result<(), Error> {
        let (applied_lsn, durable_lsn) = (self.applied_lsn, self.executor.durable_lsn());
        let done = self.behind.is_done();
        let frame = self.arrivals.applied(applied_lsn, Instant::now()).unwrap_or_default();
        let traceparent = std::mem::take(&mut self.traceparent);
        self.replies.send(self.counters.ack(applied_lsn, durable_lsn, done, frame, traceparent)).await
    }

    /// What may only happen while no transaction is open: foreign keys and other objects.
    async fn between_transactions(&mut self) -> Result<(), Error> {
        if !self.is_idle() || self.behind.is_done() {
            return Ok(());
        }
        let client = self.executor.connection().client();
        let results = self.behind.step(client, &self.uri, self.executor.durable_lsn()).await?;
        for result in results {
            self.replies.send(Message::Object(result)).await?;
        }
        if self.behind.is_done() {
            self.ack().await?;
        }
        Ok(())
    }
}
