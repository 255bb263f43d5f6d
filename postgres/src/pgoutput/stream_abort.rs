//! StreamAbort: `A`, xid, xid of the subtransaction; with parallel streaming also abort LSN and abort time.

use strait_proto::Lsn;

use super::{Cursor, DecodeError, LogicalMessage};

/// A transaction that arrived in pieces, or one of its subtransactions, was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamAbort {
    /// The transaction.
    pub xid: u32,
    /// What was rolled back: a subtransaction, or the same as `xid` for all of it. Each subtransaction of one that is rolled
    /// back has a message of its own.
    pub subxid: u32,
    /// Sent with parallel streaming alone.
    pub record: Option<AbortRecord>,
}

/// Where and when a rollback stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortRecord {
    /// Where the abort record ends.
    pub abort_lsn: Lsn,
    /// In microseconds since the Unix epoch, by the source's clock.
    pub abort_time_us: i64,
}

/// `with_record`: the session streams in parallel mode.
pub(super) fn decode(cursor: &mut Cursor, with_record: bool) -> Result<LogicalMessage, DecodeError> {
    let (xid, subxid) = (cursor.u32()?, cursor.u32()?);
    let record = if with_record {
        Some(AbortRecord { abort_lsn: cursor.lsn()?, abort_time_us: cursor.time_us()? })
    } else {
        None
    };
    Ok(LogicalMessage::StreamAbort(StreamAbort { xid, subxid, record }))
}
