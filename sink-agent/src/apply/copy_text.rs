//! Rows in the text format of COPY (PostgreSQL, COPY, Text Format): the values as they came, with what would end a value
//! or a row escaped.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::tuple::Cell;

/// Rows are handed over in pieces of about so many bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Rows for a COPY … FROM STDIN.
#[derive(Debug, Default)]
pub(crate) struct CopyText {
    pieces: Vec<Bytes>,
    last: BytesMut,
}

impl CopyText {
    /// Appends a row; it has at least one value, and none that the source did not send.
    pub(crate) fn push<'a>(&mut self, values: impl IntoIterator<Item = Cell<'a>>) {
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self.last.put_u8(b'\t');
            }
            match value {
                Cell::Text(content) => self.escaped(content),
                Cell::Null | Cell::Unchanged => self.last.put_slice(b"\\N"),
            }
        }
        self.last.put_u8(b'\n');
        if self.last.len() >= PIECE_BYTES {
            self.pieces.push(std::mem::take(&mut self.last).freeze());
            self.last.reserve(PIECE_BYTES + PIECE_BYTES / 8);
        }
    }

    /// All rows, in order.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        if !self.last.is_empty() {
            self.pieces.push(self.last.freeze());
        }
        self.pieces
    }

    fn escaped(&mut self, mut content: &[u8]) {
        while let Some(place) = content.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r'))
        {
            let (plain, rest) = content.split_at(place);
            self.last.put_slice(plain);
            self.last.put_u8(b'\\');
            self.last.put_u8(match rest[0] {
                b'\t' => b't',
                b'\n' => b'n',
                b'\r' => b'r',
                other => other,
            });
            content = &rest[1..];
        }
        self.last.put_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(rows: &[&[Cell<'_>]]) -> String {
        let mut text = CopyText::default();
        for row in rows {
            text.push(row.iter().copied());
        }
        String::from_utf8(text.finish().concat()).unwrap()
    }

    #[test]
    fn what_would_end_a_value_or_a_row_is_escaped() {
        for (value, expected) in [
            ("", "\n"),
            ("plain é", "plain é\n"),
            ("a\tb", "a\\tb\n"),
            ("a\nb\r", "a\\nb\\r\n"),
            ("\\N", "\\\\N\n"),
            ("\\.", "\\\\.\n"),
        ] {
            assert_eq!(copied(&[&[Cell::Text(value.as_bytes())]]), expected, "{value:?}");
        }
    }

    #[test]
    fn null_is_not_an_empty_text() {
        let rows: [&[Cell<'_>]; 2] = [&[Cell::Null, Cell::Text(b"")], &[Cell::Text(b"1"), Cell::Null]];
        assert_eq!(copied(&rows), "\\N\t\n1\t\\N\n");
    }

    #[test]
    fn many_rows_come_in_pieces() {
        let mut text = CopyText::default();
        let long = vec![b'x'; PIECE_BYTES / 2];
        for _ in 0..5 {
            text.push([Cell::Text(&long)]);
        }
        let pieces = text.finish();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), 5 * (PIECE_BYTES / 2 + 1));
    }
}
