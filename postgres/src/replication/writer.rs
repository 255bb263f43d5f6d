//! The sending half of a stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::message::frontend;
use strait_proto::Lsn;
use tokio::io::{AsyncWriteExt as _, WriteHalf};
use tokio::time::timeout;

use crate::Error;
use crate::transport::Transport;

/// How long the farewell may take.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);
/// Seconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);
/// A status update's length field: itself and what follows it.
const STATUS_BYTES: u32 = 4 + 1 + 3 * 8 + 8 + 1;

/// How far the receiver has come (Standby status update).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StandbyStatus {
    /// Received up to here.
    pub written_lsn: Lsn,
    /// Durable up to here: the slot's confirmed position moves to this, and the source may forget what lies
    /// before.
    pub flushed_lsn: Lsn,
    /// Visible at the destination up to here.
    pub applied_lsn: Lsn,
    /// Asks the server to answer with a keepalive at once.
    pub reply_requested: bool,
}

/// The sending half of a stream.
pub struct ReplicationWriter {
    stream: WriteHalf<Transport>,
    buffer: BytesMut,
}

impl ReplicationWriter {
    pub(super) fn new(stream: WriteHalf<Transport>) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Sends a status update.
    ///
    /// Not cancel-safe: half a message may have been written. Does not wait for the reader.
    pub async fn send_status(&mut self, status: StandbyStatus) -> Result<(), Error> {
        self.buffer.clear();
        encode(status, clock_us(), &mut self.buffer);
        self.stream.write_all(&self.buffer).await?;
        Ok(self.stream.flush().await?)
    }

    /// Ends the stream in order, so that the server frees the slot at once. Errors do not matter: the
    /// connection is over either way.
    pub async fn finish(mut self) {
        self.buffer.clear();
        frontend::copy_done(&mut self.buffer);
        frontend::terminate(&mut self.buffer);
        let farewell = async {
            self.stream.write_all(&self.buffer).await?;
            self.stream.shutdown().await
        };
        if let Ok(Err(error)) = timeout(FINISH_TIMEOUT, farewell).await {
            tracing::debug!(%error, "end a replication stream");
        }
    }
}

fn encode(status: StandbyStatus, clock_us: i64, buffer: &mut BytesMut) {
    buffer.put_u8(b'd');
    buffer.put_u32(STATUS_BYTES);
    buffer.put_u8(b'r');
    buffer.put_u64(status.written_lsn.0);
    buffer.put_u64(status.flushed_lsn.0);
    buffer.put_u64(status.applied_lsn.0);
    buffer.put_i64(clock_us);
    buffer.put_u8(status.reply_requested.into());
}

/// Now, in microseconds since PostgreSQL's epoch. The server only shows it.
fn clock_us() -> i64 {
    let since_2000 = SystemTime::now().duration_since(UNIX_EPOCH + POSTGRES_EPOCH).unwrap_or_default();
    i64::try_from(since_2000.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_update_is_laid_out_as_documented() {
        let mut buffer = BytesMut::new();
        let status = StandbyStatus {
            written_lsn: Lsn(3),
            flushed_lsn: Lsn(1),
            applied_lsn: Lsn(2),
            reply_requested: true,
        };
        encode(status, 9, &mut buffer);
        let number = |at: usize| u64::from_be_bytes(buffer[at..at + 8].try_into().unwrap());
        assert_eq!((buffer[0], buffer[5], buffer.len()), (b'd', b'r', 1 + STATUS_BYTES as usize));
        assert_eq!([number(6), number(14), number(22), number(30)], [3, 1, 2, 9]);
        assert_eq!(buffer[38], 1);
    }
}
