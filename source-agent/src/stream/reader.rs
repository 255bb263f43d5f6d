//! Reads the slot's changes, by stream or in slices, and changes between the two by itself.
//!
//! ```text
//!   long backlog? ──► catch_up: slices ── near the end ──► the stream is started, slices go on until it speaks
//!        ▲                                                     │
//!        └──────── a backlog has grown ◄── stream ◄────────────┘
//! ```
//!
//! Nothing is lost or repeated by a change: both ways deliver whole transactions in the order of their commits, the one
//! that takes over begins at or before what the other has delivered, and the shape drops transactions that lie before
//! its position. A change happens between transactions only.

use std::time::Duration;

use strait_postgres::replication::{ReplicationMessage, ReplicationReader};
use strait_proto::v1::StreamMode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::catch_up::CatchUp;
use super::forward::Forward;
use super::mode::Chooser;
use super::slot_access::{Copied, SlotAccess};
use super::walsender::Walsender;
use crate::error::{During, RunError};

/// With more messages than this within [`BUSY_WINDOW`] the socket is left alone for [`BUSY_PAUSE`] when it is empty. The
/// walsender sends each message by itself, and a receiver that it has to wake each time makes each one several times
/// dearer.
const BUSY_MESSAGES: u32 = 200;
const BUSY_WINDOW: Duration = Duration::from_millis(10);
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// Only a stream that brings so many messages within [`HEAVY_WINDOW`] is left for slices: the log that it is behind may be
/// another database's, or the destination may be what is slow.
const HEAVY_MESSAGES: u32 = 10_000;
const HEAVY_WINDOW: Duration = Duration::from_secs(1);

/// Reads the changes of a task's slot.
pub(super) struct Reader {
    pub(super) slot: SlotAccess,
    pub(super) forward: Forward,
    pub(super) chooser: Chooser,
    /// Ends the reading in order.
    pub(super) stop: CancellationToken,
}

impl Reader {
    /// Reads until something breaks, or it is stopped.
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        let stop = self.stop.clone();
        let mut walsender = None;
        loop {
            let mut stream = match walsender.take() {
                Some(walsender) => walsender,
                None if self.wants_slices().await? => {
                    self.slot.positions.set_mode(StreamMode::CatchUp);
                    self.forward.reads(self.slot.options.streaming);
                    tokio::select! {
                        caught_up = self.catch_up() => walsender = caught_up?,
                        () = stop.cancelled() => return Ok(()),
                    }
                    continue;
                }
                None => self.slot.stream(self.forward.shape.position_lsn()).await?,
            };
            self.slot.positions.set_mode(StreamMode::Streaming);
            self.forward.reads(self.slot.options.streaming);
            let behind = tokio::select! {
                behind = self.stream(&mut stream.reader) => behind,
                broken = &mut stream.status => Err(broken?.err().unwrap_or_else(ended_by_source)),
                () = stop.cancelled() => Ok(()),
            };
            behind?;
            stream.finish().await;
            if stop.is_cancelled() {
                return Ok(());
            }
            tracing::info!("a backlog has grown: changing from the stream to slices");
        }
    }

    async fn wants_slices(&mut self) -> Result<bool, RunError> {
        self.slot.positions.set_source(self.slot.flush_lsn().await?);
        Ok(self.is_behind())
    }

    fn is_behind(&self) -> bool {
        let position_lsn = self.forward.shape.position_lsn();
        self.chooser.wants_slices(position_lsn, self.slot.positions.source(), Instant::now())
    }

    /// Works the backlog off in slices; returns the stream that took over, or none where one has to be started.
    async fn catch_up(&mut self) -> Result<Option<Walsender>, RunError> {
        let position_lsn = self.forward.shape.position_lsn();
        let obstacle = match self.slot.copy(position_lsn).await? {
            Copied::Slot(copy) => {
                let (slot, forward, chooser) = (&self.slot, &mut self.forward, &mut self.chooser);
                return CatchUp { slot, forward, chooser }.run(*copy).await;
            }
            Copied::NoSlotFree => "has no free replication slot (max_replication_slots) for it",
            Copied::WaitsForStandbys => {
                "sends nothing before its standbys have it (synchronized_standby_slots)"
            }
        };
        let text =
            format!("a backlog is streamed, not read in slices, which is slower: the source {obstacle}");
        self.forward.catalog.reporter.notice_once(text).await;
        self.chooser.refused(Instant::now());
        Ok(None)
    }

    /// Reads the stream until it breaks; returns between two transactions where a long backlog has grown.
    async fn stream(&mut self, stream: &mut ReplicationReader) -> Result<(), RunError> {
        let mut pace = Pace::new();
        loop {
            if !stream.has_buffered() {
                self.forward.flush().await?;
                if pace.is_busy() {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
            }
            let Some(message) = stream.next().await.during("read the change stream")? else {
                return Err(ended_by_source());
            };
            pace.message();
            match message {
                ReplicationMessage::XLogData { wal_start_lsn, wal_end_lsn, payload } => {
                    self.slot.positions.set_received(wal_start_lsn.max(wal_end_lsn));
                    self.forward.message(payload).await?;
                }
                ReplicationMessage::Keepalive { wal_end_lsn, reply_requested } => {
                    self.forward.position(wal_end_lsn).await?;
                    if reply_requested {
                        self.slot.positions.status_due.notify_one();
                    }
                }
            }
            if self.forward.shape.is_between_transactions() && self.is_behind() && pace.is_heavy() {
                return self.forward.flush().await;
            }
            // A long backlog is all in memory: let others run as well.
            tokio::task::consume_budget().await;
        }
    }
}

/// How many messages come.
struct Pace {
    since: Instant,
    messages: u32,
    second: Instant,
    in_second: u32,
    /// In the last second there were more than [`HEAVY_MESSAGES`].
    heavy: bool,
}

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self { since: now, messages: 0, second: now, in_second: 0, heavy: false }
    }

    fn message(&mut self) {
        self.messages = self.messages.saturating_add(1);
        self.in_second = self.in_second.saturating_add(1);
    }

    /// Nothing is in memory: whether many have come lately, so that waiting a little costs less than being woken.
    fn is_busy(&mut self) -> bool {
        let (busy, now) = (self.messages >= BUSY_MESSAGES, Instant::now());
        if now - self.since >= BUSY_WINDOW {
            (self.since, self.messages) = (now, 0);
        }
        busy
    }

    /// Whether the stream brings so much that slices would be cheaper.
    fn is_heavy(&mut self) -> bool {
        let now = Instant::now();
        if now - self.second >= HEAVY_WINDOW {
            self.heavy = self.in_second >= HEAVY_MESSAGES;
            (self.second, self.in_second) = (now, 0);
        }
        self.heavy
    }
}

fn ended_by_source() -> RunError {
    RunError::connection("the source ended the change stream")
}
