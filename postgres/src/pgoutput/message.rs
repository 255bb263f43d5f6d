//! Message: `M`, flags, LSN, prefix, length, content.

use super::{Cursor, DecodeError, LogicalMessage};

const TRANSACTIONAL: u8 = 1;

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let flags = cursor.u8()?;
    let lsn = cursor.lsn()?;
    let prefix = cursor.string()?;
    let length = cursor.u32()?;
    // A length that no memory can hold is more than is left, too.
    let content = cursor.take(usize::try_from(length).unwrap_or(usize::MAX))?;
    Ok(LogicalMessage::Message { transactional: flags & TRANSACTIONAL != 0, lsn, prefix, content })
}
