//! Delete: `D`, relation, then `K` key or `O` old tuple.

use super::{Cursor, DecodeError, LogicalMessage, OldTuple, TupleData};

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let relation_id = cursor.u32()?;
    let old = match cursor.u8()? {
        b'K' => OldTuple::Key(TupleData::decode(cursor)?),
        b'O' => OldTuple::Full(TupleData::decode(cursor)?),
        other => return Err(DecodeError::UnknownTuple(other)),
    };
    Ok(LogicalMessage::Delete { relation_id, old })
}
