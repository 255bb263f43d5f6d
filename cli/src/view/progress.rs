//! How far a task is.

use serde::Serialize;
use strait_proto::{Lsn, v1};

use super::{HopBytesView, HopsView, OldestView, RateLimitsView};

/// Both halves of the work, as far as they have begun.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ProgressView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) copy: Option<CopyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<StreamView>,
}

/// The full copy. Totals are the source's estimates.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CopyView {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) rows_total: u64,
    pub(crate) bytes_total: u64,
    pub(crate) tables_ready: usize,
    pub(crate) tables_total: usize,
    pub(crate) tables: Vec<TableView>,
}

/// One table of the full copy.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TableView {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// waiting, copying, indexing, ready.
    pub(crate) state: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) rows_total: u64,
    pub(crate) bytes_total: u64,
}

/// The change stream. Positions are the source's.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StreamView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source_lsn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received_lsn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) applied_lsn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) durable_lsn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confirmed_flush_lsn: Option<String>,
    pub(crate) lag_bytes: u64,
    /// Commit at the source to visible at the destination; left out before the first heartbeat came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<u64>,
    pub(crate) transactions: u64,
    pub(crate) changes: u64,
    pub(crate) conflicts: u64,
    pub(crate) retained_bytes: u64,
    /// How changes are fetched: `streaming` or `catch-up`; left out before they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<&'static str>,
    /// Left out before the first heartbeat came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hops: Option<HopsView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<HopBytesView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_heartbeat: Option<OldestView>,
    /// Left out where nothing is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttle: Option<RateLimitsView>,
    /// The throttle holds the stream back now.
    pub(crate) throttled: bool,
    /// Most conflicts first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) table_conflicts: Vec<TableConflictsView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) table_issues: Vec<TableIssueView>,
}

/// The conflicts of one table since the last connect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TableConflictsView {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) conflicts: u64,
    /// Left out, as `on_error: skip` asks for.
    pub(crate) not_applied: u64,
}

/// A table that the task goes on without, or that has changed at the source.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TableIssueView {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// suspended, renamed, dropped.
    pub(crate) state: &'static str,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

/// How fast the copy is, over the last seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct RateView {
    pub(crate) rows_per_second: u64,
    pub(crate) bytes_per_second: u64,
    /// Left out where nothing moves or the total is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_left: Option<u64>,
}

impl From<&v1::TaskProgress> for ProgressView {
    fn from(progress: &v1::TaskProgress) -> Self {
        Self {
            copy: progress.copy.as_ref().map(CopyView::from),
            stream: progress.stream.as_ref().map(StreamView::from),
        }
    }
}

impl From<&v1::CopyProgress> for CopyView {
    fn from(copy: &v1::CopyProgress) -> Self {
        Self {
            rows: copy.rows,
            bytes: copy.bytes,
            rows_total: copy.rows_total,
            bytes_total: copy.bytes_total,
            tables_ready: copy.tables.iter().filter(|table| table.state == "ready").count(),
            tables_total: copy.tables.len(),
            tables: copy.tables.iter().map(TableView::from).collect(),
        }
    }
}

impl CopyView {
    /// The same, with only the tables in work, as long as the number of connections and not as the schema.
    pub(crate) fn in_work(mut self) -> Self {
        self.tables.retain(TableView::is_in_work);
        self
    }

    /// Copied part of the whole, 0 to 1. Estimates may lie below what was found: never above 1.
    pub(crate) fn fraction(&self) -> f64 {
        if self.tables_total > 0 && self.tables_ready == self.tables_total {
            return 1.0;
        }
        fraction(self.rows, self.rows_total, self.bytes, self.bytes_total)
    }
}

impl From<&v1::TableProgress> for TableView {
    fn from(progress: &v1::TableProgress) -> Self {
        let table = progress.table.clone().unwrap_or_default();
        Self {
            schema: table.schema,
            table: table.name,
            state: progress.state.clone(),
            rows: progress.rows,
            bytes: progress.bytes,
            rows_total: progress.rows_total,
            bytes_total: progress.bytes_total,
        }
    }
}

impl TableView {
    pub(crate) fn is_in_work(&self) -> bool {
        matches!(self.state.as_str(), "copying" | "indexing")
    }

    pub(crate) fn qualified_name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// See [`CopyView::fraction`].
    pub(crate) fn fraction(&self) -> f64 {
        fraction(self.rows, self.rows_total, self.bytes, self.bytes_total)
    }
}

impl From<&v1::StreamProgress> for StreamView {
    fn from(stream: &v1::StreamProgress) -> Self {
        let position = |lsn: u64| (lsn != 0).then(|| Lsn(lsn).to_string());
        Self {
            source_lsn: position(stream.source_lsn),
            received_lsn: position(stream.received_lsn),
            applied_lsn: position(stream.applied_lsn),
            durable_lsn: position(stream.durable_lsn),
            confirmed_flush_lsn: position(stream.confirmed_flush_lsn),
            lag_bytes: stream.lag_bytes,
            latency_us: (stream.latency_us != 0).then_some(stream.latency_us),
            transactions: stream.transactions,
            changes: stream.changes,
            conflicts: stream.conflicts,
            retained_bytes: stream.retained_bytes,
            mode: match stream.mode() {
                v1::StreamMode::Unspecified => None,
                v1::StreamMode::Streaming => Some("streaming"),
                v1::StreamMode::CatchUp => Some("catch-up"),
            },
            hops: stream.hops.as_ref().map(HopsView::from),
            bytes: stream.bytes.as_ref().map(HopBytesView::from),
            oldest_heartbeat: OldestView::of(stream),
            throttle: stream.throttle.as_ref().map(RateLimitsView::from),
            throttled: stream.throttled,
            table_conflicts: {
                let mut tables: Vec<_> =
                    stream.table_conflicts.iter().map(TableConflictsView::from).collect();
                tables.sort_by_key(|table| std::cmp::Reverse(table.conflicts));
                tables
            },
            table_issues: stream.table_issues.iter().map(TableIssueView::from).collect(),
        }
    }
}

impl From<&v1::TableConflicts> for TableConflictsView {
    fn from(counted: &v1::TableConflicts) -> Self {
        let v1::TableName { schema, name: table } = counted.table.clone().unwrap_or_default();
        Self { schema, table, conflicts: counted.conflicts, not_applied: counted.not_applied }
    }
}

impl From<&v1::TableIssue> for TableIssueView {
    fn from(issue: &v1::TableIssue) -> Self {
        let v1::TableName { schema, name: table } = issue.table.clone().unwrap_or_default();
        let state = match issue.kind() {
            v1::TableIssueKind::Renamed => "renamed",
            v1::TableIssueKind::Dropped => "dropped",
            v1::TableIssueKind::Joining => "joining",
            v1::TableIssueKind::NotJoined => "not joined",
            v1::TableIssueKind::NotArranged => "not arranged",
            v1::TableIssueKind::Suspended | v1::TableIssueKind::Unspecified => "suspended",
        };
        Self { schema, table, state, reason: issue.reason.clone(), remedy: issue.remedy.clone() }
    }
}

#[allow(clippy::cast_precision_loss)]
fn fraction(rows: u64, rows_total: u64, bytes: u64, bytes_total: u64) -> f64 {
    let (done, total) = if rows_total > 0 { (rows, rows_total) } else { (bytes, bytes_total) };
    if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) }
}
