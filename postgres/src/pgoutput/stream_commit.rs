//! StreamCommit: `c`, xid, flags (unused), commit LSN, end LSN, commit time.

use super::commit::{self, Commit};
use super::{Cursor, DecodeError, LogicalMessage};

/// A transaction that arrived in pieces has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCommit {
    /// The transaction.
    pub xid: u32,
    /// Where and when.
    pub commit: Commit,
}

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    Ok(LogicalMessage::StreamCommit(StreamCommit { xid: cursor.u32()?, commit: commit::read(cursor)? }))
}
