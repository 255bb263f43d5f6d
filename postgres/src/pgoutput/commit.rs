//! Commit: `C`, flags (unused), commit LSN, end LSN, commit time.

use strait_proto::Lsn;

use super::{Cursor, DecodeError, LogicalMessage};

/// A transaction is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record begins.
    pub commit_lsn: Lsn,
    /// Where the commit record ends: the position to resume from once the transaction is durable elsewhere.
    pub end_lsn: Lsn,
    /// When it committed, in microseconds since the Unix epoch, by the source's clock.
    pub commit_time_us: i64,
}

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    read(cursor).map(LogicalMessage::Commit)
}

pub(super) fn read(cursor: &mut Cursor) -> Result<Commit, DecodeError> {
    let _flags = cursor.u8()?;
    Ok(Commit { commit_lsn: cursor.lsn()?, end_lsn: cursor.lsn()?, commit_time_us: cursor.time_us()? })
}
