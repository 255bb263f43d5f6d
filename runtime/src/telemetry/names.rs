//! The names of this crate's spans and metrics, as a collector shows them.

/// The meter of this crate's metrics.
pub const METER: &str = "strait-runtime";

/// Span: one call that a server answers, until its response begins. Its name in traces is the method's path.
/// Attributes `rpc.system.name`, `rpc.method` and `rpc.response.status_code` (the number), after
/// OpenTelemetry's conventions.
pub const SPAN_SERVER_CALL: &str = "rpc.server.call";

/// Span: one assignment of a task on an agent. Attributes `strait.task.id` and `strait.task.epoch`.
pub const SPAN_RUN: &str = "strait.run";

/// Span: one command of the coordinator on an agent. Attribute `strait.request.id`.
pub const SPAN_COMMAND: &str = "strait.command";

/// Histogram, seconds: how long a server took until its response began. Attributes as the span's.
pub const METRIC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";

/// Up-down counter: control sessions that are open, 0 or 1 for each agent.
pub const METRIC_CONTROL_SESSIONS: &str = "strait.control.sessions";

/// Counter: reports that never reached the coordinator, because it could not be reached for too long.
/// Attribute `strait.report.kind`: progress, objects or notice.
pub const METRIC_REPORTS_DROPPED: &str = "strait.control.reports_dropped";

/// Counter: connections and calls that a server refused: unknown, not allowed, too many, too slow.
pub const METRIC_REFUSED: &str = "strait.server.refused";
