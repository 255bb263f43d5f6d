//! The results, for programs and for people.

use serde::Serialize;

/// What was measured of one replication.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whose.
    pub(crate) name: &'static str,
    /// Commit at the source to visible at the destination.
    pub(crate) latency: Latency,
    /// Working off a backlog.
    pub(crate) throughput: Throughput,
}

/// Microseconds from commit to visible.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    /// How many were measured.
    pub(crate) transactions: usize,
    /// Half were quicker.
    pub(crate) median_us: u64,
    /// Nine of ten were quicker.
    pub(crate) p90_us: u64,
    /// All but one in a hundred were quicker.
    pub(crate) p99_us: u64,
    /// The slowest.
    pub(crate) max_us: u64,
}

/// Rates at which a backlog was worked off.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    /// One-row transactions.
    pub(crate) transactions_per_second: u64,
    /// Row changes of one large transaction.
    pub(crate) large_transaction_changes_per_second: u64,
}

/// A table of all reports.
pub(crate) fn table(reports: &[Report]) -> String {
    let mut text = format!(
        "{:<22}{:>12}{:>12}{:>12}{:>12}{:>16}{:>18}\n",
        "", "median ms", "p90 ms", "p99 ms", "max ms", "transactions/s", "bulk changes/s"
    );
    for report in reports {
        let ms = |micros: u64| format!("{}.{:01}", micros / 1000, micros % 1000 / 100);
        let (latency, throughput) = (&report.latency, &report.throughput);
        text.push_str(&format!(
            "{:<22}{:>12}{:>12}{:>12}{:>12}{:>16}{:>18}\n",
            report.name,
            ms(latency.median_us),
            ms(latency.p90_us),
            ms(latency.p99_us),
            ms(latency.max_us),
            throughput.transactions_per_second,
            throughput.large_transaction_changes_per_second
        ));
    }
    text
}
