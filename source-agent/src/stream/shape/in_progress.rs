//! Transactions that arrive before they have committed.
//!
//! They come in blocks between other transactions, large ones alone, and are passed on block by block. Their commit position
//! is known at their commit only, so what depends on it, a table's beginning, is left to the sink, which holds them until
//! then.
//!
//! What a relation looks like is described to each of them anew, because they may have changed it, and again after each
//! rollback in one, which may have changed it back. With the commit their descriptions count for all that follows.
//!
//! What only a committed transaction can answer (to which table a partition belongs that it made, the bounds of one that it
//! truncated alone) is not asked here: such a transaction has to come whole, which [`RunError::StreamingPutOff`] sees to.

use std::collections::HashMap;

use bytes::Bytes;
use strait_postgres::pgoutput::{LogicalMessage, OldTuple, StreamAbort, StreamCommit, TupleData};
use strait_proto::Lsn;
use strait_proto::v1::{self, RowOperation, change::Change as Kind};

use super::{Known, MESSAGE_PREFIX, Shape, Step, has_announced, out_of_turn, row_change};
use crate::error::RunError;
use crate::stream::truncate;

/// What is known of a transaction in progress.
pub(super) struct InProgress {
    /// The sink was told of it.
    announced: bool,
    /// Whose the next change is, as the sink knows it.
    subxid: u32,
    /// Described within it, since its last rollback.
    pub(super) relations: HashMap<u32, Known>,
    /// Our own message that it holds.
    message: Option<Bytes>,
}

/// A piece of a transaction in progress.
pub(super) struct Block {
    pub(super) xid: u32,
    /// The sink was told that it begins.
    announced: bool,
}

impl Shape {
    /// The transaction whose block is being read.
    pub(in crate::stream) fn block_xid(&self) -> Option<u32> {
        self.block.as_ref().map(|block| block.xid)
    }

    /// What came so far of transactions that have not ended does not count: it comes again from their beginnings.
    pub(in crate::stream) fn abandon_in_progress(&mut self, changes: &mut Vec<v1::Change>) {
        self.block = None;
        for (xid, transaction) in self.in_progress.drain() {
            if transaction.announced {
                changes.push(change(Kind::StreamAbort(v1::StreamAbort { xid, subxid: xid })));
            }
        }
    }

    pub(super) fn stream_start(&mut self, xid: u32) -> Result<(), RunError> {
        if self.open.is_some() || self.block.is_some() {
            return Err(out_of_turn("a piece of a transaction within another one"));
        }
        self.block = Some(Block { xid, announced: false });
        self.in_progress.entry(xid).or_insert_with(|| InProgress::new(xid));
        Ok(())
    }

    pub(super) fn stream_stop(&mut self, changes: &mut Vec<v1::Change>) -> Result<(), RunError> {
        let block = self.block.take().ok_or_else(|| out_of_turn("the end of a piece that has not begun"))?;
        if block.announced {
            changes.push(change(Kind::StreamStop(v1::StreamStop {})));
        }
        Ok(())
    }

    /// Answers a message within a block; `xid` is the subtransaction that it names.
    pub(super) fn in_block(
        &mut self,
        xid: Option<u32>,
        message: LogicalMessage,
        changes: &mut Vec<v1::Change>,
    ) -> Result<Step, RunError> {
        match message {
            LogicalMessage::Relation(relation) => return self.relation(relation),
            LogicalMessage::Insert { relation_id, new } => {
                self.row_in_block(xid, relation_id, RowOperation::Insert, None, Some(new), changes)?;
            }
            LogicalMessage::Update { relation_id, old, new } => {
                self.row_in_block(xid, relation_id, RowOperation::Update, old, Some(new), changes)?;
            }
            LogicalMessage::Delete { relation_id, old } => {
                self.row_in_block(xid, relation_id, RowOperation::Delete, Some(old), None, changes)?;
            }
            LogicalMessage::Truncate { relation_ids, restart_identity, .. } => {
                return self.truncate_in_block(xid, &relation_ids, restart_identity, changes);
            }
            LogicalMessage::Message { transactional: true, prefix, content, .. }
                if prefix == MESSAGE_PREFIX =>
            {
                self.in_progress_here()?.1.message = Some(content);
            }
            LogicalMessage::Message { .. } | LogicalMessage::Origin | LogicalMessage::Type => {}
            _ => return Err(out_of_turn("the bounds of another transaction within a piece")),
        }
        Ok(Step::Done)
    }

    pub(super) fn stream_commit(
        &mut self,
        stream_commit: StreamCommit,
        changes: &mut Vec<v1::Change>,
    ) -> Result<Step, RunError> {
        if self.open.is_some() || self.block.is_some() {
            return Err(out_of_turn("the commit of a transaction in progress within another one"));
        }
        let StreamCommit { xid, commit } = stream_commit;
        // One that is not known has changed nothing.
        let transaction = self.in_progress.remove(&xid).unwrap_or_else(|| InProgress::new(xid));
        self.promote(transaction.relations);
        // It came before: the source sends again what lies behind a change of how it is read.
        let repeated = commit.commit_lsn < self.position_lsn;
        if transaction.announced && !repeated {
            self.position_lsn = self.position_lsn.max(commit.end_lsn);
            let (commit_lsn, end_lsn) = (commit.commit_lsn.0, commit.end_lsn.0);
            let commit_time_us = commit.commit_time_us;
            changes.push(change(Kind::StreamCommit(v1::StreamCommit {
                xid,
                commit_lsn,
                end_lsn,
                commit_time_us,
            })));
        } else {
            if transaction.announced {
                changes.push(change(Kind::StreamAbort(v1::StreamAbort { xid, subxid: xid })));
            }
            self.advance(commit.end_lsn, changes);
        }
        Ok(transaction.message.map_or(Step::Done, |content| Step::Message(content, commit.end_lsn)))
    }

    pub(super) fn stream_abort(
        &mut self,
        abort: StreamAbort,
        changes: &mut Vec<v1::Change>,
    ) -> Result<(), RunError> {
        if self.block.is_some() {
            return Err(out_of_turn("a rollback within a piece of a transaction"));
        }
        let StreamAbort { xid, subxid, .. } = abort;
        let Some(transaction) = self.in_progress.get_mut(&xid) else {
            return Ok(());
        };
        if transaction.announced {
            changes.push(change(Kind::StreamAbort(v1::StreamAbort { xid, subxid })));
        }
        transaction.relations.clear();
        if subxid == xid {
            self.in_progress.remove(&xid);
        }
        Ok(())
    }

    fn row_in_block(
        &mut self,
        subxid: Option<u32>,
        relation_id: u32,
        operation: RowOperation,
        old: Option<OldTuple>,
        new: Option<TupleData>,
        changes: &mut Vec<v1::Change>,
    ) -> Result<(), RunError> {
        let (block, transaction) = self.in_progress_here()?;
        match transaction.relations.get(&relation_id) {
            Some(Known::Mapped(mapped)) if mapped.operations.carry(operation) => {}
            Some(Known::Mapped(_)) => return Ok(()),
            // A server that streams transactions in progress has logical messages, and needs no heartbeat's table.
            Some(Known::Ignored | Known::Heartbeat(_)) => return Ok(()),
            None => return Err(out_of_turn("a row of a relation that was not described to its transaction")),
        }
        transaction.enter(block, subxid, changes);
        // After the subtransaction that it belongs to: a rollback takes both back.
        let mut filtered = None;
        if let Some(Known::Mapped(mapped)) = transaction.relations.get_mut(&relation_id) {
            mapped.announce(changes);
            filtered = mapped.filtered.clone();
            changes.push(row_change(relation_id, operation, &mapped.projection, old, new));
        }
        self.filtered = filtered;
        Ok(())
    }

    fn truncate_in_block(
        &mut self,
        subxid: Option<u32>,
        relation_ids: &[u32],
        restart_identity: bool,
        changes: &mut Vec<v1::Change>,
    ) -> Result<Step, RunError> {
        // Every table's beginning lies before a commit that is still to come, or the sink leaves the table out.
        let mapped = match truncate::map(relation_ids, &self.tables, Lsn(u64::MAX)) {
            Ok(mapped) => mapped,
            Err(error) => return Err(self.put_off(error)),
        };
        if !mapped.relations.is_empty() {
            let (block, transaction) = self.in_progress_here()?;
            transaction.enter(block, subxid, changes);
            let truncate = v1::Truncate { relations: mapped.relations, restart_identity };
            changes.push(change(Kind::Truncate(truncate)));
        }
        Ok(if mapped.bounded.is_empty() { Step::Done } else { Step::Bounded(mapped.bounded) })
    }

    /// What an error about the transaction in progress that is being read means: it may never commit, so it cannot stop the
    /// task. It has to come whole, and if it does, the error comes again.
    pub(in crate::stream) fn put_off(&self, error: RunError) -> RunError {
        match self.block_xid() {
            Some(xid) if error.failure().definite => {
                RunError::StreamingPutOff { xid, reason: error.failure().cause }
            }
            _ => error,
        }
    }

    fn in_progress_here(&mut self) -> Result<(&mut Block, &mut InProgress), RunError> {
        let block = self.block.as_mut();
        block
            .and_then(|block| {
                let transaction = self.in_progress.get_mut(&block.xid)?;
                Some((block, transaction))
            })
            .ok_or_else(|| out_of_turn("a change outside of a piece of a transaction"))
    }

    /// The relations of a transaction that has committed are described to everybody now, unless they were described anew
    /// meanwhile.
    fn promote(&mut self, relations: HashMap<u32, Known>) {
        for (relation_id, mut known) in relations {
            if let Known::Mapped(mapped) = &mut known {
                if let Some(Known::Mapped(newer)) = self.relations.get(&relation_id)
                    && newer.order > mapped.order
                {
                    continue;
                }
                mapped.announced = has_announced(&self.relations, &mapped.definition);
            }
            self.relations.insert(relation_id, known);
        }
    }
}

impl InProgress {
    fn new(xid: u32) -> Self {
        Self { announced: false, subxid: xid, relations: HashMap::new(), message: None }
    }

    /// Tells the sink whose the next change is, as far as it does not know.
    fn enter(&mut self, block: &mut Block, subxid: Option<u32>, changes: &mut Vec<v1::Change>) {
        self.announced = true;
        if !block.announced {
            block.announced = true;
            changes.push(change(Kind::StreamStart(v1::StreamStart { xid: block.xid })));
        }
        let subxid = subxid.unwrap_or(block.xid);
        if subxid != self.subxid {
            self.subxid = subxid;
            changes.push(change(Kind::StreamSubtransaction(v1::StreamSubtransaction { subxid })));
        }
    }
}

fn change(kind: Kind) -> v1::Change {
    v1::Change { change: Some(kind) }
}

#[cfg(test)]
#[path = "in_progress_tests.rs"]
mod tests;
