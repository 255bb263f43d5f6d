//! StreamStart: `S`, xid, whether it is the transaction's first piece.

use super::{Cursor, DecodeError, LogicalMessage};

/// A piece of a transaction in progress begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStart {
    /// The transaction: never a subtransaction.
    pub xid: u32,
    /// Whether it is the transaction's first piece in this session.
    pub first: bool,
}

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    Ok(LogicalMessage::StreamStart(StreamStart { xid: cursor.u32()?, first: cursor.u8()? != 0 }))
}
