//! What is looked after beside the stream: partitions that come and go, tables that are renamed or dropped, identities, the publication, sequences, and what
//! is told about progress.

use std::sync::Arc;
use std::time::Duration;

use strait_postgres::Client;
use strait_proto::{Lsn, v1};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::credit::Credit;
use super::forward::Catalog;
use super::heartbeat::Heartbeats;
use super::latency::micros;
use super::partitions::PartitionWatch;
use super::positions::Positions;
use super::sequences::SequenceSync;
use super::throttle::Throttle;
use super::watch_tables::TableWatch;
use crate::capture::identity::{self, Lacking};
use crate::capture::slot::parse_lsn;
use crate::capture::{publication, slot};
use crate::copy::CopyCounters;
use crate::error::{During, RunError};
use crate::metrics::StreamMetrics;
use crate::progress;
use crate::reporter::Reporter;
use crate::rows::RowRules;
use crate::sink::Sink;
use crate::source::Source;

const PARTITIONS_INTERVAL: Duration = Duration::from_secs(10);
/// Where partitioned tables keep their structure, it is looked at this often.
const ARRANGE_INTERVAL: Duration = Duration::from_secs(2);
const PUBLICATION_INTERVAL: Duration = Duration::from_secs(60);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Looks after the source while the stream runs.
pub(super) struct Supervision<'a> {
    pub(super) source: &'a Source,
    pub(super) sink: &'a Sink,
    pub(super) catalog: Catalog,
    /// The published tables that exist.
    pub(super) tables: &'a [u32],
    pub(super) rules: &'a RowRules,
    pub(super) watch: TableWatch<'a>,
    pub(super) partitions: PartitionWatch,
    pub(super) positions: &'a Positions,
    pub(super) sequences: SequenceSync,
}

impl Supervision<'_> {
    /// Looks again and again, for ever. The sequences come first: the full copy has just ended.
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        let mut often = ticks(PARTITIONS_INTERVAL);
        let mut seldom = ticks(PUBLICATION_INTERVAL);
        let mut arrange = ticks(ARRANGE_INTERVAL);
        loop {
            tokio::select! {
                _ = arrange.tick() => {
                    let (client, reporter) = (&self.catalog.client, &self.catalog.reporter);
                    self.partitions.look(client, self.sink, self.positions, reporter).await?;
                }
                _ = often.tick() => {
                    self.partitions().await?;
                    let (client, reporter) = (&self.catalog.client, &self.catalog.reporter);
                    self.watch.look(client, &self.positions.marks, reporter).await?;
                }
                _ = seldom.tick() => {
                    let (client, reporter) = (&self.catalog.client, &self.catalog.reporter);
                    self.sequences.transfer(client, self.sink, reporter).await?;
                    publication::verify(client, self.source, self.tables).await?;
                }
            }
        }
    }

    /// New partitions join in. A table or partition that has lost its key, or never had one, gets an identity: without one
    /// the application could not change its rows.
    async fn partitions(&self) -> Result<(), RunError> {
        const DOING: &str = "look for tables without a replica identity";
        let (client, reporter) = (&self.catalog.client, &self.catalog.reporter);
        self.catalog.leaves.lock().await.refresh(client, reporter).await?;
        let lacking = identity::lacking(client, self.tables, self.rules).await.during(DOING)?;
        let (owned, foreign): (Vec<Lacking>, Vec<Lacking>) =
            lacking.into_iter().partition(|table| table.owned && !table.needs_key);
        for table in foreign {
            let (name, sql) = (&table.relation.name, table.relation.sql());
            let full = format!("ALTER TABLE ONLY {sql} REPLICA IDENTITY FULL");
            let text = if table.for_filter {
                format!(
                    "{name}: its condition needs old rows, and this task cannot see to that: its owner should run {full}"
                )
            } else {
                format!(
                    "{name}: no key identifies its rows, and this task cannot change that: the application cannot update or \
                     delete them before its owner adds a key, or runs {full}"
                )
            };
            reporter.notice_once(text).await;
        }
        if owned.is_empty() {
            return Ok(());
        }
        let ddl = self.source.connect().await.during("connect to set a replica identity")?;
        identity::give_full(&ddl, self.source, owned, reporter).await
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Tells how far the stream is.
pub(super) struct ProgressReport<'a> {
    pub(super) source: &'a Source,
    pub(super) client: &'a Client,
    pub(super) positions: &'a Positions,
    pub(super) heartbeats: &'a Heartbeats,
    pub(super) throttle: &'a Throttle,
    pub(super) credit: &'a Credit,
    pub(super) metrics: StreamMetrics,
    pub(super) copied: Arc<CopyCounters>,
    pub(super) reporter: &'a Reporter,
}

impl ProgressReport<'_> {
    /// Tells once a second, for ever.
    pub(super) async fn run(&self) -> Result<(), RunError> {
        let mut ticks = ticks(PROGRESS_INTERVAL);
        let copy = self.copied.snapshot(progress::TABLES_MAX);
        loop {
            ticks.tick().await;
            let stream = self.measure().await?;
            let progress = v1::TaskProgress { copy: Some(copy.clone()), stream: Some(stream) };
            self.reporter.progress(progress).await;
        }
    }

    async fn measure(&self) -> Result<v1::StreamProgress, RunError> {
        const DOING: &str = "measure the change stream";
        const SQL: &str = "
            SELECT pg_current_wal_lsn()::text AS source_lsn, s.confirmed_flush_lsn::text AS confirmed,
                   greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::int8 AS retained
            FROM pg_replication_slots AS s WHERE s.slot_name = $1";
        let row = self.client.query_opt(SQL, &[&self.source.slot.as_str()]).await.during(DOING)?;
        let Some(row) = row else {
            return Err(slot::verify(&self.source.slot, None, Lsn::ZERO)
                .err()
                .unwrap_or_else(|| RunError::transient("the replication slot is not there")));
        };
        let text = |column| row.try_get::<_, Option<String>>(column).during(DOING);
        let position = |text: Option<String>| text.map(|text| parse_lsn(&text)).transpose().during(DOING);
        let source_lsn = position(text("source_lsn")?)?.unwrap_or_default();
        let retained: Option<i64> = row.try_get("retained").during(DOING)?;
        self.positions.set_source(source_lsn);
        let mut progress = self.positions.progress();
        progress.source_lsn = source_lsn.0;
        if let Some(confirmed) = position(text("confirmed")?)? {
            progress.confirmed_flush_lsn = confirmed.0;
        }
        progress.lag_bytes = source_lsn.bytes_since(Lsn(progress.applied_lsn));
        progress.retained_bytes = retained.map_or(0, i64::unsigned_abs);
        self.add_flow(&mut progress);
        Ok(progress)
    }

    /// What is known of the way of the changes without asking anybody.
    fn add_flow(&self, progress: &mut v1::StreamProgress) {
        let now = Instant::now();
        let report = self.heartbeats.report(now);
        let sent_lsn = self.positions.sent();
        let between = |from: Lsn, to: u64| from.bytes_since(Lsn(to));
        progress.bytes = Some(v1::HopBytes {
            to_decode: between(Lsn(progress.source_lsn), progress.received_lsn),
            to_send: between(Lsn(progress.received_lsn), sent_lsn.0),
            to_apply: between(sent_lsn, progress.applied_lsn),
            to_durable: between(Lsn(progress.applied_lsn), progress.durable_lsn),
            in_flight: self.credit.in_flight(),
        });
        progress.latency_us = micros(report.latency);
        progress.hops = report.hops;
        let (age, hop) = report.oldest.unwrap_or_default();
        progress.oldest_heartbeat_us = micros(age);
        progress.set_oldest_heartbeat_at(hop);
        progress.throttle = self.throttle.limits();
        progress.throttled = progress.throttle.is_some() && self.throttle.is_limiting(now);
        self.metrics.record(progress, report.is_new);
    }
}
