//! The metrics of this crate, and their names as a collector shows them.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};
use strait_proto::TaskId;
use strait_proto::v1::{HopBytes, HopLatency, StreamProgress, TaskProgress};

/// The meter of this crate's metrics.
const METER: &str = "strait-source-agent";
/// Attribute of all of them: the task.
const TASK_ID: &str = "strait.task.id";
/// Attribute: the part of the way of a change, see the metrics.
const HOP: &str = "strait.stream.hop";

/// Histogram, seconds: commit at the source to visible at the destination, of the slowest heartbeat of each report.
const LATENCY: &str = "strait.stream.latency";
/// Histogram, seconds: the same heartbeat's parts. Attribute `strait.stream.hop`: decode, send, network, apply, durable.
const HOP_DURATION: &str = "strait.stream.hop.duration";
/// Gauge, bytes of the source's log: what a hop has before it. Attribute `strait.stream.hop`: decode, send, apply, durable.
const HOP_PENDING: &str = "strait.stream.hop.pending";
/// Gauge, bytes: frames that were sent and are not consumed.
const IN_FLIGHT: &str = "strait.stream.in_flight";
/// Gauge, seconds: age of the oldest heartbeat under way; 0 where none is.
const HEARTBEAT_AGE: &str = "strait.stream.heartbeat.age";
/// Gauge: 1 while the throttle is what limits the stream, otherwise 0.
const THROTTLED: &str = "strait.stream.throttled";

/// Counter: row changes that were sent.
const ROWS: &str = "strait.stream.rows";
/// Counter, bytes: frames that were sent, before compression.
const SENT: &str = "strait.stream.sent";
/// Histogram, bytes: one frame.
const FRAME_SIZE: &str = "strait.stream.frame.size";
/// Gauge, bytes of the source's log: what the task's slot keeps.
const SLOT_RETAINED: &str = "strait.slot.retained";
/// Gauge: rows that the full copy has copied.
const COPY_ROWS: &str = "strait.copy.rows";
/// Gauge, bytes: what the full copy has read.
const COPY_BYTES: &str = "strait.copy.bytes";
/// Gauge, bytes: the estimate of what it has to read.
const COPY_EXPECTED: &str = "strait.copy.expected";
/// Gauge: tables of the full copy. Attribute `strait.copy.state`: waiting, copying, indexing, ready.
const COPY_TABLES: &str = "strait.copy.tables";
/// Attribute, see the metric.
const COPY_STATE: &str = "strait.copy.state";
/// Counter: how often the task broke off and was tried again.
const INTERRUPTIONS: &str = "strait.run.interruptions";

/// What is measured of the frames that one task sends.
pub(crate) struct SentMetrics {
    task: [KeyValue; 1],
    rows: Counter<u64>,
    sent: Counter<u64>,
    frame_size: Histogram<u64>,
}

impl SentMetrics {
    pub(crate) fn new(task_id: &TaskId) -> Self {
        let meter = opentelemetry::global::meter(METER);
        let sizes = vec![1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
        Self {
            task: [KeyValue::new(TASK_ID, task_id.to_string())],
            rows: meter.u64_counter(ROWS).build(),
            sent: meter.u64_counter(SENT).with_unit("By").build(),
            frame_size: meter.u64_histogram(FRAME_SIZE).with_unit("By").with_boundaries(sizes).build(),
        }
    }

    /// A frame was sent.
    pub(crate) fn sent(&self, rows: u64, bytes: u64) {
        self.rows.add(rows, &self.task);
        self.sent.add(bytes, &self.task);
        self.frame_size.record(bytes, &self.task);
    }
}

/// What is measured of a task as a whole, as often as it is reported.
pub(crate) struct TaskMetrics {
    task: KeyValue,
    slot_retained: Gauge<u64>,
    copy_rows: Gauge<u64>,
    copy_bytes: Gauge<u64>,
    copy_expected: Gauge<u64>,
    copy_tables: Gauge<u64>,
    interruptions: Counter<u64>,
}

impl TaskMetrics {
    pub(crate) fn new(task_id: &str) -> Self {
        let meter = opentelemetry::global::meter(METER);
        let metrics = Self {
            task: KeyValue::new(TASK_ID, task_id.to_owned()),
            slot_retained: meter.u64_gauge(SLOT_RETAINED).with_unit("By").build(),
            copy_rows: meter.u64_gauge(COPY_ROWS).build(),
            copy_bytes: meter.u64_gauge(COPY_BYTES).with_unit("By").build(),
            copy_expected: meter.u64_gauge(COPY_EXPECTED).with_unit("By").build(),
            copy_tables: meter.u64_gauge(COPY_TABLES).build(),
            interruptions: meter.u64_counter(INTERRUPTIONS).build(),
        };
        // So that it is there before the first one.
        metrics.interruptions.add(0, std::slice::from_ref(&metrics.task));
        metrics
    }

    pub(crate) fn interrupted(&self) {
        self.interruptions.add(1, std::slice::from_ref(&self.task));
    }

    /// Records what is reported.
    pub(crate) fn record(&self, progress: &TaskProgress) {
        let task = [self.task.clone()];
        if let Some(copy) = &progress.copy {
            self.copy_rows.record(copy.rows, &task);
            self.copy_bytes.record(copy.bytes, &task);
            self.copy_expected.record(copy.bytes_total, &task);
            for state in ["waiting", "copying", "indexing", "ready"] {
                let count = copy.tables.iter().filter(|table| table.state == state).count() as u64;
                self.copy_tables.record(count, &[self.task.clone(), KeyValue::new(COPY_STATE, state)]);
            }
        }
        if let Some(stream) = &progress.stream {
            self.slot_retained.record(stream.retained_bytes, &task);
        }
    }
}

/// What is measured of one task's change stream.
pub(crate) struct StreamMetrics {
    task: KeyValue,
    latency: Histogram<f64>,
    hop_duration: Histogram<f64>,
    hop_pending: Gauge<u64>,
    in_flight: Gauge<u64>,
    heartbeat_age: Gauge<f64>,
    throttled: Gauge<u64>,
}

impl StreamMetrics {
    pub(crate) fn new(task_id: &TaskId) -> Self {
        let meter = opentelemetry::global::meter(METER);
        Self {
            task: KeyValue::new(TASK_ID, task_id.to_string()),
            latency: meter.f64_histogram(LATENCY).with_unit("s").build(),
            hop_duration: meter.f64_histogram(HOP_DURATION).with_unit("s").build(),
            hop_pending: meter.u64_gauge(HOP_PENDING).with_unit("By").build(),
            in_flight: meter.u64_gauge(IN_FLIGHT).with_unit("By").build(),
            heartbeat_age: meter.f64_gauge(HEARTBEAT_AGE).with_unit("s").build(),
            throttled: meter.u64_gauge(THROTTLED).build(),
        }
    }

    /// Records what is reported; the hops where a heartbeat has arrived since the last time.
    pub(crate) fn record(&self, progress: &StreamProgress, has_arrived: bool) {
        let task = [self.task.clone()];
        let at = |hop: &'static str| [self.task.clone(), KeyValue::new(HOP, hop)];
        if let Some(hops) = progress.hops.filter(|_| has_arrived) {
            let HopLatency { decode_us, send_us, network_us, apply_us, durable_us } = hops;
            self.latency.record(seconds(decode_us + send_us + 2 * network_us + apply_us), &task);
            for (hop, us) in [
                ("decode", decode_us),
                ("send", send_us),
                ("network", network_us),
                ("apply", apply_us),
                ("durable", durable_us),
            ] {
                self.hop_duration.record(seconds(us), &at(hop));
            }
        }
        let HopBytes { to_decode, to_send, to_apply, to_durable, in_flight } =
            progress.bytes.unwrap_or_default();
        for (hop, bytes) in
            [("decode", to_decode), ("send", to_send), ("apply", to_apply), ("durable", to_durable)]
        {
            self.hop_pending.record(bytes, &at(hop));
        }
        self.in_flight.record(in_flight, &task);
        self.heartbeat_age.record(seconds(progress.oldest_heartbeat_us), &task);
        self.throttled.record(progress.throttled.into(), &task);
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
