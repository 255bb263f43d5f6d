//! What a broken or hostile server could send: streams of valid messages, damaged here and there.
//!
//! Damage keeps the structure where it can, so that it gets past the first check: a length that is off by one, a part that is
//! doubled or missing, two messages spliced. The rules: nothing panics, nothing waits for ever, and what is accepted holds
//! together. Runs for `STRAIT_FUZZ_SECONDS`, two by default.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::ReplicationMessage;
use super::frames::Frames;
use super::reader;
use crate::pgoutput::{self, LogicalMessage, OldTuple, TupleData, TupleValue};

/// Cases between two looks at the clock.
const CASES: u32 = 256;

/// Runs a property until the time is over.
fn fuzz<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("STRAIT_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(2));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    while Instant::now() < until {
        runner.run(strategy, &property).unwrap();
    }
}

/// One way to damage bytes. Places are shares of the whole.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    /// Adds to the number that four bytes from here make: lengths are such numbers.
    Shift(prop::sample::Index, i32),
    Remove(prop::sample::Index, usize),
    Double(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let range = |at: &prop::sample::Index, length: usize, bytes: &Vec<u8>| {
            let start = at.index(bytes.len());
            start..(start + length).min(bytes.len())
        };
        match self {
            Self::Set(at, value) => {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            Self::Shift(at, by) => {
                let range = range(at, 4, bytes);
                if let Ok(number) = <[u8; 4]>::try_from(&bytes[range.clone()]) {
                    let shifted = i32::from_be_bytes(number).wrapping_add(*by);
                    bytes[range].copy_from_slice(&shifted.to_be_bytes());
                }
            }
            Self::Remove(at, length) => drop(bytes.drain(range(at, *length, bytes))),
            Self::Double(at, length) => {
                let range = range(at, *length, bytes);
                let part = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, part);
            }
            Self::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        (at(), prop_oneof![-9..9, any::<i32>()]).prop_map(|(at, by)| Damage::Shift(at, by)),
        (at(), 1..40_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (at(), 1..40_usize).prop_map(|(at, length)| Damage::Double(at, length)),
        (at(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, more)| Damage::Insert(at, more)),
        at().prop_map(Damage::Cut),
    ]
}

fn tuple() -> impl Strategy<Value = TupleData> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from);
    let value = prop_oneof![
        Just(TupleValue::Null),
        Just(TupleValue::Unchanged),
        bytes().prop_map(TupleValue::Text),
        bytes().prop_map(TupleValue::Binary),
    ];
    prop::collection::vec(value, 0..8).prop_map(|values| values.into_iter().collect())
}

/// A valid message of pgoutput.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let join = |parts: &[&[u8]]| parts.concat();
    let id = || any::<u32>().prop_map(u32::to_be_bytes);
    let name = || "[a-zé_]{0,12}".prop_map(|name| name + "\0");
    let column = (0..2_u8, name(), id(), id())
        .prop_map(move |(key, name, oid, modifier)| join(&[&[key], name.as_bytes(), &oid, &modifier]));
    let columns = prop::collection::vec(column, 0..6);
    let old = || {
        (prop::option::of(prop::bool::ANY), tuple()).prop_map(|(full, tuple)| match full {
            None => Vec::new(),
            Some(full) => [if full { b"O" } else { b"K" }, &tuple.as_bytes()[..]].concat(),
        })
    };
    prop_oneof![
        any::<([u8; 8], [u8; 8], [u8; 4])>()
            .prop_map(move |(lsn, time, xid)| join(&[b"B", &lsn, &time, &xid])),
        any::<([u8; 8], [u8; 8], [u8; 8])>()
            .prop_map(move |(at, end, time)| join(&[b"C\0", &at, &end, &time])),
        (id(), name(), name(), "[dnfi]", columns).prop_map(move |(id, schema, name, identity, columns)| {
            let count = u16::try_from(columns.len()).unwrap_or_default().to_be_bytes();
            let head = [&id[..], schema.as_bytes(), name.as_bytes(), identity.as_bytes(), &count];
            join(&[b"R", &head.concat(), &columns.concat()])
        }),
        (id(), name(), name())
            .prop_map(move |(id, schema, name)| { join(&[b"Y", &id, schema.as_bytes(), name.as_bytes()]) }),
        (any::<[u8; 8]>(), name()).prop_map(move |(lsn, name)| join(&[b"O", &lsn, name.as_bytes()])),
        (id(), tuple()).prop_map(move |(id, new)| join(&[b"I", &id, b"N", &new.as_bytes()])),
        (id(), old(), tuple()).prop_map(move |(id, old, new)| join(&[
            b"U",
            &id,
            &old,
            b"N",
            &new.as_bytes()
        ])),
        (id(), tuple()).prop_map(move |(id, old)| join(&[b"D", &id, b"K", &old.as_bytes()])),
        (0..4_u8, prop::collection::vec(id(), 0..5)).prop_map(move |(options, ids)| {
            let count = u32::try_from(ids.len()).unwrap_or_default().to_be_bytes();
            join(&[b"T", &count, &[options], &ids.concat()])
        }),
        (0..2_u8, any::<[u8; 8]>(), name(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(
            move |(transactional, lsn, prefix, content)| {
                let length = u32::try_from(content.len()).unwrap_or_default().to_be_bytes();
                join(&[b"M", &[transactional], &lsn, prefix.as_bytes(), &length, &content])
            }
        ),
    ]
}

/// What was accepted as a tuple can be read to its end and says of itself what it holds.
fn check_tuple(tuple: &TupleData) -> Result<(), TestCaseError> {
    let values: Vec<_> = tuple.values().collect();
    prop_assert_eq!(values.len(), tuple.column_count());
    let rebuilt: TupleData = values.into_iter().collect();
    prop_assert_eq!(rebuilt.as_bytes(), tuple.as_bytes());
    Ok(())
}

fn check(message: &LogicalMessage) -> Result<(), TestCaseError> {
    let old_tuple = |old: &OldTuple| match old {
        OldTuple::Key(tuple) | OldTuple::Full(tuple) => check_tuple(tuple),
    };
    match message {
        LogicalMessage::Insert { new, .. } => check_tuple(new),
        LogicalMessage::Update { old, new, .. } => {
            old.as_ref().map_or(Ok(()), old_tuple)?;
            check_tuple(new)
        }
        LogicalMessage::Delete { old, .. } => old_tuple(old),
        _ => Ok(()),
    }
}

#[test]
fn a_valid_message_is_accepted_and_a_damaged_one_does_no_harm() {
    let strategy =
        (message(), message(), prop::collection::vec(damage(), 0..4), any::<Option<prop::sample::Index>>());
    fuzz(&strategy, |(mut bytes, other, damages, splice)| {
        if damages.is_empty() && splice.is_none() {
            let message = pgoutput::decode(bytes.into());
            prop_assert!(message.is_ok(), "{message:?}");
            return message.map_or(Ok(()), |message| check(&message));
        }
        if let Some(at) = splice {
            bytes.truncate(at.index(bytes.len()));
            bytes.extend_from_slice(&other[at.index(other.len())..]);
        }
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        match pgoutput::decode(bytes.into()) {
            Ok(message) => check(&message),
            Err(_) => Ok(()),
        }
    });
}

#[test]
fn a_damaged_stream_ends_in_messages_or_an_error() {
    let frame = |body: Vec<u8>| {
        let length = u32::try_from(body.len() + 4).unwrap_or_default();
        [b"d", &length.to_be_bytes()[..], &body].concat()
    };
    let data = message().prop_map(move |message| frame([&b"w"[..], &[0; 24], &message].concat()));
    let keepalive = any::<[u8; 17]>().prop_map(move |body| frame([&b"k"[..], &body].concat()));
    let stream = prop::collection::vec(prop_oneof![4 => data, 1 => keepalive], 0..12);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fuzz(&(stream, prop::collection::vec(damage(), 0..4)), |(frames, damages)| {
        let count = frames.len();
        let mut bytes = frames.concat();
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        let mut frames = Frames::new(&bytes[..]);
        let (mut messages, mut broken) = (0, false);
        // Each turn takes a header's bytes at least, so this ends.
        while let Ok(Some(frame)) = runtime.block_on(frames.next_frame()) {
            match reader::decode(frame.body) {
                Ok(ReplicationMessage::XLogData { payload, .. }) => match pgoutput::decode(payload) {
                    Ok(message) => check(&message)?,
                    Err(_) => broken = true,
                },
                Ok(ReplicationMessage::Keepalive { .. }) => {}
                Err(_) => broken = true,
            }
            messages += 1;
        }
        if damages.is_empty() {
            prop_assert_eq!((messages, broken), (count, false));
        }
        Ok(())
    });
}
