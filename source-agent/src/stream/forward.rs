//! The forward half of a session: decoded messages in, frames out, whichever way the messages come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strait_postgres::Client;
use strait_postgres::pgoutput::{Decoder, Relation, Streaming};
use strait_proto::Lsn;
use strait_proto::v1::{self, change::Change as Kind, stream_changes_request::Message};
use strait_runtime::telemetry::names;
use strait_runtime::trace_context::traceparent;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::credit::Credit;
use super::frame::FramePacker;
use super::heartbeat::Heartbeats;
use super::hold::Hold;
use super::positions::Positions;
use super::shape::{Shape, Step};
use super::throttle::Throttle;
use super::truncate;
use crate::capture::leaves::Leaves;
use crate::error::{During, RunError};
use crate::metrics::SentMetrics;
use crate::reporter::Reporter;
use crate::rows::Stage;

/// When the channel to the sink is closed, the answering half knows why. This is how long it has to say so.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(30);

/// A transaction is decoded once its commit is on disk, and other sessions see it a moment later, or once a synchronous
/// standby has it: a partition that it made may not stand in the catalog yet.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(10);
const VISIBLE_PAUSE: Duration = Duration::from_millis(50);

/// Shapes messages and sends them on.
pub(super) struct Forward {
    /// Of whoever is read at present.
    pub(super) decoder: Decoder,
    pub(super) shape: Shape,
    /// Where what the shape makes waits for conditions on rows.
    pub(super) stage: Stage,
    pub(super) packer: FramePacker,
    /// What the message at hand became.
    pub(super) changes: Vec<v1::Change>,
    pub(super) frames: mpsc::Sender<v1::StreamChangesRequest>,
    pub(super) hold: Hold,
    pub(super) throttle: Arc<Throttle>,
    pub(super) credit: Arc<Credit>,
    pub(super) positions: Arc<Positions>,
    pub(super) heartbeats: Arc<Heartbeats>,
    pub(super) catalog: Catalog,
    /// The span of the frame that is being packed.
    pub(super) frame: Option<Span>,
    pub(super) metrics: SentMetrics,
}

/// What has to be asked of the source while its stream is read.
#[derive(Clone)]
pub(super) struct Catalog {
    pub(super) client: Arc<Client>,
    pub(super) leaves: Arc<Mutex<Leaves>>,
    pub(super) reporter: Reporter,
}

impl Forward {
    /// Another one is read from here on, which sends transactions in progress like this.
    pub(super) fn reads(&mut self, streaming: Streaming) {
        self.decoder = Decoder::new(streaming);
    }

    /// Takes one message of the output plugin.
    pub(super) async fn message(&mut self, payload: Bytes) -> Result<(), RunError> {
        let decoded = self.decoder.decode(payload).map_err(strait_postgres::Error::from);
        match self.shape.decoded(decoded.during("read the change stream")?, &mut self.changes)? {
            Step::Done => {}
            step => self.settle(step).await?,
        }
        self.pack().await
    }

    /// Everything before `position_lsn` has come.
    pub(super) async fn position(&mut self, position_lsn: Lsn) -> Result<(), RunError> {
        self.positions.set_received(position_lsn);
        self.shape.keepalive(position_lsn, &mut self.changes);
        self.pack().await
    }

    /// A slice has ended, up to `position_lsn`. Transactions of which it brought the beginning alone come again with the next
    /// one, or with the stream.
    pub(super) async fn end_slice(&mut self, position_lsn: Lsn) -> Result<(), RunError> {
        self.shape.abandon_in_progress(&mut self.changes);
        self.position(position_lsn).await
    }

    /// Sends what is packed: nothing more is in memory, so nothing is gained by waiting.
    pub(super) async fn flush(&mut self) -> Result<(), RunError> {
        self.settle_rows().await?;
        self.send_packed().await
    }

    async fn send_packed(&mut self) -> Result<(), RunError> {
        if self.packer.is_empty() {
            return Ok(());
        }
        let frame = self.frame.take().unwrap_or_else(frame_span);
        let send = tracing::info_span!(parent: &frame, names::SPAN_SEND);
        let traceparent = frame.in_scope(traceparent).unwrap_or_default();
        self.send(traceparent).instrument(send).await
    }

    async fn pack(&mut self) -> Result<(), RunError> {
        let filtered = self.shape.take_filtered();
        let mut changes = std::mem::take(&mut self.changes);
        for change in changes.drain(..) {
            let filtered = filtered.as_ref().filter(|_| matches!(change.change, Some(Kind::Row(_))));
            if let Some(change) = self.stage.push(change, filtered.cloned()) {
                self.pack_one(change).await?;
            }
        }
        self.changes = changes;
        if self.stage.is_full() { self.settle_rows().await } else { Ok(()) }
    }

    async fn settle_rows(&mut self) -> Result<(), RunError> {
        for change in self.stage.settle().await? {
            self.pack_one(change).await?;
        }
        Ok(())
    }

    async fn pack_one(&mut self, change: v1::Change) -> Result<(), RunError> {
        if self.packer.is_empty() {
            self.frame = Some(frame_span());
        }
        if let Some(change) = self.packer.push(change) {
            self.send_packed().await?;
            self.frame = Some(frame_span());
            self.packer.begin(change);
        }
        Ok(())
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
            if leaves.is_joining(&self.catalog.client, relation.relation_id).await? {
                tracing::debug!(
                    relation = relation.name,
                    "changes of a table that joins come in a stream of its own"
                );
                self.shape.ignore(&relation);
                return Ok(());
            }
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
                self.shape.adopt(relation, table_id, leaf.clone())?;
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

    async fn send(&mut self, traceparent: String) -> Result<(), RunError> {
        let Some(packed) = self.packer.take(traceparent) else {
            return Ok(());
        };
        self.heartbeats.waits(Instant::now());
        self.hold.pass().await;
        self.throttle.pay(packed.rows, packed.cost).await;
        self.credit.pay(packed.cost).await;
        self.packer.set_limits(self.throttle.frame_limits());
        // Before it is sent, so that the acknowledgement cannot come first.
        self.positions.set_sent(packed.position_lsn);
        self.heartbeats.sent(packed.frame.sequence, packed.position_lsn, Instant::now());
        let request = v1::StreamChangesRequest { message: Some(Message::Frame(packed.frame)) };
        if self.frames.send(request).await.is_err() {
            tokio::time::sleep(EXPLANATION_TIMEOUT).await;
            return Err(RunError::connection("the sink-agent closed the change stream"));
        }
        self.heartbeats.moves(Instant::now());
        self.metrics.sent(packed.rows, packed.cost);
        Ok(())
    }
}

/// A trace of its own for each frame: the run that it belongs to may last for months.
fn frame_span() -> Span {
    tracing::info_span!(parent: None, names::SPAN_FRAME)
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
                return Err(truncate::uncertain(*table_id, &schema, &name));
            }
        }
        Ok(())
    }
}
