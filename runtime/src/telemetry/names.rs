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

/// Span: one phase of a task, a trace of its own. Attributes `strait.task.id` and `strait.phase`.
pub const SPAN_PHASE: &str = "strait.phase";

/// Span: a piece of the change stream, from its first decoded change until it is sent; a trace of its own, of which the
/// next ones are part, in whichever process.
pub const SPAN_FRAME: &str = "strait.frame";
/// Span: the frame waits for throttle and credit, and is handed to the connection.
pub const SPAN_SEND: &str = "strait.send";
/// Span: the sink-agent takes the frame in: its changes go to a batch, or to the spool.
pub const SPAN_RECEIVE: &str = "strait.receive";
/// Span: a batch that ends with the frame is folded to statements.
pub const SPAN_PLAN: &str = "strait.plan";
/// Span: the batch is applied. Attribute `strait.changes`.
pub const SPAN_APPLY: &str = "strait.apply";
/// Span, within the former: its statements run.
pub const SPAN_EXECUTE: &str = "strait.execute";
/// Span, after that: its transaction commits.
pub const SPAN_COMMIT: &str = "strait.commit";
/// Span: the source-agent hears that the batch is applied.
pub const SPAN_ACK: &str = "strait.ack";

/// Histogram, seconds: how long a server took until its response began. Attributes as the span's.
pub const METRIC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";

/// Up-down counter: control sessions that are open, 0 or 1 for each agent.
pub const METRIC_CONTROL_SESSIONS: &str = "strait.control.sessions";

/// Counter: reports that never reached the coordinator, because it could not be reached for too long.
/// Attribute `strait.report.kind`: progress, objects or notice.
pub const METRIC_REPORTS_DROPPED: &str = "strait.control.reports_dropped";

/// Counter: connections and calls that a server refused: unknown, not allowed, too many, too slow.
pub const METRIC_REFUSED: &str = "strait.server.refused";
