//! One transaction in progress, and where its subtransactions begin.
//!
//! Why cutting the file is right: while a subtransaction is open, only it and its children write, and once it has ended, it
//! can be rolled back only together with the one around it. So from its first change to its rollback there is nothing
//! that outlives it. A parent may have written later than its child; whichever of the two rollbacks comes first, the cut
//! lies where the earlier one began.

use std::sync::Arc;

use hashbrown::HashMap;
use strait_proto::v1;

use super::file::{SpoolFile, SpoolReader};
use super::{SpoolError, SpoolSpace};

/// Subtransactions of one transaction whose beginnings are remembered, of some 50 bytes each.
pub(super) const SUBTRANSACTIONS_MAX: usize = 1 << 20;

/// What has arrived of a transaction.
#[derive(Debug)]
pub(super) struct SpooledTransaction {
    xid: u32,
    file: SpoolFile,
    /// Where each subtransaction began to write, and in this order.
    begins: HashMap<u32, u64>,
    order: Vec<u32>,
}

impl SpooledTransaction {
    pub(super) fn new(xid: u32, space: Arc<SpoolSpace>) -> Result<Self, SpoolError> {
        Ok(Self { xid, file: SpoolFile::new(space)?, begins: HashMap::new(), order: Vec::new() })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.end()
    }

    /// What follows was done by a subtransaction, or by the transaction itself.
    pub(super) fn subtransaction(&mut self, subxid: u32) -> Result<(), SpoolError> {
        if subxid == self.xid || self.begins.contains_key(&subxid) {
            return Ok(());
        }
        if self.order.len() >= SUBTRANSACTIONS_MAX {
            return Err(SpoolError::TooManySubtransactions);
        }
        self.begins.insert(subxid, self.file.end());
        self.order.push(subxid);
        Ok(())
    }

    pub(super) async fn push(&mut self, change: &v1::Change) -> Result<(), SpoolError> {
        self.file.push(change).await
    }

    /// A subtransaction was rolled back. One that is not known has written nothing, or lay within one that was cut off
    /// before.
    pub(super) async fn abort(&mut self, subxid: u32) -> Result<(), SpoolError> {
        let Some(begin) = self.begins.get(&subxid).copied() else {
            return Ok(());
        };
        while let Some(last) = self.order.pop_if(|last| self.begins.get(last).is_none_or(|at| *at >= begin)) {
            self.begins.remove(&last);
        }
        self.file.truncate(begin).await
    }

    pub(super) async fn into_reader(self) -> Result<SpoolReader, SpoolError> {
        self.file.into_reader().await
    }
}
