//! How changes are fetched: decided here, and nowhere else.
//!
//! A walsender is quick to tell of a change and slow to tell of many: it sends each message by itself. Slices over SQL cost
//! the source a tenth of that for small transactions and come in bulk. So a long backlog is read in slices, a short one is
//! streamed.
//!
//! Slices are decoded from `restart_lsn` each time. While a transaction stays open there, that position stands still and
//! every slice reads the same log again, so each covers at least as much that is new as it has to read again: altogether the
//! log is read twice at most. A transaction counts with its commit, so one that no slice holds whole would be read for
//! nothing: a slice that brought no commit is followed by the largest one. Where that will not do either, or the distance
//! between the two positions of the copy grows past what the source should hold of a slice, the stream is the better way.
//!
//! Pure: no I/O.

use std::time::Duration;

use strait_postgres::replication::{CopyPosition, SliceBounds};
use strait_proto::Lsn;
use tokio::time::Instant;

/// A backlog above it is read in slices.
const SLICES_ABOVE_BYTES: u64 = 16 << 20;
/// Below it the stream takes over.
const STREAM_BELOW_BYTES: u64 = 1 << 20;
/// What every slice may have to read again.
const REPEATED_BYTES_MAX: u64 = SLICE_BYTES_MAX;
/// The same near the end, where slices only bridge the time until the stream has begun.
const REPEATED_NEAR_END_BYTES_MAX: u64 = 256 << 20;
/// The first slice, so that there is soon something to send, or it is soon known that there is not, and the largest as long as
/// transactions are small.
const SLICE_MIN: Slice = Slice { bytes: 16 << 20, messages: 60_000 };
const SLICE_MAX: Slice = Slice { bytes: 64 << 20, messages: 400_000 };
/// The largest of all. The source holds what a slice brings in memory (64 MiB) and a temporary file.
const SLICE_BYTES_MAX: u64 = 1 << 30;
/// How much larger each is than the one before.
const SLICE_GROWTH: u32 = 3;
/// Once slices had to read too much again, or there is no slot for them, they are left alone for so long.
const SLICES_AFTER: Duration = Duration::from_secs(60);
/// The same once the largest one has brought no commit.
const SLICES_AFTER_NOTHING: Duration = Duration::from_secs(10);

/// What to do after a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterSlice {
    /// Read the next one.
    GoOn(SliceBounds),
    /// The end is near: start the stream, and read on until it speaks.
    NearEnd(SliceBounds),
    /// Slices read too much of the log again: stream.
    Repeats,
}

/// Chooses between slices and the stream.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    not_before: Option<Instant>,
    /// The last one of this run.
    slice: Option<Slice>,
}

/// How much a slice covers at most.
#[derive(Debug, Clone, Copy)]
struct Slice {
    /// Of log.
    bytes: u64,
    messages: u32,
}

impl Slice {
    fn larger(self) -> Self {
        Self {
            bytes: (self.bytes * u64::from(SLICE_GROWTH)).min(SLICE_MAX.bytes),
            messages: (self.messages * SLICE_GROWTH).min(SLICE_MAX.messages),
        }
    }

    /// At least `bytes` of log, with as many messages as are usual for that.
    fn at_least(self, bytes: u64) -> Self {
        if bytes <= self.bytes {
            return self;
        }
        let bytes = bytes.min(SLICE_BYTES_MAX);
        let messages = u64::from(SLICE_MAX.messages) * bytes / SLICE_MAX.bytes;
        Self { bytes, messages: u32::try_from(messages).unwrap_or(u32::MAX).max(self.messages) }
    }
}

impl Chooser {
    /// Whether a backlog from `position_lsn` to the source's `source_lsn` is to be read in slices.
    pub(super) fn wants_slices(&self, position_lsn: Lsn, source_lsn: Lsn, now: Instant) -> bool {
        source_lsn.bytes_since(position_lsn) > SLICES_ABOVE_BYTES
            && self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// Slices cannot be had at present.
    pub(super) fn refused(&mut self, now: Instant) {
        self.not_before = Some(now + SLICES_AFTER);
    }

    /// What to do, now that the copy stands at `copy` after a slice that brought a commit or not; before the first slice as
    /// well.
    pub(super) fn next(&mut self, copy: CopyPosition, committed: bool, now: Instant) -> AfterSlice {
        let CopyPosition { confirmed_flush_lsn, restart_lsn, flush_lsn } = copy;
        let last = self.slice.take();
        let repeated_bytes = confirmed_flush_lsn.bytes_since(restart_lsn);
        if repeated_bytes > REPEATED_BYTES_MAX {
            self.not_before = Some(now + SLICES_AFTER);
            return AfterSlice::Repeats;
        }
        // So much log without a commit of ours: a transaction is in the middle of it, or it is another database's.
        if !committed && last.is_some_and(|last| last.bytes >= SLICE_BYTES_MAX) {
            self.not_before = Some(now + SLICES_AFTER_NOTHING);
            return AfterSlice::Repeats;
        }
        let slice = match last {
            None => SLICE_MIN.at_least(repeated_bytes),
            Some(last) if committed => last.larger().at_least(repeated_bytes),
            Some(last) => last.at_least(SLICE_BYTES_MAX),
        };
        let upto_lsn = Lsn(confirmed_flush_lsn.0.saturating_add(slice.bytes));
        let bounds = SliceBounds { upto_lsn, messages: slice.messages };
        if flush_lsn.bytes_since(confirmed_flush_lsn) < STREAM_BELOW_BYTES {
            return match repeated_bytes {
                ..=REPEATED_NEAR_END_BYTES_MAX => AfterSlice::NearEnd(bounds),
                _ => AfterSlice::Repeats,
            };
        }
        self.slice = Some(slice);
        AfterSlice::GoOn(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn copy(confirmed: u64, restart: u64, flush: u64) -> CopyPosition {
        let lsn = |mib: u64| Lsn(mib * MIB);
        CopyPosition { confirmed_flush_lsn: lsn(confirmed), restart_lsn: lsn(restart), flush_lsn: lsn(flush) }
    }

    #[test]
    fn a_long_backlog_is_read_in_slices_and_a_short_one_streamed() {
        let (chooser, now) = (Chooser::default(), Instant::now());
        for (position, source, slices) in
            [(100, 100, false), (100, 116, false), (100, 117, true), (100, 90, false)]
        {
            assert_eq!(chooser.wants_slices(Lsn(position * MIB), Lsn(source * MIB), now), slices, "{source}");
        }
    }

    fn bounds(after: AfterSlice) -> SliceBounds {
        match after {
            AfterSlice::GoOn(bounds) => bounds,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn slices_grow_up_to_their_bound() {
        let (mut chooser, now) = (Chooser::default(), Instant::now());
        for (mib, messages) in [(16, 60_000), (48, 180_000), (64, 400_000), (64, 400_000)] {
            let expected = SliceBounds { upto_lsn: Lsn((100 + mib) * MIB), messages };
            assert_eq!(chooser.next(copy(100, 90, 1000), true, now), AfterSlice::GoOn(expected));
        }
        let near_end = chooser.next(copy(1000, 990, 1000), false, now);
        assert!(matches!(near_end, AfterSlice::NearEnd(_)));
    }

    #[test]
    fn each_slice_covers_at_least_as_much_as_it_reads_again() {
        let (mut chooser, now) = (Chooser::default(), Instant::now());
        for (restart, mib, messages) in [(300, 100, 625_000), (200, 200, 1_250_000), (390, 64, 400_000)] {
            let expected = SliceBounds { upto_lsn: Lsn((400 + mib) * MIB), messages };
            assert_eq!(bounds(chooser.next(copy(400, restart, 9000), true, now)), expected);
        }
    }

    #[test]
    fn a_transaction_that_fills_a_slice_comes_in_the_largest_one_or_by_the_stream() {
        let (mut chooser, now) = (Chooser::default(), Instant::now());
        assert_eq!(bounds(chooser.next(copy(84, 36, 9000), false, now)).upto_lsn, Lsn((84 + 48) * MIB));
        let largest = bounds(chooser.next(copy(132, 36, 9000), false, now));
        assert_eq!(largest.upto_lsn, Lsn((132 + 1024) * MIB));
        assert_eq!(chooser.next(copy(932, 36, 9000), false, now), AfterSlice::Repeats);
        assert!(!chooser.wants_slices(Lsn(932 * MIB), Lsn(9000 * MIB), now));
        assert!(chooser.wants_slices(Lsn(932 * MIB), Lsn(9000 * MIB), now + SLICES_AFTER_NOTHING));
    }

    #[test]
    fn an_old_open_transaction_is_left_to_the_stream_for_a_while() {
        let (mut chooser, now) = (Chooser::default(), Instant::now());
        assert!(matches!(chooser.next(copy(1068, 44, 9000), true, now), AfterSlice::GoOn(_)));
        assert_eq!(chooser.next(copy(1069, 44, 9000), true, now), AfterSlice::Repeats);
        assert!(!chooser.wants_slices(Lsn(1069 * MIB), Lsn(9000 * MIB), now));
        assert!(chooser.wants_slices(Lsn(1069 * MIB), Lsn(9000 * MIB), now + SLICES_AFTER));
    }

    #[test]
    fn near_the_end_an_old_open_transaction_is_left_to_the_stream_at_once() {
        let (mut chooser, now) = (Chooser::default(), Instant::now());
        assert!(matches!(chooser.next(copy(300, 44, 300), true, now), AfterSlice::NearEnd(_)));
        assert_eq!(chooser.next(copy(300, 43, 300), true, now), AfterSlice::Repeats);
    }
}
