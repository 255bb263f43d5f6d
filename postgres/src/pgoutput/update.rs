//! Update: `U`, relation, then `K` key or `O` old tuple or neither, `N`, new tuple.

use super::{Cursor, DecodeError, LogicalMessage, OldTuple, TupleData};

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let relation_id = cursor.u32()?;
    let mut kind = cursor.u8()?;
    let old = match kind {
        b'K' => Some(OldTuple::Key(TupleData::decode(cursor)?)),
        b'O' => Some(OldTuple::Full(TupleData::decode(cursor)?)),
        _ => None,
    };
    if old.is_some() {
        kind = cursor.u8()?;
    }
    match kind {
        b'N' => Ok(LogicalMessage::Update { relation_id, old, new: TupleData::decode(cursor)? }),
        other => Err(DecodeError::UnknownTuple(other)),
    }
}
