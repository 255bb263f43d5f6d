//! TupleData: number of columns, and of each column its kind, `n` null, `u` unchanged TOAST value, `t` text
//! or `b` binary, the latter two with length and bytes.

use std::fmt;

use bytes::Bytes;

use super::{Cursor, DecodeError, TupleBuilder};

/// A row as pgoutput encodes it, checked and otherwise untouched, so that it can travel on as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct TupleData {
    bytes: Bytes,
}

/// One column's value within a tuple.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TupleValue {
    /// NULL.
    Null,
    /// A TOAST value that the update did not touch: the source did not send it.
    Unchanged,
    /// In the type's text format.
    Text(Bytes),
    /// In the type's binary format.
    Binary(Bytes),
}

impl TupleData {
    /// Checks bytes that hold one tuple and nothing else.
    pub fn new(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let tuple = Self::decode(&mut cursor)?;
        cursor.finish()?;
        Ok(tuple)
    }

    /// Checks the tuple that comes next and takes it off the cursor.
    pub(super) fn decode(cursor: &mut Cursor) -> Result<Self, DecodeError> {
        let length = tuple_length(cursor.rest())?;
        Ok(Self { bytes: cursor.take(length)? })
    }

    /// A tuple whose bytes were checked or built before.
    pub(super) fn from_valid(bytes: Bytes) -> Self {
        debug_assert_eq!(tuple_length(&bytes), Ok(bytes.len()));
        Self { bytes }
    }

    /// The encoded tuple; a cheap copy that shares the buffer.
    pub fn as_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The encoded tuple's length in bytes.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The number of columns.
    pub fn column_count(&self) -> usize {
        usize::from(u16::from_be_bytes([self.bytes[0], self.bytes[1]]))
    }

    /// The values in the order of the relation's columns, sharing the buffer.
    pub fn values(&self) -> TupleValues {
        TupleValues { rest: self.bytes.slice(2..), left: self.column_count() }
    }
}

/// Says how large it is and keeps the row to itself, so that no log shows data.
impl fmt::Debug for TupleData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TupleData({} columns, {} bytes)", self.column_count(), self.bytes.len())
    }
}

/// Builds the tuple of these values, with the limits of [`TupleBuilder::push`].
impl FromIterator<TupleValue> for TupleData {
    fn from_iter<I: IntoIterator<Item = TupleValue>>(values: I) -> Self {
        let mut builder = TupleBuilder::new();
        for value in values {
            builder.push(&value);
        }
        builder.finish()
    }
}

/// The values of a tuple, one after the other.
#[derive(Debug, Clone)]
pub struct TupleValues {
    rest: Bytes,
    left: usize,
}

impl Iterator for TupleValues {
    type Item = TupleValue;

    fn next(&mut self) -> Option<TupleValue> {
        self.left = self.left.checked_sub(1)?;
        // The tuple was checked, so every part is there.
        let kind = self.rest.split_to(1)[0];
        let mut content = || {
            let header = self.rest.split_to(4);
            let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            self.rest.split_to(length as usize)
        };
        Some(match kind {
            b't' => TupleValue::Text(content()),
            b'b' => TupleValue::Binary(content()),
            b'u' => TupleValue::Unchanged,
            _ => TupleValue::Null,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for TupleValues {}

/// The length of the tuple that these bytes begin with.
fn tuple_length(bytes: &[u8]) -> Result<usize, DecodeError> {
    let (count, mut rest) = bytes.split_first_chunk::<2>().ok_or(DecodeError::Truncated)?;
    for _ in 0..u16::from_be_bytes(*count) {
        let (kind, after) = rest.split_first().ok_or(DecodeError::Truncated)?;
        rest = match kind {
            b'n' | b'u' => after,
            b't' | b'b' => {
                let (length, after) = after.split_first_chunk::<4>().ok_or(DecodeError::Truncated)?;
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                after.get(length..).ok_or(DecodeError::Truncated)?
            }
            other => return Err(DecodeError::UnknownValue(*other)),
        };
    }
    Ok(bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = TupleValue> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        prop_oneof![
            Just(TupleValue::Null),
            Just(TupleValue::Unchanged),
            bytes().prop_map(TupleValue::Text),
            bytes().prop_map(TupleValue::Binary),
        ]
    }

    #[test]
    fn an_empty_tuple_has_no_values() {
        let tuple = TupleData::new(Bytes::from_static(&[0, 0])).unwrap();
        assert_eq!((tuple.column_count(), tuple.values().count()), (0, 0));
    }

    #[test]
    fn values_share_the_buffer() {
        let bytes = Bytes::from_static(b"\0\x01t\0\0\0\x02hi");
        let tuple = TupleData::new(bytes.clone()).unwrap();
        let Some(TupleValue::Text(text)) = tuple.values().next() else { panic!("no text") };
        assert_eq!(text.as_ptr(), bytes[7..].as_ptr());
    }

    proptest! {
        #[test]
        fn what_is_built_reads_back(values in prop::collection::vec(any_value(), 0..20)) {
            let built = TupleData::from_iter(values.clone());
            let read = TupleData::new(built.as_bytes()).unwrap();
            prop_assert_eq!(read.column_count(), values.len());
            prop_assert_eq!(read.values().collect::<Vec<_>>(), values);
        }

        #[test]
        fn a_tuple_that_is_cut_short_is_an_error(
            values in prop::collection::vec(any_value(), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = TupleData::from_iter(values).as_bytes();
            prop_assert!(TupleData::new(bytes.slice(..cut.index(bytes.len()))).is_err());
        }
    }
}
