//! Reading the parts of a message, in network byte order, without copying.

use bytes::{Buf, Bytes};
use strait_proto::Lsn;

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// The bytes are not a message of pgoutput.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends within one of its parts.
    #[error("pgoutput message is cut short")]
    Truncated,
    /// Bytes are left after the message.
    #[error("pgoutput message has {0} bytes too many")]
    TrailingBytes(usize),
    /// Its first byte names no message.
    #[error("unknown pgoutput message {:?}", char::from(*.0))]
    UnknownMessage(u8),
    /// A tuple is neither key, old nor new.
    #[error("unknown kind of tuple {:?}", char::from(*.0))]
    UnknownTuple(u8),
    /// A value is neither null, unchanged, text nor binary.
    #[error("unknown kind of value {:?}", char::from(*.0))]
    UnknownValue(u8),
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    NotUtf8,
}

/// What is still to be read of a message.
pub(super) struct Cursor {
    rest: Bytes,
}

impl Cursor {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &Bytes {
        &self.rest
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.rest.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.rest.try_get_u16().map_err(|_| DecodeError::Truncated)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.rest.try_get_u32().map_err(|_| DecodeError::Truncated)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.rest.try_get_i32().map_err(|_| DecodeError::Truncated)
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn, DecodeError> {
        self.rest.try_get_u64().map(Lsn).map_err(|_| DecodeError::Truncated)
    }

    /// A point in time, in microseconds since the Unix epoch.
    pub(super) fn time_us(&mut self) -> Result<i64, DecodeError> {
        let since_2000 = self.rest.try_get_i64().map_err(|_| DecodeError::Truncated)?;
        Ok(since_2000.saturating_add(POSTGRES_EPOCH_US))
    }

    /// A string that ends with a zero byte.
    pub(super) fn string(&mut self) -> Result<String, DecodeError> {
        let length = self.rest.iter().position(|byte| *byte == 0).ok_or(DecodeError::Truncated)?;
        let text = std::str::from_utf8(&self.rest[..length]).map_err(|_| DecodeError::NotUtf8)?.to_owned();
        self.rest.advance(length + 1);
        Ok(text)
    }

    /// The next bytes, sharing the buffer.
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.rest.split_to(length))
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }
}
