//! Transactions in progress, kept on disk until they commit.
//!
//! ```text
//!  frames ─► Spools ─► SpoolFile, one a transaction ──commit──► SpoolReader ─► the apply pipeline
//!              │ abort: cut back to where the subtransaction began, or gone
//!              └─ SpoolSpace: directory and limit, shared by all tasks of the agent
//! ```
//!
//! The files have no name, so that whatever ends the process ends them too: a session begins with none, and the source
//! sends what is missing again. For the same reason nothing here waits for the disk.
//!
//! When a file cannot grow, by the limit or because the disk says so, the session gives up ([`SpoolError`]), and the
//! transaction comes whole after its commit.

mod file;
mod space;
mod transaction;

use std::io;
use std::sync::Arc;

use hashbrown::HashMap;
use strait_proto::v1::{self, change::Change as Kind};

pub(crate) use file::SpoolReader;
pub(crate) use space::SpoolSpace;
use transaction::SpooledTransaction;

/// Transactions that may be kept at once, each of which costs a descriptor and a buffer of
/// [`BUFFER_BYTES`](file::BUFFER_BYTES).
const TRANSACTIONS_MAX: usize = 256;

/// Why a transaction in progress cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The limit of all files together.
    #[error("the spool is full: it may hold {bytes_max} bytes")]
    Full { bytes_max: u64 },
    /// The limit of their number.
    #[error("the spool is full: it may hold {TRANSACTIONS_MAX} transactions at once")]
    TooMany,
    /// One with too many subtransactions.
    #[error("it has more than {} subtransactions", transaction::SUBTRANSACTIONS_MAX)]
    TooManySubtransactions,
    /// The file system.
    #[error("{doing} the spool: {source}")]
    Io { doing: &'static str, source: io::Error },
    /// The source broke the order of blocks.
    #[error("{0}")]
    OutOfTurn(&'static str),
}

/// The transactions in progress of one session.
#[derive(Debug)]
pub(crate) struct Spools {
    space: Arc<SpoolSpace>,
    transactions: HashMap<u32, SpooledTransaction>,
    /// Whose block is arriving.
    block: Option<u32>,
}

impl Spools {
    pub(crate) fn new(space: Arc<SpoolSpace>) -> Self {
        Self { space, transactions: HashMap::new(), block: None }
    }

    /// Whether a change is about transactions in progress alone.
    pub(crate) fn takes(&self, change: &v1::Change) -> bool {
        match &change.change {
            Some(
                Kind::StreamStart(_)
                | Kind::StreamStop(_)
                | Kind::StreamSubtransaction(_)
                | Kind::StreamAbort(_),
            ) => true,
            Some(Kind::Relation(_) | Kind::Row(_) | Kind::Truncate(_)) => self.in_block(),
            _ => false,
        }
    }

    /// Whether what arrives belongs to a transaction in progress.
    pub(crate) fn in_block(&self) -> bool {
        self.block.is_some()
    }

    /// A block begins.
    pub(crate) fn start(&mut self, xid: u32) -> Result<(), SpoolError> {
        if self.block.is_some() {
            return Err(SpoolError::OutOfTurn("a block of a transaction within another one"));
        }
        self.block = Some(xid);
        if !self.transactions.contains_key(&xid) {
            if self.transactions.len() >= TRANSACTIONS_MAX {
                return Err(SpoolError::TooMany);
            }
            let transaction = SpooledTransaction::new(xid, Arc::clone(&self.space))?;
            self.transactions.insert(xid, transaction);
        }
        Ok(())
    }

    /// The block ends.
    pub(crate) fn stop(&mut self) -> Result<(), SpoolError> {
        self.block.take().map(|_| ()).ok_or(SpoolError::OutOfTurn("the end of a block that has not begun"))
    }

    /// What follows in the block was done by a subtransaction.
    pub(crate) fn subtransaction(&mut self, subxid: u32) -> Result<(), SpoolError> {
        self.current()?.subtransaction(subxid)
    }

    /// Keeps a change of the block.
    pub(crate) async fn push(&mut self, change: &v1::Change) -> Result<(), SpoolError> {
        self.current()?.push(change).await
    }

    /// A transaction, or a subtransaction of it, was rolled back.
    pub(crate) async fn abort(&mut self, xid: u32, subxid: u32) -> Result<(), SpoolError> {
        if xid == subxid {
            self.transactions.remove(&xid);
            return Ok(());
        }
        match self.transactions.get_mut(&xid) {
            Some(transaction) => transaction.abort(subxid).await,
            None => Ok(()),
        }
    }

    /// A transaction has committed: what is kept of it, from the beginning.
    pub(crate) async fn commit(&mut self, xid: u32) -> Result<SpoolReader, SpoolError> {
        let transaction = self.transactions.remove(&xid);
        let transaction = transaction
            .ok_or(SpoolError::OutOfTurn("the commit of a transaction of which nothing has arrived"))?;
        transaction.into_reader().await
    }

    /// The largest transaction: the one whose end makes room. Where none is kept, the one that could not be.
    pub(crate) fn largest(&self) -> Option<u32> {
        let largest = self.transactions.iter().max_by_key(|(_, transaction)| transaction.bytes());
        largest.map(|(xid, _)| *xid).or(self.block)
    }

    /// Discards everything.
    pub(crate) fn clear(&mut self) {
        self.transactions.clear();
        self.block = None;
    }

    fn current(&mut self) -> Result<&mut SpooledTransaction, SpoolError> {
        let transaction = self.block.and_then(|xid| self.transactions.get_mut(&xid));
        transaction.ok_or(SpoolError::OutOfTurn("a change of a transaction in progress outside of its block"))
    }
}

#[cfg(test)]
mod tests;
