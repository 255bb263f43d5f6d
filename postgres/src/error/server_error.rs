//! An ErrorResponse of the server.

use std::fmt;
use std::io;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;
use tokio_postgres::error::{DbError, SqlState};

/// What the server said (PostgreSQL, Error and Notice Message Fields).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, perhaps in another language.
    pub severity: String,
    /// What happened, for programs.
    pub code: SqlState,
    /// What happened, for people: mostly one line.
    pub message: String,
    /// More about it. May quote values of a row.
    pub detail: Option<String>,
    /// What the server would do about it.
    pub hint: Option<String>,
    /// The schema of the object that it is about.
    pub schema: Option<String>,
    /// The table that it is about.
    pub table: Option<String>,
    /// The column that it is about.
    pub column: Option<String>,
    /// The constraint, or unique index, that it is about.
    pub constraint: Option<String>,
}

impl ServerError {
    /// The two characters of the SQLSTATE that name its class.
    pub(crate) fn class(&self) -> &str {
        self.code.code().get(..2).unwrap_or_default()
    }

    /// Reads the fields of an ErrorResponse or a NoticeResponse that was decoded.
    pub(crate) fn from_fields(mut fields: ErrorFields<'_>) -> io::Result<Self> {
        let mut error = Self::unknown();
        while let Some(field) = fields.next()? {
            error.set(field.type_(), field.value_bytes());
        }
        Ok(error)
    }

    /// Reads the body of an ErrorResponse or a NoticeResponse: fields of a type and a text that ends with a
    /// zero byte. Whatever is not of that form is passed over.
    pub(crate) fn from_body(body: &[u8]) -> Self {
        let mut error = Self::unknown();
        for field in body.split(|byte| *byte == 0) {
            if let Some((field_type, value)) = field.split_first() {
                error.set(*field_type, value);
            }
        }
        error
    }

    /// What absent fields leave.
    fn unknown() -> Self {
        Self {
            severity: String::new(),
            code: SqlState::INTERNAL_ERROR,
            message: String::new(),
            detail: None,
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }
    }

    fn set(&mut self, field_type: u8, value: &[u8]) {
        let value = String::from_utf8_lossy(value).into_owned();
        match field_type {
            b'S' => self.severity = value,
            b'C' => self.code = SqlState::from_code(&value),
            b'M' => self.message = value,
            b'D' => self.detail = Some(value),
            b'H' => self.hint = Some(value),
            b's' => self.schema = Some(value),
            b't' => self.table = Some(value),
            b'c' => self.column = Some(value),
            b'n' => self.constraint = Some(value),
            _ => {}
        }
    }
}

impl From<&DbError> for ServerError {
    fn from(error: &DbError) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            severity: error.severity().to_owned(),
            code: error.code().clone(),
            message: error.message().to_owned(),
            detail: owned(error.detail()),
            hint: owned(error.hint()),
            schema: owned(error.schema()),
            table: owned(error.table()),
            column: owned(error.column()),
            constraint: owned(error.constraint()),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_response_are_read() {
        let body = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0Dmore\0Hwait\0Fx.c\0\0";
        let error = ServerError::from_body(body);
        assert_eq!(error.to_string(), "FATAL: terminating connection (SQLSTATE 57P01)");
        assert_eq!(
            (error.class(), error.detail.as_deref(), error.hint.as_deref()),
            ("57", Some("more"), Some("wait"))
        );
        assert_eq!(ServerError::from_body(b"").class(), "XX");
    }
}
