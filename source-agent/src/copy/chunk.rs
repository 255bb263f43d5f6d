//! One chunk: a transaction under the snapshot at the source, one call at the sink.
//!
//! The transaction ends with the chunk, so that the table's lock is not held for longer than its rows flow; unless the snapshot
//! is that of one transaction, which then reads all chunks.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, copy_chunk_request::Message};
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;

use super::plan::TablePlan;
use super::progress::TableCounter;
use super::rewrite::Rewriter;
use crate::error::{During, RunError};
use crate::rows::not_evaluated;
use crate::sink::Sink;

/// What rows are gathered to before they are sent; the server sends each row on its own.
const MESSAGE_BYTES: usize = 256 << 10;
/// A longer row is sent in pieces of this.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Messages between the database and the wire.
const MESSAGES_MAX: usize = 4;

/// A chunk to be copied.
pub(super) struct ChunkCopy<'a> {
    pub(super) sink: &'a Sink,
    /// None where the connection is in the snapshot's transaction, and stays in it.
    pub(super) snapshot_name: Option<&'a str>,
    pub(super) table_id: u32,
    pub(super) name: &'a v1::TableName,
    pub(super) plan: &'a TablePlan,
    /// Position among the plan's chunks.
    pub(super) number: u32,
    pub(super) counter: Option<&'a TableCounter>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkOutcome {
    Copied,
    /// It stood in the ledger already. The connection may be in the middle of a COPY: do not use it again.
    Existed,
    /// The table's storage is not the snapshot's any more: the table has to begin again.
    Rewritten,
}

/// Why feeding a chunk ended early.
enum Broken {
    Source(Error),
    /// A row that rules cannot be applied to.
    Rule(RunError),
    /// The sink has answered, or the call broke: the call says which.
    Call,
}

impl From<tokio_postgres::Error> for Broken {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Source(error.into())
    }
}

impl ChunkCopy<'_> {
    /// Copies it. After an error the connection is not to be used again.
    pub(super) async fn run(&self, client: &Client) -> Result<ChunkOutcome, RunError> {
        if let Some(snapshot_name) = self.snapshot_name {
            self.begin(client, snapshot_name).await?;
        }
        let outcome = match self.lock(client).await? {
            true => self.transfer(client).await?,
            false => ChunkOutcome::Rewritten,
        };
        // It has read and no more, so either way of ending it is the same.
        if self.snapshot_name.is_some() && outcome != ChunkOutcome::Existed {
            client.batch_execute("COMMIT").await.during("end a transaction")?;
        }
        Ok(outcome)
    }

    async fn begin(&self, client: &Client, snapshot_name: &str) -> Result<(), RunError> {
        const DOING: &str = "read under the snapshot of the full copy";
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.during(DOING)?;
        let sql = format!("SET TRANSACTION SNAPSHOT {}", quote::literal(snapshot_name));
        match client.batch_execute(&sql).await.map_err(Error::from) {
            Err(error) if error.server_error().is_some() => {
                tracing::warn!(error = error.failure().cause, "the snapshot cannot be used any more");
                Err(RunError::SnapshotGone)
            }
            result => result.during(DOING),
        }
    }

    /// Locks the relation, so that nothing rewrites it while it is read, and says whether nothing has before.
    ///
    /// The row of `pg_class` is the snapshot's; the functions see the catalog as it is now.
    async fn lock(&self, client: &Client) -> Result<bool, RunError> {
        const UNCHANGED: &str = "
            SELECT coalesce(pg_relation_filenode(c.oid) = c.relfilenode AND to_regclass($2) = c.oid, false) AS unchanged
            FROM pg_class AS c WHERE c.oid = $1";
        let relation = &self.plan.relations[self.plan.chunks[self.number as usize].relation];
        let table = relation.sql();
        let sql = format!("LOCK TABLE ONLY {table} IN ACCESS SHARE MODE");
        client.batch_execute(&sql).await.map_err(|error| self.source_error(error.into()))?;
        let row = client.query_opt(UNCHANGED, &[&relation.relation_id, &table]).await;
        let row = row.map_err(|error| self.source_error(error.into()))?;
        row.map_or(Ok(false), |row| row.try_get("unchanged")).during("check a table's storage")
    }

    async fn transfer(&self, client: &Client) -> Result<ChunkOutcome, RunError> {
        let (requests, receiver) = mpsc::channel(MESSAGES_MAX);
        let mut call = pin!(self.sink.copy_chunk(receiver));
        let answer = tokio::select! {
            // An answer before the end: an error, or the chunk is there already.
            answer = &mut call => answer.map(|response| (response, None)),
            fed = self.feed(client, requests) => match fed {
                Ok(rows) => call.await.map(|response| (response, Some(rows))),
                Err(Broken::Call) => call.await.map(|response| (response, None)),
                Err(Broken::Source(error)) => return Err(self.source_error(error)),
                Err(Broken::Rule(error)) => return Err(error),
            },
        };
        let (response, sent) = answer.during(format!("copy rows of {}", self.name))?;
        match sent {
            _ if response.existed => Ok(ChunkOutcome::Existed),
            Some(rows) if rows == response.rows => Ok(ChunkOutcome::Copied),
            sent => Err(RunError::definite(
                format!(
                    "chunk {} of {}: the destination counted {} rows, the source sent {}",
                    self.number,
                    self.name,
                    response.rows,
                    sent.map_or("not all of its own".to_owned(), |rows| rows.to_string())
                ),
                "This should not happen: report it, and release and start the task again.",
            )),
        }
    }

    /// Sends the whole chunk and returns its number of rows. Without an error the last message was sent.
    async fn feed(
        &self,
        client: &Client,
        requests: mpsc::Sender<v1::CopyChunkRequest>,
    ) -> Result<u64, Broken> {
        let header = v1::CopyChunkHeader {
            session: Some(self.sink.session()),
            table_id: self.table_id,
            generation: self.plan.generation,
            chunk: self.number,
            columns: self.plan.columns.iter().map(|column| column.target.clone()).collect(),
        };
        send(&requests, Message::Header(header)).await?;
        let sql = self.plan.copy_sql(self.plan.chunks[self.number as usize]);
        let mut stream = pin!(client.copy_out(&*sql).await?);
        let mut rows = Rows::new(requests, self.counter);
        let rules = self.plan.transform.as_ref();
        let rewriter = rules.map(|rules| Rewriter::new(rules, &self.plan.columns)).transpose();
        let mut rewriter = rewriter.map_err(Broken::Rule)?;
        while let Some(piece) = stream.try_next().await? {
            match &mut rewriter {
                Some(rewriter) => rows.push(&rewriter.rewrite(&piece).map_err(Broken::Rule)?).await?,
                None => rows.push(&piece).await?,
            }
        }
        rows.end().await
    }

    /// A table that was dropped, renamed or altered while it was copied is looked at anew by the next attempt.
    fn source_error(&self, error: Error) -> RunError {
        const CHANGED: [SqlState; 3] =
            [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME];
        match error.sqlstate() {
            Some(code) if CHANGED.contains(code) => {
                let words = error.failure().cause;
                RunError::transient(format!("{} was altered while it was copied: {words}", self.name))
            }
            Some(code) if *code == SqlState::SNAPSHOT_TOO_OLD => RunError::SnapshotGone,
            code => {
                let code = code.filter(|_| self.plan.filter.is_some());
                let told = code.and_then(|code| not_evaluated(self.name, code));
                told.unwrap_or_else(|| RunError::Source {
                    doing: format!("read {}", self.name),
                    source: error,
                })
            }
        }
    }
}

/// Gathers rows into messages of a good size.
struct Rows<'a> {
    requests: mpsc::Sender<v1::CopyChunkRequest>,
    counter: Option<&'a TableCounter>,
    gathered: BytesMut,
    /// Rows so far, and those among them that the counter knows.
    count: u64,
    counted: u64,
}

impl<'a> Rows<'a> {
    fn new(requests: mpsc::Sender<v1::CopyChunkRequest>, counter: Option<&'a TableCounter>) -> Self {
        let gathered = BytesMut::with_capacity(MESSAGE_BYTES);
        Self { requests, counter, gathered, count: 0, counted: 0 }
    }

    /// Takes what the server sent: whole rows, usually one.
    async fn push(&mut self, piece: &[u8]) -> Result<(), Broken> {
        self.count += line_ends(piece);
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() >= MESSAGE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends the rest and the end, and returns the number of rows.
    async fn end(mut self) -> Result<u64, Broken> {
        self.flush().await?;
        send(&self.requests, Message::End(v1::CopyChunkEnd { rows: self.count })).await?;
        Ok(self.count)
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        let next = BytesMut::with_capacity(MESSAGE_BYTES);
        let mut rest: Bytes = std::mem::replace(&mut self.gathered, next).freeze();
        let bytes = rest.len() as u64;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(MESSAGE_BYTES_MAX));
            send(&self.requests, Message::Data(piece)).await?;
        }
        if let Some(counter) = self.counter {
            counter.add(self.count - self.counted, bytes);
            self.counted = self.count;
        }
        Ok(())
    }
}

async fn send(requests: &mpsc::Sender<v1::CopyChunkRequest>, message: Message) -> Result<(), Broken> {
    let request = v1::CopyChunkRequest { message: Some(message) };
    requests.send(request).await.map_err(|_| Broken::Call)
}

/// Rows in a piece of COPY's text format: a line each, since line ends within values are escaped.
fn line_ends(piece: &[u8]) -> u64 {
    piece.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn messages(pieces: &[Vec<u8>]) -> (u64, Vec<Message>) {
        let (sender, mut receiver) = mpsc::channel(1000);
        let mut rows = Rows::new(sender, None);
        for piece in pieces {
            assert!(rows.push(piece).await.is_ok());
        }
        let Ok(count) = rows.end().await else { panic!("the receiver is there") };
        let mut messages = Vec::new();
        while let Some(request) = receiver.recv().await {
            messages.extend(request.message);
        }
        (count, messages)
    }

    #[tokio::test]
    async fn rows_are_gathered_and_long_ones_split() {
        let row = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
        for (pieces, lengths) in [
            (vec![], vec![]),
            (vec![row(10), row(20)], vec![30]),
            (vec![row(MESSAGE_BYTES), row(5)], vec![MESSAGE_BYTES, 5]),
            (vec![row(100_000); 6], vec![300_000, 300_000]),
            (vec![row(MESSAGE_BYTES_MAX * 2 + 7)], vec![MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX, 7]),
        ] {
            let (count, messages) = messages(&pieces).await;
            assert_eq!(count, pieces.len() as u64);
            let (last, data) = messages.split_last().unwrap();
            assert_eq!(*last, Message::End(v1::CopyChunkEnd { rows: count }));
            let sent: Vec<usize> = data
                .iter()
                .map(|message| match message {
                    Message::Data(data) => data.len(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(sent, lengths);
        }
    }
}
