//! Reads the slot's stream and packs it into frames.
//!
//! A frame leaves when nothing more is in memory, so a lone transaction waits for nobody and a backlog travels in full
//! frames.

use std::sync::Arc;
use std::time::Duration;

use strait_postgres::Client;
use strait_postgres::pgoutput::{Decoder, Relation};
use strait_postgres::replication::{ReplicationMessage, ReplicationReader};
use strait_proto::v1::{self, stream_changes_request::Message};
use strait_runtime::trace_context::traceparent;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::credit::Credit;
use super::frame::FramePacker;
use super::heartbeat::Heartbeats;
use super::positions::Positions;
use super::shape::{Shape, Step};
use super::truncate;
use crate::capture::leaves::Leaves;
use crate::error::{During, RunError};
use crate::reporter::Reporter;

/// When the channel to the sink is closed, the answering half knows why. This is how long it has to say so.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(30);

/// A transaction is decoded once its commit is on disk, and other sessions see it a moment later, or once a synchronous
/// standby has it: a partition that it made may not stand in the catalog yet.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(10);
const VISIBLE_PAUSE: Duration = Duration::from_millis(50);

/// The forward half of a session.
pub(super) struct Reader {
    pub(super) stream: ReplicationReader,
    pub(super) decoder: Decoder,
    pub(super) shape: Shape,
    pub(super) frames: mpsc::Sender<v1::StreamChangesRequest>,
    pub(super) credit: Arc<Credit>,
    pub(super) positions: Arc<Positions>,
    pub(super) heartbeats: Arc<Heartbeats>,
    pub(super) catalog: Catalog,
}

/// What has to be asked of the source while its stream is read.
#[derive(Clone)]
pub(super) struct Catalog {
    pub(super) client: Arc<Client>,
    pub(super) leaves: Arc<Mutex<Leaves>>,
    pub(super) reporter: Reporter,
}

impl Reader {
    /// Reads until something breaks.
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        const DOING: &str = "read the change stream";
        let (mut packer, mut changes) = (FramePacker::default(), Vec::new());
        loop {
            if !packer.is_empty() && !self.stream.has_buffered() {
                self.flush(&mut packer).await?;
            }
            let Some(message) = self.stream.next().await.during(DOING)? else {
                return Err(RunError::connection("the source ended the change stream"));
            };
            match message {
                ReplicationMessage::XLogData { wal_start_lsn, wal_end_lsn, payload } => {
                    self.positions.set_received(wal_start_lsn.max(wal_end_lsn));
                    let decoded =
                        self.decoder.decode(payload).map_err(strait_postgres::Error::from).during(DOING)?;
                    let step = self.shape.decoded(decoded, &mut changes)?;
                    self.settle(step).await?;
                }
                ReplicationMessage::Keepalive { wal_end_lsn, reply_requested } => {
                    self.positions.set_received(wal_end_lsn);
                    self.shape.keepalive(wal_end_lsn, &mut changes);
                    if reply_requested {
                        self.positions.status_due.notify_one();
                    }
                }
            }
            for change in changes.drain(..) {
                if packer.is_full_for(&change) {
                    self.flush(&mut packer).await?;
                }
                packer.push(change);
            }
            // A long backlog is all in memory: let others run as well.
            tokio::task::consume_budget().await;
        }
    }

    /// Does what the shape could not do by itself.
    async fn settle(&mut self, step: Step) -> Result<(), RunError> {
        match step {
            Step::Done => Ok(()),
            Step::Message(content, end_lsn) => {
                self.heartbeats.seen(&content, end_lsn);
                Ok(())
            }
            Step::Unknown(relation) => self.look_up(relation).await,
            Step::Bounded(leaves) => {
                let certain = self.catalog.require_bounds(&leaves).await;
                certain.map_err(|error| self.shape.put_off(error))
            }
        }
    }

    async fn look_up(&mut self, relation: Relation) -> Result<(), RunError> {
        let mut leaves = self.catalog.leaves.lock().await;
        let deadline = Instant::now() + VISIBLE_TIMEOUT;
        while leaves.table_of(relation.relation_id).is_none() {
            leaves.refresh(&self.catalog.client, &self.catalog.reporter).await?;
            if leaves.table_of(relation.relation_id).is_some()
                || leaves.is_excluded(relation.relation_id)
                // Nobody else sees what a transaction in progress has made.
                || self.shape.block_xid().is_some()
                || Instant::now() >= deadline
            {
                break;
            }
            tokio::time::sleep(VISIBLE_PAUSE).await;
        }
        match leaves.table_of(relation.relation_id) {
            Some((table_id, leaf)) => {
                self.shape.adopt(relation, table_id, leaf.clone());
            }
            None => {
                let name = format!("{}.{}", relation.schema, relation.name);
                if leaves.is_excluded(relation.relation_id) {
                    tracing::debug!(relation = name, "changes of an excluded partition are left out");
                } else if let Some(xid) = self.shape.block_xid() {
                    let reason = format!("it changes {name}, which nobody else can see before it commits");
                    return Err(RunError::StreamingPutOff { xid, reason });
                } else {
                    let text = format!(
                        "changes of {name} are left out: it came and went, and is no partition of the task's tables now"
                    );
                    self.catalog.reporter.notice_once(text).await;
                }
                self.shape.ignore(&relation);
            }
        }
        Ok(())
    }

    async fn flush(&self, packer: &mut FramePacker) -> Result<(), RunError> {
        if packer.is_empty() {
            return Ok(());
        }
        // A trace of its own for each frame: the run that it belongs to may last for months.
        self.send(packer).instrument(tracing::info_span!(parent: None, "strait.frame")).await
    }

    async fn send(&self, packer: &mut FramePacker) -> Result<(), RunError> {
        let Some(packed) = packer.take(traceparent().unwrap_or_default()) else {
            return Ok(());
        };
        self.credit.pay(packed.cost).await;
        // Before it is sent, so that the acknowledgement cannot come first.
        self.positions.set_sent(packed.position_lsn);
        let request = v1::StreamChangesRequest { message: Some(Message::Frame(packed.frame)) };
        if self.frames.send(request).await.is_err() {
            tokio::time::sleep(EXPLANATION_TIMEOUT).await;
            return Err(RunError::connection("the sink-agent closed the change stream"));
        }
        Ok(())
    }
}

impl Catalog {
    async fn require_bounds(&self, truncated: &[(u32, u32)]) -> Result<(), RunError> {
        let leaves = self.leaves.lock().await;
        for (table_id, relation_id) in truncated {
            if !leaves.bounds_are_certain(&self.client, *table_id, *relation_id).await? {
                let (schema, name) = leaves
                    .table_of(*relation_id)
                    .map_or((String::new(), relation_id.to_string()), |(_, leaf)| {
                        (leaf.schema.clone(), leaf.name.clone())
                    });
                return Err(truncate::uncertain(&schema, &name));
            }
        }
        Ok(())
    }
}
