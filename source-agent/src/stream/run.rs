//! One session of the stream: everything that runs at once, until one part ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strait_postgres::Client;
use strait_postgres::pgoutput::Decoder;
use strait_proto::v1::{CopyPhase, TableIssueKind};
use strait_proto::{Lsn, v1};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument as _;

use super::acks::Acks;
use super::credit::Credit;
use super::forward::{Catalog, Forward};
use super::frame::FramePacker;
use super::heartbeat::{Heartbeats, Pulse};
use super::hold::Hold;
use super::marks::TableMarks;
use super::mode::Chooser;
use super::partitions::PartitionWatch;
use super::positions::Positions;
use super::reader::Reader;
use super::sequences::SequenceSync;
use super::shape::Shape;
use super::slot_access::SlotAccess;
use super::standbys;
use super::start::{self, SinkStream};
use super::status;
use super::streaming::{self, PutOff};
use super::supervise::{ProgressReport, Supervision};
use super::tables::TableSet;
use super::throttle::Throttle;
use super::watch_tables::TableWatch;
use crate::capture::leaves::Leaves;
use crate::capture::publication;
use crate::capture::slot::parse_lsn;
use crate::copy::CopyCounters;
use crate::error::{During, RunError};
use crate::mapping::{Mapped, Mapping};
use crate::metrics::{SentMetrics, StreamMetrics};
use crate::reporter::Reporter;
use crate::rows::{RowRules, Stage};
use crate::sink::Sink;
use crate::source::Source;

/// Past this position lies nothing that was committed before the full copy ended. Kept across attempts, so that a
/// connection that keeps breaking does not move the end away.
pub(crate) type OnceMarker = Option<Lsn>;

/// The change stream of a task whose tables all stand.
pub(crate) struct StreamRun<'a> {
    pub(crate) source: &'a Source,
    pub(crate) sink: &'a Sink,
    pub(crate) reporter: &'a Reporter,
    pub(crate) client: Arc<Client>,
    /// The task's tables that exist, without what was made since.
    pub(crate) model: &'a v1::SchemaModel,
    pub(crate) mapping: &'a Mapping,
    /// What becomes of the model at the destination.
    pub(crate) mapped: Arc<Mapped>,
    pub(crate) leaves: Leaves,
    /// What the tables began with.
    pub(crate) rules: RowRules,
    pub(crate) copied: Arc<CopyCounters>,
    pub(crate) heartbeat: Duration,
    pub(crate) throttle: watch::Receiver<v1::Throttle>,
    pub(crate) put_off: PutOff,
    pub(crate) tracker: &'a TaskTracker,
    pub(crate) marks: Arc<TableMarks>,
    /// Begun, it keeps changes from being sent.
    pub(crate) hold: Hold,
}

impl StreamRun<'_> {
    /// Streams until something breaks; with a marker, until everything before it is durable.
    pub(crate) async fn run(self, once: Option<&mut OnceMarker>) -> Result<(), RunError> {
        let SinkStream { requests, mut responses, ready } = start::open_sink(self.sink).await?;
        let resume_lsn = Lsn(ready.resume_lsn);
        let status_interval = status::status_interval(&self.client).await?;
        let version = self.client.server().await.during("read the source's version")?.version;
        let options = streaming::options(version, ready.streaming, self.put_off);
        self.client.batch_execute("SET synchronous_commit = off").await.during("prepare the heartbeat")?;
        if let Some(absence) = standbys::absence(&self.client).await? {
            self.reporter.notice_once(absence).await;
        }
        let credit_bytes = ready.credit_bytes;
        tracing::info!(%resume_lsn, credit_bytes, in_progress = ?options.streaming, "streaming changes");

        let positions = Arc::new(Positions::new(resume_lsn, Arc::clone(&self.marks)));
        let throttle = Arc::new(Throttle::new(self.throttle.clone()));
        let mut packer = FramePacker::default();
        packer.set_limits(throttle.frame_limits());
        let credit = Arc::new(Credit::new(ready.credit_bytes));
        let heartbeats = Arc::new(Heartbeats::new(self.session_name(), self.pulse(options.messages)));
        for state in ready.tables.iter().filter(|state| state.phase() == CopyPhase::Suspended) {
            positions.marks.mark(&suspended(state));
        }
        let (leaves, rules) = (self.leaves.known(), self.rules.clone());
        let tables = TableSet::begun(&ready.tables, &self.mapped, leaves, rules, &self.source.carried);
        let stop = CancellationToken::new();
        let catalog = Catalog {
            client: Arc::clone(&self.client),
            leaves: Arc::new(Mutex::new(self.leaves)),
            reporter: self.reporter.clone(),
        };
        let reader = Reader {
            slot: SlotAccess {
                source: self.source.clone(),
                client: Arc::clone(&self.client),
                positions: Arc::clone(&positions),
                status_interval,
                options,
            },
            forward: Forward {
                decoder: Decoder::default(),
                shape: Shape::new(tables, resume_lsn),
                stage: Stage::new(self.source.clone()),
                packer,
                changes: Vec::new(),
                frames: requests,
                hold: self.hold.clone(),
                throttle: Arc::clone(&throttle),
                credit: Arc::clone(&credit),
                positions: Arc::clone(&positions),
                heartbeats: Arc::clone(&heartbeats),
                catalog: catalog.clone(),
                frame: None,
                metrics: SentMetrics::new(&self.source.task_id),
            },
            chooser: Chooser::default(),
            stop: stop.clone(),
        };
        let mut reader = AbortOnDropHandle::new(self.tracker.spawn(reader.run().in_current_span()));

        let acks = Acks {
            positions: &positions,
            credit: &credit,
            heartbeats: &heartbeats,
            reporter: self.reporter,
            resume_lsn,
        };
        let drops = self.source.drops_partitions();
        let published: Vec<u32> = publication::published(self.model).map(|table| table.table_id).collect();
        let supervision = Supervision {
            source: self.source,
            sink: self.sink,
            catalog,
            tables: &published,
            rules: &self.rules,
            watch: TableWatch::new(&ready.tables, self.mapping, drops),
            partitions: PartitionWatch::new(self.source, &ready.tables, self.model, self.mapping),
            positions: &positions,
            sequences: SequenceSync::new(self.model, Arc::clone(&self.mapped)),
        };
        let progress = ProgressReport {
            source: self.source,
            client: &self.client,
            positions: &positions,
            heartbeats: &heartbeats,
            throttle: &throttle,
            credit: &credit,
            metrics: StreamMetrics::new(&self.source.task_id),
            copied: self.copied,
            reporter: self.reporter,
        };
        let fulfilled = fulfilled(once, &self.client, &heartbeats, &positions);
        let ended = tokio::select! {
            ended = acks.run(&mut responses) => ended,
            ended = &mut reader => ended.map_err(RunError::from).flatten(),
            ended = heartbeats.run(&self.client, self.heartbeat) => ended,
            ended = supervision.run() => ended,
            ended = progress.run() => ended,
            ended = streaming::again(self.put_off, &self.client, &positions) => ended,
            ended = fulfilled => ended,
        };
        if ended.is_ok() {
            SequenceSync::new(self.model, Arc::clone(&self.mapped))
                .transfer(&self.client, self.sink, self.reporter)
                .await?;
            stop.cancel();
            reader.await??;
        }
        ended
    }

    fn pulse(&self, messages: bool) -> Pulse {
        if messages { Pulse::Message } else { Pulse::Row(self.source.task_id.clone()) }
    }

    /// Unique among tasks, epochs and processes: nothing is done with it but to compare.
    fn session_name(&self) -> String {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let session = self.sink.session();
        format!("{}/{}/{}", self.source.task_id, session.epoch, since_epoch.as_nanos())
    }
}

/// A table that the destination has suspended in an earlier session.
fn suspended(state: &v1::TableState) -> v1::TableIssue {
    v1::TableIssue {
        table: state.table.clone(),
        kind: TableIssueKind::Suspended.into(),
        reason: state.reason.clone(),
        remedy: state.remedy.clone(),
    }
}

/// Waits until everything before the marker is durable and the foreign keys stand; for ever without a marker.
async fn fulfilled(
    once: Option<&mut OnceMarker>,
    client: &Client,
    heartbeats: &Heartbeats,
    positions: &Positions,
) -> Result<(), RunError> {
    let Some(marker) = once else {
        return std::future::pending().await;
    };
    let mut acks = positions.acks();
    let marker_lsn = match *marker {
        Some(marker_lsn) => marker_lsn,
        None => *marker.insert(mark(client, heartbeats).await?),
    };
    // Its position lies past the marker, so the stream passes the marker soon even where nothing else is written.
    heartbeats.emit(client).await?;
    while positions.durable() < marker_lsn || !positions.foreign_keys_done() {
        if acks.changed().await.is_err() {
            return Err(RunError::transient("the acknowledgements ended"));
        }
    }
    tracing::info!(%marker_lsn, durable_lsn = %positions.durable(), "everything before the marker is durable");
    Ok(())
}

/// Writes a transaction to the log and returns a position past its end.
async fn mark(client: &Client, heartbeats: &Heartbeats) -> Result<Lsn, RunError> {
    const DOING: &str = "mark the end of the full copy in the log";
    heartbeats.emit(client).await?;
    let row = client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.during(DOING)?;
    parse_lsn(&row.try_get::<_, String>(0).during(DOING)?).during(DOING)
}
