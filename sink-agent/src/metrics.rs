//! The metrics and spans of this crate, and their names as a collector shows them. Counted by batch, never by row.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use strait_proto::TaskId;

/// The meter of this crate's metrics.
const METER: &str = "strait-sink-agent";
/// Attribute of all of them: the task.
const TASK_ID: &str = "strait.task.id";

/// Counter: row changes that were applied.
const ROWS: &str = "strait.apply.rows";
/// Counter: transactions of the source that were applied.
const TRANSACTIONS: &str = "strait.apply.transactions";
/// Counter, bytes: frames that were applied, as they were received.
const RECEIVED: &str = "strait.apply.received";
/// Histogram: row changes of a batch.
const BATCH_ROWS: &str = "strait.apply.batch.rows";
/// Histogram, seconds: how long a batch took, its COMMIT included.
const DURATION: &str = "strait.apply.duration";
/// Counter: changes that met a row, or the lack of one, that the source did not have.
const CONFLICTS: &str = "strait.apply.conflicts";
/// Counter: batches that were applied row by row, as sets would not do.
const FALLBACKS: &str = "strait.apply.fallbacks";

/// What is measured of one task's batches.
pub(crate) struct ApplyMetrics {
    task: [KeyValue; 1],
    rows: Counter<u64>,
    transactions: Counter<u64>,
    received: Counter<u64>,
    batch_rows: Histogram<u64>,
    duration: Histogram<f64>,
    conflicts: Counter<u64>,
    fallbacks: Counter<u64>,
}

/// One batch that was applied.
pub(crate) struct Applied {
    pub(crate) rows: u64,
    pub(crate) transactions: u64,
    pub(crate) bytes: u64,
    pub(crate) conflicts: u64,
    pub(crate) fell_back: bool,
    pub(crate) took: Duration,
}

impl ApplyMetrics {
    pub(crate) fn new(task_id: &TaskId) -> Self {
        let meter = opentelemetry::global::meter(METER);
        Self {
            task: [KeyValue::new(TASK_ID, task_id.to_string())],
            rows: meter.u64_counter(ROWS).build(),
            transactions: meter.u64_counter(TRANSACTIONS).build(),
            received: meter.u64_counter(RECEIVED).with_unit("By").build(),
            batch_rows: meter
                .u64_histogram(BATCH_ROWS)
                .with_boundaries(vec![1.0, 10.0, 100.0, 1e3, 1e4, 1e5])
                .build(),
            duration: meter
                .f64_histogram(DURATION)
                .with_unit("s")
                .with_boundaries(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
                ])
                .build(),
            conflicts: meter.u64_counter(CONFLICTS).build(),
            fallbacks: meter.u64_counter(FALLBACKS).build(),
        }
    }

    pub(crate) fn record(&self, applied: &Applied) {
        let Applied { rows, transactions, bytes, conflicts, fell_back, took } = *applied;
        self.rows.add(rows, &self.task);
        self.transactions.add(transactions, &self.task);
        self.received.add(bytes, &self.task);
        self.batch_rows.record(rows, &self.task);
        self.duration.record(took.as_secs_f64(), &self.task);
        // Those that are 0 show that there were none.
        self.conflicts.add(conflicts, &self.task);
        self.fallbacks.add(fell_back.into(), &self.task);
    }
}
