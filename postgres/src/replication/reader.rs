//! The receiving half of a stream.

use bytes::{Buf as _, Bytes};
use strait_proto::Lsn;
use tokio::io::ReadHalf;

use super::frames::Frames;
use crate::Error;
use crate::error::ServerError;
use crate::transport::Transport;

/// What a walsender sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicationMessage {
    /// One message of the output plugin.
    XLogData {
        /// Where the change lies in the log; zero where the plugin does not say.
        wal_start_lsn: Lsn,
        /// The end of the log as the server knew it when it sent this.
        wal_end_lsn: Lsn,
        /// For [`pgoutput::decode`](crate::pgoutput::decode). Shares the read buffer (256 KiB or more): what
        /// is kept for long had better be copied.
        payload: Bytes,
    },
    /// How far the server has read its log.
    Keepalive {
        /// Everything before this position has been sent, as far as it belongs to the stream.
        wal_end_lsn: Lsn,
        /// The server wants a status update at once, or will close the connection soon.
        reply_requested: bool,
    },
}

/// The receiving half of a stream.
pub struct ReplicationReader {
    frames: Frames<ReadHalf<Transport>>,
    ended: bool,
}

impl ReplicationReader {
    pub(super) fn new(frames: Frames<ReadHalf<Transport>>) -> Self {
        Self { frames, ended: false }
    }

    /// Waits for the next message; `None` once the server has ended the stream in order, as it does when it
    /// shuts down.
    ///
    /// Cancel-safe: a message is never lost. A connection that just ends is an error.
    pub async fn next(&mut self) -> Result<Option<ReplicationMessage>, Error> {
        while !self.ended {
            let frame = self.frames.next_frame().await?.ok_or(Error::Closed)?;
            match frame.tag {
                b'd' => return decode(frame.body).map(Some),
                // CopyDone, and CommandComplete, which a walsender sends when its server shuts down.
                b'c' | b'C' => self.ended = true,
                b'E' => return Err(ServerError::from_body(&frame.body).into()),
                b'N' => {
                    let notice = ServerError::from_body(&frame.body);
                    tracing::debug!(%notice, "notice of a replication stream");
                }
                // ParameterStatus: a setting was reloaded.
                b'S' => {}
                tag => return Err(Error::Protocol(format!("message {:?} in a stream", char::from(tag)))),
            }
        }
        Ok(None)
    }

    /// Waits until a whole message is in memory. Cancel-safe.
    pub async fn wait(&mut self) -> Result<(), Error> {
        self.frames.wait().await
    }

    /// Whether a whole message is in memory already, so that [`next`](Self::next) will not wait.
    pub fn has_buffered(&self) -> bool {
        self.frames.has_frame()
    }
}

pub(super) fn decode(mut body: Bytes) -> Result<ReplicationMessage, Error> {
    let cut_short = |_| Error::Protocol("a message of the stream is cut short".to_owned());
    match body.try_get_u8().map_err(cut_short)? {
        b'w' => {
            let wal_start_lsn = Lsn(body.try_get_u64().map_err(cut_short)?);
            let wal_end_lsn = Lsn(body.try_get_u64().map_err(cut_short)?);
            let _sent_at = body.try_get_i64().map_err(cut_short)?;
            Ok(ReplicationMessage::XLogData { wal_start_lsn, wal_end_lsn, payload: body })
        }
        b'k' => {
            let wal_end_lsn = Lsn(body.try_get_u64().map_err(cut_short)?);
            let _sent_at = body.try_get_i64().map_err(cut_short)?;
            let reply_requested = body.try_get_u8().map_err(cut_short)? != 0;
            Ok(ReplicationMessage::Keepalive { wal_end_lsn, reply_requested })
        }
        tag => Err(Error::Protocol(format!("message {:?} within a stream", char::from(tag)))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_messages_are_understood_and_never_when_cut_short() {
        let data =
            [b"w" as &[u8], &1_u64.to_be_bytes(), &2_u64.to_be_bytes(), &3_u64.to_be_bytes(), b"B"].concat();
        let keepalive = [b"k" as &[u8], &7_u64.to_be_bytes(), &3_u64.to_be_bytes(), &[1]].concat();
        assert_eq!(
            decode(data.clone().into()).unwrap(),
            ReplicationMessage::XLogData {
                wal_start_lsn: Lsn(1),
                wal_end_lsn: Lsn(2),
                payload: Bytes::from_static(b"B")
            }
        );
        assert_eq!(
            decode(keepalive.clone().into()).unwrap(),
            ReplicationMessage::Keepalive { wal_end_lsn: Lsn(7), reply_requested: true }
        );
        for (message, shortest) in [(data, 25), (keepalive, 18)] {
            for length in 0..shortest {
                assert!(decode(Bytes::copy_from_slice(&message[..length])).is_err(), "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(bytes.into());
        }
    }
}
