//! One file: changes one after the other, each behind its length.

use std::io::SeekFrom;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use prost::Message as _;
use strait_proto::v1;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::{SpoolError, SpoolSpace};

/// Bytes that are collected before they are written.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// The bytes that a length takes at most.
const LENGTH_BYTES_MAX: usize = 10;

/// A file that grows, or is cut back.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    space: Arc<SpoolSpace>,
    /// Bytes in the file, all of which are reserved.
    written: u64,
    /// What follows them.
    buffer: BytesMut,
}

/// Reads a file from its beginning; keeps its bytes reserved until it is dropped.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    spool: SpoolFile,
    /// Bytes that were not read yet.
    rest: u64,
    buffer: BytesMut,
}

impl SpoolFile {
    pub(super) fn new(space: Arc<SpoolSpace>) -> Result<Self, SpoolError> {
        let file = File::from_std(space.open()?);
        Ok(Self { file, space, written: 0, buffer: BytesMut::new() })
    }

    /// Where the next change will lie.
    pub(super) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds a change.
    pub(super) async fn push(&mut self, change: &v1::Change) -> Result<(), SpoolError> {
        self.buffer.reserve(change.encoded_len() + LENGTH_BYTES_MAX);
        if change.encode_length_delimited(&mut self.buffer).is_err() {
            // The room was reserved.
            return Err(SpoolError::OutOfTurn("a change that cannot be encoded"));
        }
        if self.buffer.len() >= BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Forgets what lies at `end` and past it.
    pub(super) async fn truncate(&mut self, end: u64) -> Result<(), SpoolError> {
        if let Some(kept) = end.checked_sub(self.written) {
            self.buffer.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            return Ok(());
        }
        self.buffer.clear();
        let failed = |source| SpoolError::Io { doing: "cut back", source };
        // Writes are queued: the last one has to have ended.
        self.file.flush().await.map_err(failed)?;
        self.file.set_len(end).await.map_err(failed)?;
        self.file.seek(SeekFrom::Start(end)).await.map_err(failed)?;
        self.space.release(self.written - end);
        self.written = end;
        Ok(())
    }

    /// Ends the writing.
    pub(super) async fn into_reader(mut self) -> Result<SpoolReader, SpoolError> {
        self.flush().await?;
        let failed = |source| SpoolError::Io { doing: "read", source };
        self.file.flush().await.map_err(failed)?;
        self.file.rewind().await.map_err(failed)?;
        let rest = self.written;
        Ok(SpoolReader { spool: self, rest, buffer: BytesMut::new() })
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        let bytes = self.buffer.len() as u64;
        self.space.reserve(bytes)?;
        self.written += bytes;
        let written = self.file.write_all(&self.buffer).await;
        written.map_err(|source| SpoolError::Io { doing: "write to", source })?;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.space.release(self.written);
    }
}

impl SpoolReader {
    /// How much there is in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.spool.written
    }

    /// The next change; None after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::Change>, SpoolError> {
        loop {
            if let Some(length) = self.next_length()?
                && self.buffer.len() >= length
            {
                // Shares the buffer, which lives as long as the changes that were read with it.
                let encoded = self.buffer.split_to(length).freeze();
                return v1::Change::decode(encoded).map(Some).map_err(|_| damaged());
            }
            if self.rest == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(damaged()) };
            }
            self.read_more().await?;
        }
    }

    /// The length of the next change with what says it, once that has been read.
    fn next_length(&mut self) -> Result<Option<usize>, SpoolError> {
        let mut head = &self.buffer[..self.buffer.len().min(LENGTH_BYTES_MAX)];
        let available = head.len();
        match prost::decode_length_delimiter(&mut head) {
            Ok(length) => {
                let prefix = available - head.remaining();
                if self.buffer.len() < prefix + length {
                    self.buffer.reserve(prefix + length - self.buffer.len());
                    return Ok(None);
                }
                self.buffer.advance(prefix);
                Ok(Some(length))
            }
            Err(_) if available < LENGTH_BYTES_MAX => Ok(None),
            Err(_) => Err(damaged()),
        }
    }

    async fn read_more(&mut self) -> Result<(), SpoolError> {
        self.buffer.reserve(READ_BYTES);
        let most = self.rest.min(READ_BYTES as u64);
        let mut file = (&mut self.spool.file).take(most);
        let read = file.read_buf(&mut self.buffer).await;
        let read = read.map_err(|source| SpoolError::Io { doing: "read", source })?;
        if read == 0 {
            return Err(damaged());
        }
        self.rest -= read as u64;
        Ok(())
    }
}

/// The file is not what was written.
fn damaged() -> SpoolError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not what was written to it");
    SpoolError::Io { doing: "read", source }
}
