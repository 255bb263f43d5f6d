//! The decoder of a session that streams transactions in progress.
//!
//! Between StreamStart and StreamStop most messages carry the id of the subtransaction that they belong to, and nothing in
//! a message says so: whoever decodes has to know where in the stream it stands.

use bytes::Bytes;

use super::{Cursor, DecodeError, LogicalMessage, body, stream_abort, stream_commit, stream_start};

/// Whether the source sends transactions before they have committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Streaming {
    /// Only after their commit: protocol version 1.
    #[default]
    Off,
    /// Large ones in pieces: protocol version 2, from PostgreSQL 14.
    On,
    /// The same with where and when of a rollback: protocol version 4, from PostgreSQL 16.
    Parallel,
}

/// A message and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The subtransaction, or the transaction itself, that the message belongs to; None outside of a piece of a transaction in
    /// progress. Logical messages always name the transaction.
    pub xid: Option<u32>,
    /// What it says.
    pub message: LogicalMessage,
}

/// Decodes the messages of one session, in their order.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    streaming: Streaming,
    in_stream: bool,
}

impl Decoder {
    /// Begins a session that was started with `streaming`.
    pub fn new(streaming: Streaming) -> Self {
        Self { streaming, in_stream: false }
    }

    /// Decodes the payload of one XLogData message.
    pub fn decode(&mut self, payload: Bytes) -> Result<Decoded, DecodeError> {
        let mut cursor = Cursor::new(payload);
        let kind = cursor.u8()?;
        let xid = if self.in_stream && names_its_transaction(kind) { Some(cursor.u32()?) } else { None };
        let message = match kind {
            _ if self.streaming == Streaming::Off => body(kind, &mut cursor),
            b'S' => stream_start::decode(&mut cursor),
            b'E' => Ok(LogicalMessage::StreamStop),
            b'c' => stream_commit::decode(&mut cursor),
            b'A' => stream_abort::decode(&mut cursor, self.streaming == Streaming::Parallel),
            _ => body(kind, &mut cursor),
        }?;
        cursor.finish()?;
        match message {
            LogicalMessage::StreamStart(_) => self.in_stream = true,
            LogicalMessage::StreamStop => self.in_stream = false,
            _ => {}
        }
        Ok(Decoded { xid, message })
    }
}

/// Whether a message carries an xid within a piece of a transaction in progress.
fn names_its_transaction(kind: u8) -> bool {
    matches!(kind, b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strait_proto::Lsn;

    use super::super::tests::samples;
    use super::super::{AbortRecord, Commit, StreamAbort, StreamCommit, StreamStart};
    use super::*;

    const TIME: [u8; 8] = 1_000_000_i64.to_be_bytes();
    const TIME_US: i64 = 946_684_801_000_000;

    fn start(xid: u32) -> Bytes {
        [b"S" as &[u8], &xid.to_be_bytes(), &[1]].concat().into()
    }

    /// A decoder within a piece of transaction 7.
    fn within(streaming: Streaming) -> Decoder {
        let mut decoder = Decoder::new(streaming);
        decoder.decode(start(7)).unwrap();
        decoder
    }

    /// A message as it is sent within a piece.
    fn of_subtransaction(message: &[u8], xid: u32) -> Bytes {
        [&message[..1], &xid.to_be_bytes(), &message[1..]].concat().into()
    }

    /// The messages that streaming adds.
    fn added(streaming: Streaming) -> Vec<(Vec<u8>, LogicalMessage)> {
        let lsns = [16_u64.to_be_bytes(), 32_u64.to_be_bytes()].concat();
        let commit = Commit { commit_lsn: Lsn(16), end_lsn: Lsn(32), commit_time_us: TIME_US };
        let mut abort = [b"A" as &[u8], &7_u32.to_be_bytes(), &9_u32.to_be_bytes()].concat();
        let mut record = None;
        if streaming == Streaming::Parallel {
            abort.extend([16_u64.to_be_bytes(), TIME].concat());
            record = Some(AbortRecord { abort_lsn: Lsn(16), abort_time_us: TIME_US });
        }
        vec![
            (start(7).to_vec(), LogicalMessage::StreamStart(StreamStart { xid: 7, first: true })),
            (b"E".to_vec(), LogicalMessage::StreamStop),
            (
                [b"c" as &[u8], &7_u32.to_be_bytes(), &[0], &lsns, &TIME].concat(),
                LogicalMessage::StreamCommit(StreamCommit { xid: 7, commit }),
            ),
            (abort, LogicalMessage::StreamAbort(StreamAbort { xid: 7, subxid: 9, record })),
        ]
    }

    #[test]
    fn what_streaming_adds_is_understood_and_never_when_cut_short_or_longer() {
        for streaming in [Streaming::On, Streaming::Parallel] {
            for (bytes, message) in added(streaming) {
                let decoded = Decoder::new(streaming).decode(bytes.clone().into());
                assert_eq!(decoded, Ok(Decoded { xid: None, message: message.clone() }));
                for length in 0..bytes.len() {
                    let cut = Bytes::copy_from_slice(&bytes[..length]);
                    assert!(Decoder::new(streaming).decode(cut).is_err(), "{length} bytes of {message:?}");
                }
                let longer = [&bytes[..], &[0]].concat();
                assert!(Decoder::new(streaming).decode(longer.into()).is_err(), "{message:?}");
            }
        }
    }

    #[test]
    fn without_streaming_there_are_no_such_messages() {
        for (bytes, message) in added(Streaming::On) {
            assert!(Decoder::new(Streaming::Off).decode(bytes.into()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn changes_of_a_transaction_in_progress_name_their_subtransaction() {
        for (bytes, message) in samples() {
            let mut decoder = within(Streaming::On);
            if !names_its_transaction(bytes[0]) {
                let decoded = decoder.decode(bytes.into());
                assert_eq!(decoded, Ok(Decoded { xid: None, message }));
                continue;
            }
            let inside = of_subtransaction(&bytes, 9);
            let decoded = decoder.decode(inside.clone());
            assert_eq!(decoded, Ok(Decoded { xid: Some(9), message: message.clone() }));
            for length in 0..inside.len() {
                assert!(decoder.decode(inside.slice(..length)).is_err(), "{length} bytes of {message:?}");
            }
            decoder.decode(Bytes::from_static(b"E")).unwrap();
            assert_eq!(decoder.decode(bytes.into()), Ok(Decoded { xid: None, message }));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8),
            parallel: bool,
        ) {
            let mut decoder = within(if parallel { Streaming::Parallel } else { Streaming::On });
            for bytes in messages {
                let _ = decoder.decode(bytes.into());
            }
        }

        #[test]
        fn damaged_messages_never_panic(
            sample in 0..13_usize,
            at in any::<prop::sample::Index>(),
            value: u8,
        ) {
            let (bytes, _) = samples().swap_remove(sample);
            let mut bytes = of_subtransaction(&bytes, 9).to_vec();
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = within(Streaming::Parallel).decode(bytes.into());
        }
    }
}
