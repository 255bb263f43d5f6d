//! A row of the change stream: checked bytes, read in place.
//!
//! Values are read as slices of the frame that brought them; only a key that has to outlive a walk shares the
//! buffer.

use bytes::Bytes;
use strait_postgres::pgoutput::{DecodeError, TupleBuilder, TupleData, TupleValue};

/// The encoded values of one row, in the order of its relation's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tuple {
    /// As [`TupleData`] has them, checked.
    bytes: Bytes,
    complete: bool,
}

/// One value of a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Null,
    /// An unchanged TOAST value, which the source did not send.
    Unchanged,
    /// In the type's text format.
    Text(&'a [u8]),
}

/// The bytes are not a tuple that can be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TupleError {
    #[error("a tuple cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    #[error("a tuple holds a value in binary format")]
    Binary,
    #[error("a tuple has {found} columns, its relation {expected}")]
    ColumnCount { found: usize, expected: usize },
}

impl Tuple {
    /// Checks the bytes of a tuple of `columns` columns in text format.
    pub(crate) fn new(bytes: Bytes, columns: usize) -> Result<Self, TupleError> {
        let data = TupleData::new(bytes)?;
        if data.column_count() != columns {
            return Err(TupleError::ColumnCount { found: data.column_count(), expected: columns });
        }
        let mut tuple = Self { bytes: data.as_bytes(), complete: true };
        let mut complete = true;
        for (kind, _) in Parts::of(&tuple.bytes) {
            match kind {
                b'b' => return Err(TupleError::Binary),
                b'u' => complete = false,
                _ => {}
            }
        }
        tuple.complete = complete;
        Ok(tuple)
    }

    /// No value is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The encoded length, in bytes.
    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        Parts::of(&self.bytes).map(|(kind, content)| match kind {
            b't' => Cell::Text(content),
            b'u' => Cell::Unchanged,
            _ => Cell::Null,
        })
    }

    /// The value of the column at `position`; a position beyond the last one reads as NULL.
    pub(crate) fn cell(&self, position: usize) -> Cell<'_> {
        self.cells().nth(position).unwrap_or(Cell::Null)
    }

    /// A value that shares the frame's buffer; `content` is one of this tuple's.
    pub(crate) fn share(&self, content: &[u8]) -> Bytes {
        self.bytes.slice_ref(content)
    }

    /// This newer state of a row with the values that it lacks taken from an older one of the same relation,
    /// at the positions for which `from_older` says so.
    pub(crate) fn over(&self, older: &Self, from_older: impl Fn(usize) -> bool) -> Self {
        if self.complete {
            return self.clone();
        }
        let mut builder = TupleBuilder::with_capacity(self.bytes.len() + older.bytes.len());
        let mut complete = true;
        for (position, (newer_cell, older_cell)) in self.cells().zip(older.cells()).enumerate() {
            let lacks = newer_cell == Cell::Unchanged && from_older(position);
            let (owner, cell) = if lacks { (older, older_cell) } else { (self, newer_cell) };
            complete &= cell != Cell::Unchanged;
            builder.push(&match cell {
                Cell::Null => TupleValue::Null,
                Cell::Unchanged => TupleValue::Unchanged,
                Cell::Text(content) => TupleValue::Text(owner.share(content)),
            });
        }
        Self { bytes: builder.finish().as_bytes(), complete }
    }
}

/// Walks a tuple that was checked: of each value its kind and content.
struct Parts<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match bytes.split_first_chunk::<2>() {
            Some((count, rest)) => Self { rest, left: u16::from_be_bytes(*count) },
            None => Self { rest: &[], left: 0 },
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (&kind, rest) = self.rest.split_first()?;
        if matches!(kind, b'n' | b'u') {
            self.rest = rest;
            return Some((kind, &[]));
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (content, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.rest = rest;
        Some((kind, content))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `None` is NULL, `"…"` an unchanged TOAST value, anything else text.
    pub(crate) fn tuple(values: &[Option<&str>]) -> Tuple {
        let value = |value: &Option<&str>| match value {
            None => TupleValue::Null,
            Some("…") => TupleValue::Unchanged,
            Some(text) => TupleValue::Text(Bytes::copy_from_slice(text.as_bytes())),
        };
        let data: TupleData = values.iter().map(value).collect();
        Tuple::new(data.as_bytes(), values.len()).unwrap()
    }

    #[test]
    fn reads_values_in_place() {
        let row = tuple(&[Some("1"), None, Some("…"), Some("")]);
        let cells: Vec<_> = row.cells().collect();
        assert_eq!(cells, [Cell::Text(b"1"), Cell::Null, Cell::Unchanged, Cell::Text(b"")]);
        assert!(!row.is_complete());
        assert_eq!(row.cell(0), Cell::Text(b"1"));
    }

    #[test]
    fn a_newer_state_takes_what_it_lacks_from_the_older_one() {
        let older = tuple(&[Some("1"), Some("long"), Some("…")]);
        let newer = tuple(&[Some("1"), Some("…"), None]);
        assert_eq!(newer.over(&older, |_| true), tuple(&[Some("1"), Some("long"), None]));
        assert_eq!(newer.over(&older, |position| position == 0), newer);
        let partial = tuple(&[Some("1"), None, Some("…")]);
        assert!(!partial.over(&older, |_| true).is_complete());
    }

    #[test]
    fn refuses_what_cannot_be_applied() {
        let row = tuple(&[Some("1")]);
        assert!(matches!(Tuple::new(row.bytes.clone(), 2), Err(TupleError::ColumnCount { .. })));
        assert!(matches!(Tuple::new(row.bytes.slice(..4), 1), Err(TupleError::Malformed(_))));
        let binary: TupleData = [TupleValue::Binary(Bytes::from_static(b"x"))].into_iter().collect();
        assert!(matches!(Tuple::new(binary.as_bytes(), 1), Err(TupleError::Binary)));
    }
}
