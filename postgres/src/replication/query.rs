//! Commands of a replication session and their answers, by the simple query protocol.

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt as _;

use super::frames::Frames;
use crate::Error;
use crate::error::ServerError;
use crate::transport::Transport;

/// A row of an answer, every value as text.
pub(super) struct Row {
    values: Vec<Option<Bytes>>,
}

impl Row {
    /// The value of a column that must be there and not be null.
    pub(super) fn text(&self, column: usize) -> Result<&str, Error> {
        self.bytes(column).and_then(|bytes| {
            std::str::from_utf8(bytes).map_err(|_| Error::Protocol(format!("column {column} is not UTF-8")))
        })
    }

    /// The raw value of a column that must be there and not be null.
    pub(super) fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        let value = self.values.get(column).and_then(Option::as_deref);
        value.ok_or_else(|| Error::Protocol(format!("the answer lacks a value in column {column}")))
    }

    /// A value that parses.
    pub(super) fn parse<T: std::str::FromStr>(&self, column: usize) -> Result<T, Error> {
        let text = self.text(column)?;
        text.parse().map_err(|_| Error::Protocol(format!("unexpected value {text:?} in column {column}")))
    }
}

/// Sends a command.
pub(super) async fn send(frames: &mut Frames<Transport>, command: &str) -> Result<(), Error> {
    let mut message = BytesMut::new();
    frontend::query(command, &mut message).map_err(|error| Error::Config(error.to_string()))?;
    frames.stream_mut().write_all(&message).await?;
    Ok(frames.stream_mut().flush().await?)
}

/// Collects the rows of an answer until the server is ready again.
pub(super) async fn rows(frames: &mut Frames<Transport>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    let mut failed = None;
    loop {
        let message = match (frames.next_message().await, failed.take()) {
            (Ok(message), before) => {
                failed = before;
                message
            }
            // After a fatal error the server hangs up; the error is what counts.
            (Err(_), Some(error)) => return Err(error),
            (Err(error), None) => return Err(error),
        };
        match message {
            Message::DataRow(body) => rows.push(row(&body)?),
            Message::ErrorResponse(body) => {
                failed = Some(Error::from(ServerError::from_fields(body.fields())?))
            }
            Message::NoticeResponse(body) => {
                let notice = ServerError::from_fields(body.fields())?;
                tracing::debug!(%notice, "notice of a replication session");
            }
            Message::ReadyForQuery(_) => return failed.map_or(Ok(rows), Err),
            Message::RowDescription(_) | Message::CommandComplete(_) | Message::ParameterStatus(_) => {}
            Message::EmptyQueryResponse => {}
            _ => return Err(Error::Protocol("out of turn in the answer to a command".to_owned())),
        }
    }
}

fn row(body: &DataRowBody) -> Result<Row, Error> {
    let values = body
        .ranges()
        .map(|range| Ok(range.map(|range| body.buffer_bytes().slice(range))))
        .collect()
        .map_err(|error| Error::Protocol(error.to_string()))?;
    Ok(Row { values })
}
