//! How changes are fetched: decided here, and nowhere else.
//!
//! A walsender is quick to tell of a change and slow to tell of many: it sends each message by itself. Slices over SQL cost
//! the source a tenth of that for small transactions and come in bulk. So a long backlog is read in slices, a short one is
//! streamed.
//!
//! Slices are decoded from `restart_lsn` each time. While a transaction stays open there, that position stands still and
//! every slice reads the same log again; a transaction that wrote very much would come as one result, which the source has
//! to hold. Both show in the distance between the two positions of the copy, and both are for streaming.
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
const REPEATED_BYTES_MAX: u64 = 256 << 20;
/// The first slice, so that there is soon something to send, or it is soon known that there is not, and the largest. Each
/// has to read again what lies between the restart position and its beginning, so they had better be few.
const SLICE_MIN: Slice = Slice { bytes: 16 << 20, messages: 60_000 };
const SLICE_MAX: Slice = Slice { bytes: 64 << 20, messages: 400_000 };
/// How much larger each is than the one before.
const SLICE_GROWTH: u32 = 3;
/// Once slices had to read too much again, or there is no slot for them, they are left alone for so long.
const SLICES_AFTER: Duration = Duration::from_secs(60);
/// The same once one has brought nothing.
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

    /// What to do, now that the copy stands at `copy` after a slice that began at `from_lsn` and brought something or
    /// not; before the first slice as well.
    pub(super) fn next(
        &mut self,
        copy: CopyPosition,
        from_lsn: Lsn,
        empty: bool,
        now: Instant,
    ) -> AfterSlice {
        let CopyPosition { confirmed_flush_lsn, restart_lsn, flush_lsn } = copy;
        let last = self.slice.take();
        if confirmed_flush_lsn.bytes_since(restart_lsn) > REPEATED_BYTES_MAX {
            self.not_before = Some(now + SLICES_AFTER);
            return AfterSlice::Repeats;
        }
        // So much log without a commit of ours: a transaction is in the middle of it, or it is another database's.
        if empty && last.is_some_and(|last| confirmed_flush_lsn.bytes_since(from_lsn) >= last.bytes) {
            self.not_before = Some(now + SLICES_AFTER_NOTHING);
            return AfterSlice::Repeats;
        }
        let slice = last.map_or(SLICE_MIN, Slice::larger);
        let upto_lsn = Lsn(confirmed_flush_lsn.0.saturating_add(slice.bytes));
        let bounds = SliceBounds { upto_lsn, messages: slice.messages };
        if flush_lsn.bytes_since(confirmed_flush_lsn) < STREAM_BELOW_BYTES {
            return AfterSlice::NearEnd(bounds);
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

    #[test]
    fn slices_grow_up_to_their_bound() {
        let (mut chooser, now) = (Chooser::default(), Instant::now());
        for (mib, messages) in [(16, 60_000), (48, 180_000), (64, 400_000), (64, 400_000)] {
            let bounds = SliceBounds { upto_lsn: Lsn((100 + mib) * MIB), messages };
            assert_eq!(
                chooser.next(copy(100, 90, 1000), Lsn(90 * MIB), false, now),
                AfterSlice::GoOn(bounds)
            );
        }
        let near_end = chooser.next(copy(1000, 990, 1000), Lsn(1000 * MIB), true, now);
        assert!(matches!(near_end, AfterSlice::NearEnd(_)));
    }

    #[test]
    fn a_transaction_that_fills_a_slice_is_left_to_the_stream() {
        let now = Instant::now();
        for (from, empty, repeats) in [(84, true, true), (85, true, false), (84, false, false)] {
            let mut chooser = Chooser::default();
            assert!(matches!(
                chooser.next(copy(84, 36, 1000), Lsn(84 * MIB), true, now),
                AfterSlice::GoOn(_)
            ));
            let after = chooser.next(copy(100, 36, 1000), Lsn(from * MIB), empty, now);
            assert_eq!(after == AfterSlice::Repeats, repeats, "{from} {empty}");
        }
    }

    #[test]
    fn an_old_open_transaction_is_left_to_the_stream_for_a_while() {
        let (mut chooser, now) = (Chooser::default(), Instant::now());
        assert!(matches!(chooser.next(copy(400, 144, 1000), Lsn(399 * MIB), true, now), AfterSlice::GoOn(_)));
        assert_eq!(chooser.next(copy(401, 144, 1000), Lsn(400 * MIB), false, now), AfterSlice::Repeats);
        assert!(!chooser.wants_slices(Lsn(401 * MIB), Lsn(1000 * MIB), now));
        assert!(chooser.wants_slices(Lsn(401 * MIB), Lsn(1000 * MIB), now + SLICES_AFTER));
    }
}
