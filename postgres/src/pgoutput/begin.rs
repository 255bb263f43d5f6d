//! Begin: `B`, final LSN, commit time, xid.

use strait_proto::Lsn;

use super::{Cursor, DecodeError, LogicalMessage};

/// A transaction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Where the transaction's commit record lies: the `commit_lsn` of the Commit that ends it.
    pub final_lsn: Lsn,
    /// When it committed, in microseconds since the Unix epoch, by the source's clock.
    pub commit_time_us: i64,
    /// Its transaction id.
    pub xid: u32,
}

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    Ok(LogicalMessage::Begin(Begin {
        final_lsn: cursor.lsn()?,
        commit_time_us: cursor.time_us()?,
        xid: cursor.u32()?,
    }))
}
