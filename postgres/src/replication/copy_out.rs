//! COPY … TO STDOUT on a replication session: the rows as slices of what was read, as the stream has them.

use bytes::{Buf as _, Bytes};

use super::connection::ReplicationConnection;
use super::query;
use crate::Error;
use crate::error::ServerError;

/// What a binary COPY begins with (PostgreSQL, COPY, Binary Format).
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Flags and the length of the header's extension, which follow the signature.
const HEADER_REST_BYTES: usize = 8;
/// Takes the place of a row's field count at the end.
const TRAILER: i16 = -1;

/// The rows of a `COPY (SELECT one bytea …) TO STDOUT (FORMAT binary)` as they arrive.
///
/// Read to its end, it leaves the session ready for the next command; dropped before, it leaves it unusable.
pub struct CopyOut<'a> {
    connection: &'a mut ReplicationConnection,
    begun: bool,
    failed: Option<Error>,
}

impl<'a> CopyOut<'a> {
    /// Sends the statement.
    pub(super) async fn start(
        connection: &'a mut ReplicationConnection,
        statement: &str,
    ) -> Result<Self, Error> {
        connection.cancel.command_begins();
        query::send(&mut connection.frames, statement).await?;
        Ok(Self { connection, begun: false, failed: None })
    }

    /// Waits for the next row's value; `None` once all have come. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = match self.connection.frames.next_frame().await {
                Ok(Some(frame)) => frame,
                // After a fatal error the server hangs up; the error is what counts.
                Ok(None) => return Err(self.failed.take().unwrap_or(Error::Closed)),
                Err(error) => return Err(self.failed.take().unwrap_or(error)),
            };
            match frame.tag {
                b'd' => {
                    if let Some(value) = self.row(frame.body)? {
                        return Ok(Some(value));
                    }
                }
                b'E' => self.failed = Some(ServerError::from_body(&frame.body).into()),
                b'Z' => {
                    self.connection.cancel.command_ended();
                    return self.failed.take().map_or(Ok(None), Err);
                }
                // CopyOutResponse, CopyDone, CommandComplete, notices, settings.
                b'H' | b'c' | b'C' | b'N' | b'S' => {}
                tag => return Err(Error::Protocol(format!("message {:?} in a COPY", char::from(tag)))),
            }
        }
    }

    /// Whether a whole message is in memory already, so that [`next`](Self::next) will not wait.
    pub fn has_buffered(&self) -> bool {
        self.connection.frames.has_frame()
    }

    /// The value of the row in a CopyData message; the header comes in front of the first one.
    fn row(&mut self, mut body: Bytes) -> Result<Option<Bytes>, Error> {
        if !self.begun {
            self.begun = true;
            if !body.starts_with(SIGNATURE) || body.len() < SIGNATURE.len() + HEADER_REST_BYTES {
                return Err(Error::Protocol("a binary COPY without its header".to_owned()));
            }
            body.advance(SIGNATURE.len() + HEADER_REST_BYTES);
            if body.is_empty() {
                return Ok(None);
            }
        }
        value(body)
    }
}

/// The value of a row that has one column; `None` for the trailer.
fn value(mut body: Bytes) -> Result<Option<Bytes>, Error> {
    let malformed = || Error::Protocol("a row of a binary COPY is not one value".to_owned());
    match body.try_get_i16().map_err(|_| malformed())? {
        TRAILER if body.is_empty() => Ok(None),
        1 => {
            let length = body.try_get_i32().map_err(|_| malformed())?;
            if usize::try_from(length) != Ok(body.len()) {
                return Err(malformed());
            }
            Ok(Some(body))
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_value_and_nothing_else() {
        let row = |count: i16, length: i32, content: &[u8]| {
            let head = [&count.to_be_bytes()[..], &length.to_be_bytes()].concat();
            value(Bytes::from([&head, content].concat()))
        };
        assert_eq!(row(1, 3, b"abc").unwrap(), Some(Bytes::from_static(b"abc")));
        assert_eq!(row(1, 0, b"").unwrap(), Some(Bytes::new()));
        assert_eq!(value(Bytes::from_static(&[0xFF, 0xFF])).unwrap(), None);
        for (count, length, content) in [(1, 4, b"abc"), (1, 2, b"abc"), (1, -1, b"abc"), (2, 3, b"abc")] {
            assert!(row(count, length, content).is_err(), "{count} {length}");
        }
        assert!(value(Bytes::from_static(&[0])).is_err());
    }
}
