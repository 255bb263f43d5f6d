//! The receiving half of a stream session: frames in, planned batches out.
//!
//! It reads on while the executor works, as long as there is room, and plans a full batch ahead. Relations
//! are matched to tables here, over a connection of their own, so that the order of the stream is all that
//! decides.

use std::sync::Arc;

use hashbrown::HashMap;
use prost::Message as _;
use strait_postgres::Client;
use strait_proto::v1::{self, RelationDefinition, change, stream_changes_request::Message};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::assembly::{Assembly, Pending};
use super::batch::{Batch, Extent};
use super::change::Operation;
use super::lanes::{Laning, folded};
use super::relation::Relation;
use super::replies::Replies;
use super::target::Target;
use super::the_other_says_why;
use crate::error::Error;

/// Batches that may be with the executor: one that it runs, one that waits.
const EXECUTING_MAX: usize = 2;
/// A row with a larger tuple is written by itself: as part of an array it could exceed what the server takes.
const ROW_IN_SET_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Takes frames in until the source ends the stream.
pub(crate) struct Receiver {
    pub(crate) inbound: Streaming<v1::StreamChangesRequest>,
    pub(crate) assembly: Assembly,
    pub(crate) relations: Relations,
    /// None: batches are applied by one transaction each.
    pub(crate) laning: Option<Laning>,
    pub(crate) batches: mpsc::Sender<Batch>,
    /// One message for each batch that is done.
    pub(crate) done: mpsc::Receiver<()>,
    pub(crate) replies: Replies,
    /// The trace context of the last frame.
    pub(crate) traceparent: String,
}

impl Receiver {
    /// Returns when the source has ended the stream in order.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut executing = 0;
        let mut next_sequence = 1;
        loop {
            while executing < EXECUTING_MAX
                && let Some(pending) = self.assembly.take(executing > 0)
            {
                let batch = planned(pending, self.laning.as_ref(), self.traceparent.clone())?;
                // Room for it is certain: fewer than EXECUTING_MAX are under way.
                if self.batches.send(batch).await.is_err() {
                    return the_other_says_why().await;
                }
                executing += 1;
            }
            tokio::select! {
                done = self.done.recv() => match done {
                    Some(()) => executing -= 1,
                    None => return the_other_says_why().await,
                },
                request = self.inbound.message(), if self.assembly.has_room() => {
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
                    let free = self.frame(frame).await?;
                    self.replies.credit(free).await?;
                }
            }
        }
    }

    /// Returns the credit that goes back at once.
    async fn frame(&mut self, frame: v1::ChangeFrame) -> Result<u64, Error> {
        let cost = frame.encoded_len() as u64;
        self.traceparent = frame.traceparent;
        for change in frame.changes {
            let change =
                change.change.ok_or_else(|| Error::protocol("a change of a kind that is not known"))?;
            match change {
                change::Change::Begin(begin) => self.assembly.begin(begin)?,
                change::Change::Commit(commit) => self.assembly.commit(commit)?,
                change::Change::Relation(definition) => self.define(definition).await?,
                change::Change::Row(row) => self.assembly.row(self.relations.get(row.relation_id)?, row)?,
                change::Change::Truncate(truncate) => self.assembly.truncate(truncate)?,
                change::Change::Progress(progress) => self.assembly.progress(progress)?,
            }
        }
        Ok(self.assembly.end_frame(cost))
    }

    async fn define(&mut self, definition: RelationDefinition) -> Result<(), Error> {
        let relation_id = definition.relation_id;
        self.relations.define(definition).await?;
        if let Some(laning) = &mut self.laning {
            let target = &self.relations.get(relation_id)?.target;
            laning.learn(&self.relations.client, target).await?;
        }
        Ok(())
    }
}

fn planned(pending: Pending, laning: Option<&Laning>, traceparent: String) -> Result<Batch, Error> {
    let Pending { operations, extent, transactions, credit, completes, .. } = pending;
    let large = |operation: &Operation| match operation {
        Operation::Truncate(_) => false,
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
    by_id: HashMap<u32, (RelationDefinition, Arc<Relation>)>,
}

impl Relations {
    /// Reads the tables' shapes with `client`.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, by_id: HashMap::new() }
    }

    /// Takes a definition in. The table's shape is read again, because a definition is repeated when
    /// something changed.
    async fn define(&mut self, definition: RelationDefinition) -> Result<(), Error> {
        let name =
            definition.target.as_ref().ok_or_else(|| Error::protocol("a relation without a target"))?;
        let target = Target::load(&self.client, name).await?;
        // Relations of one table share its shape, so that their changes can be told to fit together at a
        // glance.
        let same = self.by_id.values().find(|(_, relation)| *relation.target == target);
        let target = same.map_or_else(|| Arc::new(target), |(_, relation)| Arc::clone(&relation.target));
        let relation = Relation::resolve(&definition, target)?;
        match self.by_id.get(&definition.relation_id) {
            // Folding goes on where nothing has changed in fact.
            Some((_, known)) if **known == relation => {}
            _ => {
                self.by_id.insert(definition.relation_id, (definition, Arc::new(relation)));
            }
        }
        Ok(())
    }

    fn get(&self, relation_id: u32) -> Result<&Arc<Relation>, Error> {
        let known = self.by_id.get(&relation_id).map(|(_, relation)| relation);
        known.ok_or_else(|| {
            Error::protocol(format!("a change of relation {relation_id} before its definition"))
        })
    }
}
