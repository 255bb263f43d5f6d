//! Insert: `I`, relation, `N`, new tuple.

use super::{Cursor, DecodeError, LogicalMessage, TupleData};

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let relation_id = cursor.u32()?;
    match cursor.u8()? {
        b'N' => Ok(LogicalMessage::Insert { relation_id, new: TupleData::decode(cursor)? }),
        other => Err(DecodeError::UnknownTuple(other)),
    }
}
