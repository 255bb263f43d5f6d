//! The receiving half of a stream session: frames in, planned batches out.
//!
//! It reads on while the executor works, as long as there is room, and plans a full batch ahead. Relations
//! are matched to tables here, over a connection of their own, so that the order of the stream is all that
//! decides.
//!
//! What arrives of a transaction in progress goes to the spool. With its commit it is fed from there, piece by
//! piece as room allows, before anything further of the frame, or another frame, is taken in.

use std::sync::Arc;

use hashbrown::HashMap;
use prost::Message as _;
use strait_postgres::Client;
use strait_proto::v1::stream_changes_request::Message;
use strait_proto::v1::stream_changes_response::Message as Reply;
use strait_proto::v1::{self, RelationDefinition, change};
use strait_runtime::telemetry::names;
use strait_runtime::trace_context::continue_from;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Streaming;
use tracing::Span;

use super::arrivals::{Arrivals, Room};
use super::assembly::{Assembly, Pending};
use super::batch::{Batch, Extent};
use super::change::Operation;
use super::feed::{Feed, Unfed};
use super::lanes::{Laning, folded};
use super::relation::Relation;
use super::replies::Replies;
use super::target::Target;
use super::the_other_says_why;
use crate::error::Error;
use crate::spool::{SpoolError, Spools};

/// Batches that may be with the executor: one that it runs, one that waits.
const EXECUTING_MAX: usize = 2;
/// A row with a larger tuple is written by itself: as part of an array it could exceed what the server takes.
const ROW_IN_SET_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Takes frames in until the source ends the stream.
pub(crate) struct Receiver {
    pub(crate) inbound: Streaming<v1::StreamChangesRequest>,
    pub(crate) assembly: Assembly,
    pub(crate) relations: Relations,
    pub(crate) intake: Intake,
    pub(crate) batches: mpsc::Sender<Batch>,
    /// One message for each batch that is done.
    pub(crate) done: mpsc::Receiver<()>,
    pub(crate) replies: Replies,
    /// Of what was received.
    pub(crate) arrivals: Arrivals,
    /// The trace context of the last frame.
    pub(crate) traceparent: String,
}

/// What was received and is still to be taken in.
pub(crate) struct Intake {
    spools: Spools,
    /// A transaction from the spool: first.
    feed: Option<Feed>,
    /// The rest of a frame: then, but for what goes to the spool.
    frame: Option<OpenFrame>,
}

/// A frame of which something is left.
struct OpenFrame {
    changes: std::vec::IntoIter<v1::Change>,
    /// The credit that it cost.
    cost: u64,
    /// What of that went to the spool.
    spooled: u64,
    /// Something of it did not.
    kept: bool,
    /// Open as long as the frame is.
    _span: Span,
}

impl Receiver {
    /// Returns when the source has ended the stream in order.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut executing = 0;
        let mut next_sequence = 1;
        let mut room = Room::default();
        loop {
            while executing < EXECUTING_MAX
                && let Some(pending) = self.assembly.take(executing > 0)
            {
                let span = tracing::info_span!(parent: None, names::SPAN_PLAN);
                continue_from(&span, &self.traceparent);
                let batch = span.in_scope(|| {
                    planned(pending, self.relations.laning.as_ref(), self.traceparent.clone())
                })?;
                // Room for it is certain: fewer than EXECUTING_MAX are under way.
                if self.batches.send(batch).await.is_err() {
                    return the_other_says_why().await;
                }
                executing += 1;
            }
            let taken_in = match self.take_in().await {
                Ok(taken_in) => taken_in,
                Err(Unfed::Failed(error)) => return Err(error),
                Err(Unfed::Spool(error)) => return self.put_off(&error).await,
            };
            room.note(self.assembly.has_room(), Instant::now());
            tokio::select! {
                biased;
                done = self.done.recv() => match done {
                    Some(()) => executing -= 1,
                    None => return the_other_says_why().await,
                },
                request = self.inbound.message(), if self.may_receive() => {
                    let request = request.map_err(|status| {
                        tracing::debug!(%status, "the change stream broke");
                        Error::Stopped
                    })?;
                    let Some(request) = request else { return Ok(()) };
                    let Some(Message::Frame(frame)) = request.message else {
                        return Err(Error::protocol("OpenStream comes first and once"));
                    };
                    if frame.sequence != next_sequence {
                        let found = frame.sequence;
                        return Err(Error::protocol(format!("frame {found} instead of {next_sequence}")));
                    }
                    next_sequence += 1;
                    self.arrivals.arrived(&frame, room.received(Instant::now()));
                    self.open_frame(frame);
                }
                // There is more to take in: nothing is waited for.
                () = std::future::ready(()), if taken_in => {}
            }
        }
    }

    /// A frame at a time, and none without room for it; but while a transaction is fed from the spool, others go on arriving
    /// there.
    fn may_receive(&self) -> bool {
        self.intake.frame.is_none() && (self.intake.feed.is_some() || self.assembly.has_room())
    }

    fn open_frame(&mut self, frame: v1::ChangeFrame) {
        let cost = frame.encoded_len() as u64;
        let span = tracing::info_span!(parent: None, names::SPAN_RECEIVE);
        continue_from(&span, &frame.traceparent);
        self.traceparent = frame.traceparent;
        self.intake.frame = Some(OpenFrame {
            changes: frame.changes.into_iter(),
            cost,
            spooled: 0,
            kept: false,
            _span: span,
        });
    }

    /// Takes in some of what is pending, as far as there is room; true where there was some.
    async fn take_in(&mut self) -> Result<bool, Unfed> {
        if self.intake.feed.is_some() {
            self.spool_ahead().await?;
        }
        if !self.assembly.has_room() {
            return Ok(false);
        }
        if let Some(feed) = &mut self.intake.feed {
            if feed.go_on(&mut self.relations, &mut self.assembly).await? {
                self.intake.feed = None;
            }
            return Ok(true);
        }
        let Some(mut frame) = self.intake.frame.take() else {
            return Ok(false);
        };
        while let Some(change) = frame.changes.next() {
            frame.kept |= !self.intake.spools.takes(&change);
            frame.spooled += self.change(known(change)?).await?;
            if self.intake.feed.is_some() {
                self.intake.frame = Some(frame);
                return Ok(true);
            }
        }
        self.end_frame(&frame).await?;
        Ok(true)
    }

    /// What lies in the spool keeps no credit: it may be more than there is.
    async fn end_frame(&mut self, frame: &OpenFrame) -> Result<(), Error> {
        let free = match frame.kept {
            true => frame.spooled + self.assembly.end_frame(frame.cost - frame.spooled),
            false => frame.cost,
        };
        self.replies.credit(free).await
    }

    /// Of a frame that came while a transaction is fed: what goes to the spool. The rest has to wait for that one's end.
    async fn spool_ahead(&mut self) -> Result<(), Unfed> {
        let Some(mut frame) = self.intake.frame.take() else {
            return Ok(());
        };
        while let Some(next) = frame.changes.as_slice().first() {
            if !self.intake.spools.takes(next) {
                self.intake.frame = Some(frame);
                return Ok(());
            }
            if let Some(change) = frame.changes.next() {
                frame.spooled += self.change(known(change)?).await?;
            }
        }
        Ok(self.end_frame(&frame).await?)
    }

    /// Takes a change in. Returns how many bytes of it went to the spool.
    async fn change(&mut self, change: change::Change) -> Result<u64, Unfed> {
        use change::Change as Kind;
        let spools = &mut self.intake.spools;
        match change {
            Kind::StreamStart(start) => spools.start(start.xid)?,
            Kind::StreamStop(_) => spools.stop()?,
            Kind::StreamSubtransaction(subtransaction) => spools.subtransaction(subtransaction.subxid)?,
            Kind::StreamAbort(abort) => spools.abort(abort.xid, abort.subxid).await?,
            Kind::StreamCommit(commit) => {
                let reader = spools.commit(commit.xid).await?;
                tracing::debug!(xid = commit.xid, bytes = reader.bytes(), "applying what was spooled");
                self.intake.feed = Some(Feed::begin(reader, commit, &mut self.assembly)?);
            }
            change @ (Kind::Relation(_) | Kind::Row(_) | Kind::Truncate(_)) if spools.in_block() => {
                let change = v1::Change { change: Some(change) };
                spools.push(&change).await?;
                return Ok(change.encoded_len() as u64);
            }
            Kind::Begin(begin) => self.assembly.begin(begin)?,
            Kind::Commit(commit) => self.assembly.commit(commit)?,
            Kind::Relation(definition) => self.relations.define(definition).await?,
            Kind::Row(row) => self.relations.get(row.relation_id)?.row(&mut self.assembly, row)?,
            Kind::Truncate(truncate) => {
                self.relations.truncate(&mut self.assembly, truncate).await?;
            }
            Kind::Progress(progress) => self.assembly.progress(progress)?,
        }
        Ok(0)
    }

    /// A transaction in progress cannot be kept. The session ends for that: the source opens the next one without
    /// streaming, so that the transaction comes whole. Everything spooled is discarded and comes again.
    async fn put_off(mut self, error: &SpoolError) -> Result<(), Error> {
        if let SpoolError::OutOfTurn(what) = error {
            return Err(Error::protocol(*what));
        }
        let xid = self.intake.put_off_by();
        tracing::warn!(xid, %error, "transactions in progress cannot be kept");
        self.intake.spools.clear();
        let put_off = v1::StreamingPutOff { xid, reason: error.to_string() };
        self.replies.send(Reply::StreamingPutOff(put_off)).await?;
        // What is under way comes again. The source goes when it has read the reply, or is gone.
        while let Ok(Some(_)) = self.inbound.message().await {}
        Err(Error::Stopped)
    }
}

fn known(change: v1::Change) -> Result<change::Change, Error> {
    change.change.ok_or_else(|| Error::protocol("a change of a kind that is not known"))
}

impl Intake {
    pub(crate) fn new(spools: Spools) -> Self {
        Self { spools, feed: None, frame: None }
    }

    /// The transaction for whose time the source should not stream: the one whose file is read and cannot be, else the
    /// largest.
    fn put_off_by(&self) -> u32 {
        self.feed.as_ref().map(Feed::xid).or_else(|| self.spools.largest()).unwrap_or_default()
    }
}

fn planned(pending: Pending, laning: Option<&Laning>, traceparent: String) -> Result<Batch, Error> {
    let Pending { operations, extent, transactions, credit, completes, .. } = pending;
    let large = |operation: &Operation| match operation {
        Operation::Truncate(_) | Operation::Suspend(_) => false,
        Operation::Row(change) => change.tuple_bytes_max() > ROW_IN_SET_BYTES_MAX,
    };
    let one_by_one = operations.iter().any(large);
    let lanes = match (laning, extent) {
        // While the lines of a batch stand, it is completed, and no other one begun.
        (Some(laning), Extent::Whole { .. }) if !one_by_one && !completes => laning.plan(&operations)?,
        _ => None,
    };
    let steps = if one_by_one || lanes.is_some() { None } else { folded(&operations)? };
    Ok(Batch { operations, steps, lanes, completes, extent, transactions, traceparent, credit })
}

/// The relations that the source has defined in this session.
pub(crate) struct Relations {
    client: Client,
    by_id: HashMap<u32, (RelationDefinition, Known)>,
    /// Those that transactions in progress have defined last. They count for them alone, but each one repeats
    /// what the one before has said.
    in_progress: HashMap<u32, (RelationDefinition, Known)>,
    /// Learns the keys of their tables. None: batches are applied by one transaction each.
    laning: Option<Laning>,
}

/// What is known of a relation.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Fits(Arc<Relation>),
    /// There is no table that could take its changes.
    Unfit {
        table_id: u32,
        failure: Box<v1::Failure>,
    },
}

impl Known {
    /// Takes a change of the relation in.
    pub(super) fn row(&self, assembly: &mut Assembly, row: v1::RowChange) -> Result<(), Error> {
        match self {
            Self::Fits(relation) => assembly.row(relation, row),
            Self::Unfit { table_id, failure } => assembly.suspend(*table_id, failure),
        }
    }
}

impl Relations {
    /// Reads the tables' shapes with `client`.
    pub(crate) fn new(client: Client, laning: Option<Laning>) -> Self {
        Self { client, by_id: HashMap::new(), in_progress: HashMap::new(), laning }
    }

    /// Takes a definition in.
    async fn define(&mut self, definition: RelationDefinition) -> Result<(), Error> {
        let known = self.resolve(&definition).await?;
        self.in_progress.remove(&definition.relation_id);
        self.by_id.insert(definition.relation_id, (definition, known));
        Ok(())
    }

    /// The relation that a definition within a transaction in progress means.
    pub(super) async fn define_in_progress(
        &mut self,
        definition: RelationDefinition,
    ) -> Result<Known, Error> {
        let relation_id = definition.relation_id;
        let known = [self.in_progress.get(&relation_id), self.by_id.get(&relation_id)];
        if let Some((_, known)) = known.into_iter().flatten().find(|(known, _)| *known == definition) {
            return Ok(known.clone());
        }
        let known = self.resolve(&definition).await?;
        self.in_progress.insert(relation_id, (definition, known.clone()));
        Ok(known)
    }

    /// What a definition means. The table's shape is read again, because a definition is repeated when something
    /// changed.
    async fn resolve(&mut self, definition: &RelationDefinition) -> Result<Known, Error> {
        let relation = match self.matched(definition).await {
            Ok(relation) => relation,
            Err(Error::Refused(failure)) => {
                return Ok(Known::Unfit { table_id: definition.table_id, failure });
            }
            Err(error) => return Err(error),
        };
        if let Some(laning) = &mut self.laning {
            laning.learn(&self.client, &relation.target).await?;
        }
        Ok(match self.by_id.get(&definition.relation_id) {
            // Folding goes on where nothing has changed in fact.
            Some((_, Known::Fits(before))) if **before == relation => Known::Fits(Arc::clone(before)),
            _ => Known::Fits(Arc::new(relation)),
        })
    }

    async fn matched(&self, definition: &RelationDefinition) -> Result<Relation, Error> {
        let name =
            definition.target.as_ref().ok_or_else(|| Error::protocol("a relation without a target"))?;
        let target = Target::load(&self.client, name).await?;
        // Relations of one table share its shape, so that their changes can be told to fit together at a
        // glance.
        let shared = self.by_id.values().find_map(|(_, known)| match known {
            Known::Fits(relation) if *relation.target == target => Some(Arc::clone(&relation.target)),
            _ => None,
        });
        let target = shared.unwrap_or_else(|| Arc::new(target));
        Relation::resolve(definition, target)
    }

    /// Tables are emptied. That comes without a definition: those that are not there are suspended by it.
    pub(super) async fn truncate(
        &self,
        assembly: &mut Assembly,
        truncate: v1::Truncate,
    ) -> Result<(), Error> {
        for relation in &truncate.relations {
            let Some(name) = assembly.table_name(relation.table_id).cloned() else { continue };
            match Target::load(&self.client, &name).await {
                Ok(_) => {}
                Err(Error::Refused(failure)) => assembly.suspend(relation.table_id, &failure)?,
                Err(error) => return Err(error),
            }
        }
        assembly.truncate(truncate)
    }

    fn get(&self, relation_id: u32) -> Result<&Known, Error> {
        let known = self.by_id.get(&relation_id).map(|(_, known)| known);
        known.ok_or_else(|| {
            Error::protocol(format!("a change of relation {relation_id} before its definition"))
        })
    }
}
