//! The receiving half of a stream session: frames in, planned batches out.
//!
//! It reads on while the executor works, as long as there is room, and plans a full batch ahead. Relations
//! are matched to tables here, over a connection of their own, so that the order of the stream is all that
//! decides.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use prost::Message as _;
use strait_postgres::Client;
use strait_proto::v1::{self, RelationDefinition, change, stream_changes_request::Message};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::assembly::{Assembly, Pending};
use super::batch::Batch;
use super::change::Operation;
use super::plan::{Unplanned, plan};
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
                let batch = planned(pending, self.traceparent.clone())?;
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
                change::Change::Relation(definition) => self.relations.define(definition).await?,
                change::Change::Row(row) => match self.relations.get(row.relation_id)? {
                    Known::Fits(relation) => self.assembly.row(relation, row)?,
                    Known::Unfit { table_id, failure } => self.assembly.suspend(*table_id, failure)?,
                },
                change::Change::Truncate(truncate) => {
                    self.suspend_missing(&truncate).await?;
                    self.assembly.truncate(truncate)?;
                }
                change::Change::Progress(progress) => self.assembly.progress(progress)?,
            }
        }
        Ok(self.assembly.end_frame(cost))
    }

    /// A TRUNCATE comes without a definition: tables that it names and that are not there are suspended by it.
    async fn suspend_missing(&mut self, truncate: &v1::Truncate) -> Result<(), Error> {
        for relation in &truncate.relations {
            let Some(name) = self.assembly.table_name(relation.table_id).cloned() else { continue };
            match Target::load(&self.relations.client, &name).await {
                Ok(_) => {}
                Err(Error::Refused(failure)) => self.assembly.suspend(relation.table_id, &failure)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn planned(pending: Pending, traceparent: String) -> Result<Batch, Error> {
    let Pending { operations, extent, transactions, credit, .. } = pending;
    let large = |operation: &Operation| match operation {
        Operation::Truncate(_) | Operation::Suspend(_) => false,
        Operation::Row(change) => change.tuple_bytes_max() > ROW_IN_SET_BYTES_MAX,
    };
    let steps = if operations.iter().any(large) {
        None
    } else {
        match plan(&operations, &HashSet::new()) {
            Ok(steps) => Some(steps),
            Err(Unplanned::InOrder) => None,
            Err(Unplanned::Failed(error)) => return Err(error),
        }
    };
    Ok(Batch { operations, steps, extent, transactions, traceparent, credit })
}

/// The relations that the source has defined in this session.
pub(crate) struct Relations {
    client: Client,
    by_id: HashMap<u32, (RelationDefinition, Known)>,
}

/// What is known of a relation.
#[derive(Debug)]
enum Known {
    Fits(Arc<Relation>),
    /// There is no table that could take its changes.
    Unfit {
        table_id: u32,
        failure: Box<v1::Failure>,
    },
}

impl Relations {
    /// Reads the tables' shapes with `client`.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, by_id: HashMap::new() }
    }

    /// Takes a definition in. The table's shape is read again, because a definition is repeated when
    /// something changed.
    async fn define(&mut self, definition: RelationDefinition) -> Result<(), Error> {
        let known = match self.resolve(&definition).await {
            Ok(relation) => relation,
            Err(Error::Refused(failure)) => Known::Unfit { table_id: definition.table_id, failure },
            Err(error) => return Err(error),
        };
        match (self.by_id.get(&definition.relation_id), &known) {
            // Folding goes on where nothing has changed in fact.
            (Some((_, Known::Fits(before))), Known::Fits(relation)) if before == relation => {}
            _ => {
                self.by_id.insert(definition.relation_id, (definition, known));
            }
        }
        Ok(())
    }

    async fn resolve(&self, definition: &RelationDefinition) -> Result<Known, Error> {
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
        Ok(Known::Fits(Arc::new(Relation::resolve(definition, target)?)))
    }

    fn get(&self, relation_id: u32) -> Result<&Known, Error> {
        let known = self.by_id.get(&relation_id).map(|(_, known)| known);
        known.ok_or_else(|| {
            Error::protocol(format!("a change of relation {relation_id} before its definition"))
        })
    }
}
