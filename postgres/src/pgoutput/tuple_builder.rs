//! Building a tuple value by value.

use bytes::{BufMut, BytesMut};

use super::{TupleData, TupleValue};

/// Encodes values as a [`TupleData`].
#[derive(Debug, Clone)]
pub struct TupleBuilder {
    bytes: BytesMut,
    count: u16,
}

impl TupleBuilder {
    /// A builder without values.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// A builder with room for so many bytes of encoded values.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(bytes + 2);
        buffer.put_u16(0);
        Self { bytes: buffer, count: 0 }
    }

    /// Adds the next column's value.
    ///
    /// # Panics
    ///
    /// Beyond 65,535 values, or with a value of 2 GiB or more: forty times and twice what PostgreSQL allows,
    /// so that no row of a database comes near.
    pub fn push(&mut self, value: &TupleValue) {
        assert!(self.count < u16::MAX, "a tuple holds at most {} values", u16::MAX);
        match value {
            TupleValue::Null => self.bytes.put_u8(b'n'),
            TupleValue::Unchanged => self.bytes.put_u8(b'u'),
            TupleValue::Text(content) | TupleValue::Binary(content) => {
                assert!(content.len() <= i32::MAX as usize, "a value has at most {} bytes", i32::MAX);
                self.bytes.put_u8(if matches!(value, TupleValue::Text(_)) { b't' } else { b'b' });
                self.bytes.put_u32(content.len() as u32);
                self.bytes.put_slice(content);
            }
        }
        self.count += 1;
    }

    /// The tuple.
    pub fn finish(mut self) -> TupleData {
        self.bytes[..2].copy_from_slice(&self.count.to_be_bytes());
        TupleData::from_valid(self.bytes.freeze())
    }
}

impl Default for TupleBuilder {
    fn default() -> Self {
        Self::new()
    }
}
