//! Parameters of set-based statements: one `text[]` per column, encoded as the rows are walked.

use bytes::{BufMut as _, BytesMut};
use postgres_types::{Format, IsNull, PgLsn, ToSql, Type, to_sql_checked};

use super::tuple::Cell;

/// OID of type `text` (pg_type.dat).
const TEXT_OID: u32 = 25;

/// A one-dimensional array of texts in PostgreSQL's binary format (`array_recv`).
#[derive(Debug, Default)]
pub(crate) struct TextArray {
    /// The elements: each its length, or -1 for NULL, and its bytes.
    elements: BytesMut,
    count: i32,
    has_null: bool,
}

impl TextArray {
    /// Appends a value; one that the source did not send must not come here, and would be NULL.
    pub(crate) fn push(&mut self, cell: Cell<'_>) {
        match cell {
            Cell::Text(content) => {
                // A field has at most 1 GiB.
                self.elements.put_i32(content.len() as i32);
                self.elements.put_slice(content);
            }
            Cell::Null | Cell::Unchanged => {
                self.elements.put_i32(-1);
                self.has_null = true;
            }
        }
        self.count += 1;
    }
}

impl ToSql for TextArray {
    fn to_sql(
        &self,
        _type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.reserve(20 + self.elements.len());
        // Dimensions, whether there are NULLs, element type; then length and lower bound of the one
        // dimension.
        out.put_i32(1);
        out.put_i32(i32::from(self.has_null));
        out.put_u32(TEXT_OID);
        out.put_i32(self.count);
        out.put_i32(1);
        out.put_slice(&self.elements);
        Ok(IsNull::No)
    }

    fn accepts(type_: &Type) -> bool {
        *type_ == Type::TEXT_ARRAY
    }

    to_sql_checked!();
}

/// One value for a parameter of type `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextValue(pub(crate) Option<bytes::Bytes>);

impl ToSql for TextValue {
    fn to_sql(
        &self,
        _type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Some(content) => {
                out.put_slice(content);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(type_: &Type) -> bool {
        *type_ == Type::TEXT
    }

    fn encode_format(&self, _type: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A parameter of a statement.
#[derive(Debug)]
pub(crate) enum Parameter {
    Texts(TextArray),
    /// How many copies of each row are meant.
    Counts(Vec<i64>),
    /// A single text.
    Text(TextValue),
    Position(PgLsn),
}

impl Parameter {
    pub(crate) fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Texts(array) => array,
            Self::Counts(counts) => counts,
            Self::Text(value) => value,
            Self::Position(position) => position,
        }
    }
}

#[cfg(test)]
mod tests {
    use postgres_types::FromSql as _;

    use super::*;

    #[test]
    fn encodes_what_the_driver_reads_back() {
        let mut array = TextArray::default();
        for cell in [Cell::Text("é".as_bytes()), Cell::Null, Cell::Text(b"")] {
            array.push(cell);
        }
        let mut encoded = BytesMut::new();
        array.to_sql(&Type::TEXT_ARRAY, &mut encoded).unwrap();
        let read = Vec::<Option<String>>::from_sql(&Type::TEXT_ARRAY, &encoded).unwrap();
        assert_eq!(read, [Some("é".to_owned()), None, Some(String::new())]);
    }
}
