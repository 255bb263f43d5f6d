//! The metrics of this crate, and their names as a collector shows them.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Gauge, Histogram};
use strait_proto::TaskId;
use strait_proto::v1::{HopBytes, HopLatency, StreamProgress};

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
