//! Type: `Y`, OID, schema, name.

use super::{Cursor, DecodeError, LogicalMessage};

pub(super) fn decode(cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    let _oid = cursor.u32()?;
    let _schema = cursor.string()?;
    let _name = cursor.string()?;
    Ok(LogicalMessage::Type)
}
