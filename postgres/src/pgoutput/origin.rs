//! Origin: `O`, commit LSN at the origin, the origin's name.

use super::{Cursor, DecodeError, LogicalMessage};

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let _commit_lsn = cursor.lsn()?;
    let _name = cursor.string()?;
    Ok(LogicalMessage::Origin)
}
