//! Decoder of pgoutput's messages (PostgreSQL, Logical Replication Message Formats): protocol version 1 with [`decode`], the
//! streaming of in-progress transactions, versions 2 and 4, with a [`Decoder`].
//!
//! No I/O and no copy: what [`decode`] returns shares the payload's buffer, so that keeping a small tuple
//! keeps the buffer it came in. Whatever the bytes are, the answer is a message or an error, never a panic. A
//! message has to fill its payload exactly.

mod begin;
mod commit;
mod cursor;
mod decoder;
mod delete;
mod insert;
mod message;
mod origin;
mod relation;
mod stream_abort;
mod stream_commit;
mod stream_start;
mod truncate;
mod tuple;
mod tuple_builder;
mod type_definition;
mod update;

use bytes::Bytes;
use strait_proto::Lsn;

pub use begin::Begin;
pub use commit::Commit;
use cursor::Cursor;
pub use cursor::DecodeError;
pub use decoder::{Decoded, Decoder, Streaming};
pub use relation::{Relation, RelationColumn};
pub use stream_abort::{AbortRecord, StreamAbort};
pub use stream_commit::StreamCommit;
pub use stream_start::StreamStart;
pub use tuple::{TupleData, TupleValue, TupleValues};
pub use tuple_builder::TupleBuilder;

/// One message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogicalMessage {
    /// A transaction begins. Transactions come one after the other, in the order of their commits.
    Begin(Begin),
    /// The transaction is complete.
    Commit(Commit),
    /// Where a transaction came from that was replicated to the source itself. Nothing here needs it.
    Origin,
    /// What a relation looks like from now on. Precedes the first change of a relation in a session.
    Relation(Relation),
    /// The name of a type that is not built in. Nothing here needs it.
    Type,
    /// A new row.
    Insert {
        /// The relation as its definition names it.
        relation_id: u32,
        /// The row.
        new: TupleData,
    },
    /// A changed row.
    Update {
        /// The relation as its definition names it.
        relation_id: u32,
        /// What identifies the row; absent where the replica identity's columns did not change.
        old: Option<OldTuple>,
        /// The row as it is now; unchanged TOAST values are missing.
        new: TupleData,
    },
    /// A removed row.
    Delete {
        /// The relation as its definition names it.
        relation_id: u32,
        /// What identifies the row.
        old: OldTuple,
    },
    /// All rows of some relations are gone.
    Truncate {
        /// The relations as their definitions name them: those of the publication alone.
        relation_ids: Vec<u32>,
        /// TRUNCATE … CASCADE
        cascade: bool,
        /// TRUNCATE … RESTART IDENTITY
        restart_identity: bool,
    },
    /// What `pg_logical_emit_message` emitted.
    Message {
        /// Whether it belongs to the transaction around it; otherwise it arrives on its own, at once.
        transactional: bool,
        /// Where the message lies in the log.
        lsn: Lsn,
        /// Whose message it is.
        prefix: String,
        /// The content.
        content: Bytes,
    },
    /// What follows, up to StreamStop, belongs to a transaction that is still in progress.
    StreamStart(StreamStart),
    /// The piece of a transaction in progress ends here.
    StreamStop,
    /// A transaction that arrived in pieces has committed.
    StreamCommit(StreamCommit),
    /// A transaction that arrived in pieces, or one of its subtransactions, was rolled back.
    StreamAbort(StreamAbort),
}

/// What an update or delete tells about the row before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldTuple {
    /// The columns of the replica identity have their values, all others are null.
    Key(TupleData),
    /// Every column has its value (REPLICA IDENTITY FULL).
    Full(TupleData),
}

/// Decodes one message of protocol version 1.
pub fn decode(payload: Bytes) -> Result<LogicalMessage, DecodeError> {
    let mut cursor = Cursor::new(payload);
    let kind = cursor.u8()?;
    let message = body(kind, &mut cursor)?;
    cursor.finish()?;
    Ok(message)
}

/// Decodes what follows a message's first byte, as version 1 has it.
fn body(kind: u8, cursor: &mut Cursor) -> Result<LogicalMessage, DecodeError> {
    match kind {
        b'B' => begin::decode(cursor),
        b'C' => commit::decode(cursor),
        b'O' => origin::decode(cursor),
        b'R' => relation::decode(cursor),
        b'Y' => type_definition::decode(cursor),
        b'I' => insert::decode(cursor),
        b'U' => update::decode(cursor),
        b'D' => delete::decode(cursor),
        b'T' => truncate::decode(cursor),
        b'M' => message::decode(cursor),
        other => Err(DecodeError::UnknownMessage(other)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One valid message of each kind, with its meaning.
    pub(super) fn samples() -> Vec<(Vec<u8>, LogicalMessage)> {
        let text = |text: &'static str| TupleValue::Text(Bytes::from_static(text.as_bytes()));
        let row = TupleData::from_iter([text("1"), TupleValue::Null, text("é"), TupleValue::Unchanged]);
        let key = TupleData::from_iter([text("1"), TupleValue::Null, TupleValue::Null, TupleValue::Null]);
        let tuple = |tuple: &TupleData| tuple.as_bytes().to_vec();
        let join = |parts: &[&[u8]]| parts.concat();
        let time = 1_000_000_i64.to_be_bytes();
        vec![
            (
                join(&[b"B", &0x16_0000_0010_u64.to_be_bytes(), &time, &7_u32.to_be_bytes()]),
                LogicalMessage::Begin(Begin {
                    final_lsn: Lsn(0x16_0000_0010),
                    commit_time_us: 946_684_801_000_000,
                    xid: 7,
                }),
            ),
            (
                join(&[b"C\0", &16_u64.to_be_bytes(), &32_u64.to_be_bytes(), &time]),
                LogicalMessage::Commit(Commit {
                    commit_lsn: Lsn(16),
                    end_lsn: Lsn(32),
                    commit_time_us: 946_684_801_000_000,
                }),
            ),
            (join(&[b"O", &16_u64.to_be_bytes(), b"elsewhere\0"]), LogicalMessage::Origin),
            (
                join(&[
                    b"R",
                    &[0, 0, 0x40, 1],
                    b"public\0orders\0d",
                    &[0, 2],
                    &[1],
                    b"id\0",
                    &[0, 0, 0, 20, 0xFF, 0xFF, 0xFF, 0xFF],
                    &[0],
                    b"name\0",
                    &[0, 0, 4, 19, 0, 0, 0, 24],
                ]),
                LogicalMessage::Relation(Relation {
                    relation_id: 0x4001,
                    schema: "public".to_owned(),
                    name: "orders".to_owned(),
                    replica_identity: b'd',
                    columns: vec![
                        RelationColumn { key: true, name: "id".to_owned(), type_oid: 20, type_modifier: -1 },
                        RelationColumn {
                            key: false,
                            name: "name".to_owned(),
                            type_oid: 1043,
                            type_modifier: 24,
                        },
                    ],
                }),
            ),
            (join(&[b"Y", &[0, 0, 0x40, 2], b"public\0mood\0"]), LogicalMessage::Type),
            (
                join(&[b"I", &[0, 0, 0x40, 1], b"N", &tuple(&row)]),
                LogicalMessage::Insert { relation_id: 0x4001, new: row.clone() },
            ),
            (
                join(&[b"U", &[0, 0, 0x40, 1], b"N", &tuple(&row)]),
                LogicalMessage::Update { relation_id: 0x4001, old: None, new: row.clone() },
            ),
            (
                join(&[b"U", &[0, 0, 0x40, 1], b"K", &tuple(&key), b"N", &tuple(&row)]),
                LogicalMessage::Update {
                    relation_id: 0x4001,
                    old: Some(OldTuple::Key(key.clone())),
                    new: row.clone(),
                },
            ),
            (
                join(&[b"U", &[0, 0, 0x40, 1], b"O", &tuple(&row), b"N", &tuple(&row)]),
                LogicalMessage::Update {
                    relation_id: 0x4001,
                    old: Some(OldTuple::Full(row.clone())),
                    new: row.clone(),
                },
            ),
            (
                join(&[b"D", &[0, 0, 0x40, 1], b"K", &tuple(&key)]),
                LogicalMessage::Delete { relation_id: 0x4001, old: OldTuple::Key(key) },
            ),
            (
                join(&[b"D", &[0, 0, 0x40, 1], b"O", &tuple(&row)]),
                LogicalMessage::Delete { relation_id: 0x4001, old: OldTuple::Full(row) },
            ),
            (
                join(&[b"T", &[0, 0, 0, 2], &[3], &[0, 0, 0, 5], &[0, 0, 0, 6]]),
                LogicalMessage::Truncate { relation_ids: vec![5, 6], cascade: true, restart_identity: true },
            ),
            (
                join(&[b"M", &[1], &16_u64.to_be_bytes(), b"strait\0", &[0, 0, 0, 2], b"hi"]),
                LogicalMessage::Message {
                    transactional: true,
                    lsn: Lsn(16),
                    prefix: "strait".to_owned(),
                    content: Bytes::from_static(b"hi"),
                },
            ),
        ]
    }

    #[test]
    fn every_kind_of_message_is_understood() {
        for (bytes, message) in samples() {
            assert_eq!(decode(bytes.into()), Ok(message));
        }
    }

    #[test]
    fn a_message_that_is_cut_short_or_goes_on_is_an_error() {
        for (bytes, message) in samples() {
            for length in 0..bytes.len() {
                let cut = Bytes::copy_from_slice(&bytes[..length]);
                assert!(decode(cut).is_err(), "{length} bytes of {message:?}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(decode(longer.into()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn unknown_kinds_are_named() {
        assert_eq!(decode(Bytes::from_static(b"Zx")), Err(DecodeError::UnknownMessage(b'Z')));
        let unknown_old = [b"U\0\0\0\x01X" as &[u8], &[0, 0]].concat();
        assert_eq!(decode(unknown_old.into()), Err(DecodeError::UnknownTuple(b'X')));
        let unknown_value = b"I\0\0\0\x01N\0\x01x";
        assert_eq!(decode(Bytes::from_static(unknown_value)), Err(DecodeError::UnknownValue(b'x')));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode(bytes.into());
        }

        #[test]
        fn damaged_messages_never_panic(
            sample in 0..13_usize,
            at in any::<prop::sample::Index>(),
            value: u8,
        ) {
            let (mut bytes, _) = samples().swap_remove(sample);
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = decode(bytes.into());
        }
    }
}
