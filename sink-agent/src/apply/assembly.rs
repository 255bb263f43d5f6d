//! From changes to batches: consecutive whole transactions, as many as have arrived, within bounds.
//!
//! ```text
//!   Begin … Commit ──► open ──► queue: [whole, whole] [last piece] [whole …] ──► executor
//!                       └─ larger than a batch: taken out piece by piece while it is still open
//! ```
//!
//! It always makes progress within the source's credit: an open transaction that holds [`BATCH_BYTES_MAX`] is
//! taken out as a piece, whole transactions are taken out whenever the executor has nothing to do, and what
//! was taken out gives its credit back when it is done. So what keeps credit without being executed is less
//! than a batch and a frame, and the credit window is larger than that: the source can always send what is
//! missing to go on.
//!
//! Pure: no I/O, and no clock.

use std::collections::VecDeque;

use hashbrown::HashMap;
use strait_proto::Lsn;
use strait_proto::v1::{self, CopyPhase, TableName};

use super::batch::Extent;
use super::change::{Change, Operation, Truncation};
use super::lanes::Recovery;
use super::relation::Relation;
use super::suspension::Suspension;
use crate::error::Error;

/// Bytes of changes that one batch holds; a single row may be larger.
pub(crate) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Operations that one batch holds.
pub(crate) const BATCH_OPERATIONS_MAX: usize = 50_000;
/// What a change costs beside its tuples, in bytes: the structures that hold it here and on the wire.
const OPERATION_BYTES: usize = 128;

/// A table as the stream sees it.
#[derive(Debug, Clone)]
pub(crate) struct StreamedTable {
    pub(crate) name: TableName,
    pub(crate) begin_lsn: Lsn,
    pub(crate) phase: CopyPhase,
}

/// What has arrived and was not taken out.
#[derive(Debug)]
pub(crate) struct Assembly {
    tables: HashMap<u32, StreamedTable>,
    /// Transactions that committed before it were applied in an earlier session.
    resume_lsn: Lsn,
    /// Everything before it is done, or waits here.
    position: Lsn,
    queue: VecDeque<Pending>,
    open: Option<Open>,
    /// A batch that lanes have applied in part: first it arrives in full, and nothing is taken out before.
    recovery: Option<Recovery>,
    /// Credit of frames that left nothing here.
    free_credit: u64,
    /// How many operations the last batch had: the next one is about as long, and its room had better not be found by doubling.
    room: usize,
    /// Room for the next transaction's operations.
    spare: Vec<Operation>,
}

/// A batch before it is planned.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) operations: Vec<Operation>,
    pub(crate) extent: Extent,
    pub(crate) transactions: u64,
    pub(crate) credit: u64,
    /// It completes a batch that lanes have applied in part; nothing joins it.
    pub(crate) completes: bool,
    bytes: usize,
}

/// A transaction whose commit has not arrived.
#[derive(Debug)]
struct Open {
    commit_lsn: Lsn,
    /// It was applied before: the source has to send again what it is not sure about.
    applied: bool,
    /// Some of it was taken out already.
    in_pieces: bool,
    operations: Vec<Operation>,
    bytes: usize,
    credit: u64,
}

impl Assembly {
    /// Transactions that committed before `resume_lsn` are dropped, and what `recovery` says is applied.
    pub(crate) fn new(
        resume_lsn: Lsn,
        tables: HashMap<u32, StreamedTable>,
        recovery: Option<Recovery>,
    ) -> Self {
        let (position, queue, open) = (resume_lsn, VecDeque::new(), None);
        let spare = Vec::new();
        Self { tables, resume_lsn, position, queue, open, recovery, free_credit: 0, room: 0, spare }
    }

    /// Whether another frame should be taken in.
    pub(crate) fn has_room(&self) -> bool {
        if self.recovery.is_some() {
            // It fitted before, and by now it is less.
            return true;
        }
        let queued: usize = self.queue.iter().map(|pending| pending.bytes).sum();
        let open = self.open.as_ref().map_or(0, |open| open.bytes);
        queued + open < BATCH_BYTES_MAX && !self.open.as_ref().is_some_and(Open::is_full)
    }

    /// Takes out what is to be executed next, if something is. `executing` says that the executor has work:
    /// then only a full batch is handed over, so that the next one grows as large as the backlog makes it.
    pub(crate) fn take(&mut self, executing: bool) -> Option<Pending> {
        if self.recovery.is_some() {
            return None;
        }
        if let Some(front) = self.queue.front() {
            let ready = !executing || self.queue.len() > 1 || front.is_full();
            let taken = if ready { self.queue.pop_front() } else { None };
            self.room = taken.as_ref().map_or(self.room, |taken| taken.operations.len());
            return taken;
        }
        self.open.as_mut().filter(|open| open.is_full()).map(Open::take_piece)
    }

    /// A transaction begins.
    pub(crate) fn begin(&mut self, begin: v1::Begin) -> Result<(), Error> {
        if self.open.is_some() {
            return Err(Error::protocol("a transaction begins within another one"));
        }
        let commit_lsn = Lsn(begin.commit_lsn);
        if self.recovery.as_ref().is_some_and(|recovery| !recovery.covers(commit_lsn)) {
            self.recovered()?;
        }
        let applied = commit_lsn < self.resume_lsn;
        if !applied && commit_lsn < self.position {
            return Err(Error::protocol(format!(
                "a transaction that committed at {commit_lsn} comes after the position {}",
                self.position
            )));
        }
        let operations = std::mem::take(&mut self.spare);
        self.open = Some(Open { commit_lsn, applied, in_pieces: false, operations, bytes: 0, credit: 0 });
        Ok(())
    }

    /// A row changes within the open transaction.
    pub(crate) fn row(
        &mut self,
        relation: &std::sync::Arc<Relation>,
        row: v1::RowChange,
    ) -> Result<(), Error> {
        let open = self.open.as_mut().ok_or_else(outside)?;
        if !counts(&self.tables, open, relation.table_id)? {
            return Ok(());
        }
        let bytes = row.old_tuple.len() + row.new_tuple.len();
        let change = Change::new(relation, row, open.commit_lsn)?;
        if let Some(recovery) = &mut self.recovery
            && recovery.is_applied(&change)?
        {
            return Ok(());
        }
        open.push(Operation::Row(change), bytes);
        Ok(())
    }

    /// A table does not fit the changes that arrive for it within the open transaction: those that count are left
    /// out from here on, and so is whatever follows in this session.
    pub(crate) fn suspend(&mut self, table_id: u32, failure: &v1::Failure) -> Result<(), Error> {
        let open = self.open.as_mut().ok_or_else(outside)?;
        if !counts(&self.tables, open, table_id)? {
            return Ok(());
        }
        if let Some(table) = self.tables.get_mut(&table_id) {
            table.phase = CopyPhase::Suspended;
            let (table, reason) = (table.name.clone(), failure.cause.clone());
            let remedy = failure.remedy.clone();
            open.push(Operation::Suspend(Suspension { table_id, table, reason, remedy }), 0);
        }
        Ok(())
    }

    /// The table's name at the destination.
    pub(crate) fn table_name(&self, table_id: u32) -> Option<&TableName> {
        self.tables.get(&table_id).map(|table| &table.name)
    }

    /// Tables are emptied within the open transaction.
    pub(crate) fn truncate(&mut self, truncate: v1::Truncate) -> Result<(), Error> {
        let open = self.open.as_mut().ok_or_else(outside)?;
        let mut truncation = Truncation {
            tables: Vec::new(),
            conditions: Vec::new(),
            restart_identity: truncate.restart_identity,
        };
        for relation in truncate.relations {
            if !counts(&self.tables, open, relation.table_id)? {
                continue;
            }
            let name = self.tables[&relation.table_id].name.clone();
            if relation.condition.is_empty() {
                truncation.tables.push(name);
            } else {
                truncation.conditions.push((name, relation.condition));
            }
        }
        if !truncation.tables.is_empty() || !truncation.conditions.is_empty() {
            open.push(Operation::Truncate(truncation), 0);
        }
        Ok(())
    }

    /// The open transaction is complete.
    pub(crate) fn commit(&mut self, commit: v1::Commit) -> Result<(), Error> {
        let open = self.open.take().ok_or_else(outside)?;
        let end_lsn = Lsn(commit.end_lsn);
        if Lsn(commit.commit_lsn) != open.commit_lsn || end_lsn <= open.commit_lsn {
            return Err(Error::protocol(format!(
                "the commit at {end_lsn} is not that of the open transaction"
            )));
        }
        if open.applied {
            return Ok(());
        }
        self.position = end_lsn;
        let (mut operations, bytes, credit) = (open.operations, open.bytes, open.credit);
        if open.in_pieces {
            let extent = Extent::LastPiece { end_lsn };
            let completes = false;
            self.queue.push_back(Pending { operations, extent, transactions: 1, credit, completes, bytes });
            return Ok(());
        }
        let recovering = self.recovery.is_some();
        match self.queue.back_mut() {
            Some(back) if recovering || back.extends(bytes) => {
                back.extent = Extent::Whole { end_lsn };
                if back.operations.capacity() < self.room {
                    back.operations.reserve(self.room.saturating_sub(back.operations.len()));
                }
                back.operations.append(&mut operations);
                self.spare = operations;
                back.transactions += 1;
                back.credit += credit;
                back.bytes += bytes;
            }
            _ => {
                let extent = Extent::Whole { end_lsn };
                let completes = false;
                self.queue.push_back(Pending {
                    operations,
                    extent,
                    transactions: 1,
                    credit,
                    completes,
                    bytes,
                });
            }
        }
        self.recovered_at(end_lsn)
    }

    /// Nothing has happened up to a position.
    pub(crate) fn progress(&mut self, progress: v1::Progress) -> Result<(), Error> {
        let end_lsn = Lsn(progress.progress_lsn);
        if self.open.is_some() {
            return Err(Error::protocol("a position within a transaction"));
        }
        // A position that is passed already says nothing new.
        if end_lsn <= self.position {
            return Ok(());
        }
        self.recovered_at(end_lsn)?;
        if end_lsn <= self.position {
            return Ok(());
        }
        self.position = end_lsn;
        let recovering = self.recovery.is_some();
        match self.queue.back_mut() {
            Some(back) if recovering || back.extends(0) => back.extent = Extent::Whole { end_lsn },
            _ => self.queue.push_back(Pending::idle(end_lsn)),
        }
        Ok(())
    }

    /// A position was reached: if it is the end of the batch that has to be completed, or past it, that has arrived.
    fn recovered_at(&mut self, end_lsn: Lsn) -> Result<(), Error> {
        match &self.recovery {
            Some(recovery) if end_lsn >= recovery.end_lsn() => self.recovered(),
            _ => Ok(()),
        }
    }

    /// All of the batch that lanes have applied in part has arrived; what is left of it is one batch again.
    fn recovered(&mut self) -> Result<(), Error> {
        let Some(recovery) = &self.recovery else { return Ok(()) };
        recovery.check()?;
        let end_lsn = recovery.end_lsn();
        self.recovery = None;
        let mut pending = self.queue.pop_back().unwrap_or_else(|| Pending::idle(end_lsn));
        pending.extent = Extent::Whole { end_lsn };
        pending.completes = true;
        self.queue.push_back(pending);
        self.position = self.position.max(end_lsn);
        Ok(())
    }

    /// A frame was taken in whole: its credit goes back with the last of what it brought. Returns what goes
    /// back at once.
    pub(crate) fn end_frame(&mut self, cost: u64) -> u64 {
        if self.recovery.is_some() {
            // Whatever it costs to send again, the end of the batch has to arrive.
            return cost + std::mem::take(&mut self.free_credit);
        }
        let holder = match (&mut self.open, self.queue.back_mut()) {
            // A transaction of which nothing counts, however large, must not keep the credit that its end
            // needs.
            (Some(open), _) if !open.operations.is_empty() => &mut open.credit,
            (_, Some(back)) => &mut back.credit,
            _ => &mut self.free_credit,
        };
        *holder += cost;
        std::mem::take(&mut self.free_credit)
    }
}

impl Pending {
    /// Nothing has happened up to a position.
    fn idle(end_lsn: Lsn) -> Self {
        let extent = Extent::Whole { end_lsn };
        Self { operations: Vec::new(), extent, transactions: 0, credit: 0, completes: false, bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX || self.operations.len() >= BATCH_OPERATIONS_MAX
    }

    /// Whether a further transaction of so many bytes may join.
    fn extends(&self, bytes: usize) -> bool {
        matches!(self.extent, Extent::Whole { .. })
            && !self.completes
            && !self.is_full()
            && self.bytes + bytes <= 2 * BATCH_BYTES_MAX
    }
}

impl Open {
    /// Credit counts too: of what arrived, only little may have been for us.
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX
            || self.operations.len() >= BATCH_OPERATIONS_MAX
            || self.credit >= BATCH_BYTES_MAX as u64
    }

    fn push(&mut self, operation: Operation, bytes: usize) {
        self.operations.push(operation);
        self.bytes += bytes + OPERATION_BYTES;
    }

    fn take_piece(&mut self) -> Pending {
        self.in_pieces = true;
        Pending {
            operations: std::mem::take(&mut self.operations),
            extent: Extent::Piece,
            completes: false,
            transactions: 0,
            credit: std::mem::take(&mut self.credit),
            bytes: std::mem::take(&mut self.bytes),
        }
    }
}

/// Whether a change of the open transaction to a table counts: not if it was applied before, nor if the
/// table's beginning contains it already, nor if the table is suspended.
fn counts(tables: &HashMap<u32, StreamedTable>, open: &Open, table_id: u32) -> Result<bool, Error> {
    if open.applied {
        return Ok(false);
    }
    let table = tables
        .get(&table_id)
        .ok_or_else(|| Error::protocol(format!("a change of table {table_id}, which has not begun")))?;
    if open.commit_lsn < table.begin_lsn || table.phase == CopyPhase::Suspended {
        return Ok(false);
    }
    if table.phase == CopyPhase::Copying {
        return Err(Error::protocol(format!("a change of table {}, whose copy is not complete", table.name)));
    }
    Ok(true)
}

fn outside() -> Error {
    Error::protocol("a change outside of a transaction")
}

#[cfg(test)]
mod tests;
