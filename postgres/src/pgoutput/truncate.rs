//! Truncate: `T`, number of relations, options, relations.

use super::{Cursor, DecodeError, LogicalMessage};

const CASCADE: u8 = 1;
const RESTART_IDENTITY: u8 = 2;

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let count = cursor.u32()?;
    let options = cursor.u8()?;
    // Collecting a Result reserves nothing ahead, so a false count costs no memory.
    let relation_ids = (0..count).map(|_| cursor.u32()).collect::<Result<_, _>>()?;
    Ok(LogicalMessage::Truncate {
        relation_ids,
        cascade: options & CASCADE != 0,
        restart_identity: options & RESTART_IDENTITY != 0,
    })
}
