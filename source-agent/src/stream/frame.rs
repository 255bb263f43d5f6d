//! Packs changes into frames of about 1 MiB.
//!
//! Sizes are counted as they will be encoded, so that both sides agree about the credit that a frame costs.

use prost::Message as _;
use strait_proto::Lsn;
use strait_proto::v1::{self, change::Change as Kind};

/// What a frame may hold, unless a single change is larger.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;

/// For so many changes a frame has room from its beginning at most.
const CHANGES_ROOM_MAX: usize = 32 * 1024;

/// How much goes into a frame that holds more than one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameLimits {
    pub(super) rows: usize,
    /// At most [`FRAME_BYTES_MAX`].
    pub(super) bytes: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { rows: usize::MAX, bytes: FRAME_BYTES_MAX }
    }
}

/// Changes on their way into the next frame.
#[derive(Debug, Default)]
pub(super) struct FramePacker {
    changes: Vec<v1::Change>,
    /// The changes' part of the frame's encoded size.
    bytes: usize,
    /// Rows among them.
    rows: usize,
    limits: FrameLimits,
    /// Of the last frame.
    sequence: u64,
    /// Everything before it is in this frame or an earlier one.
    position_lsn: Lsn,
}

/// A frame that is ready to be sent.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) frame: v1::ChangeFrame,
    /// Its encoded size.
    pub(super) cost: u64,
    pub(super) rows: u64,
    /// Everything before it has been sent once this frame is.
    pub(super) position_lsn: Lsn,
}

impl FramePacker {
    /// What counts from now on.
    pub(super) fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds a change, or gives it back where it has to wait for the next frame: then [`take`](Self::take) comes first, and
    /// [`begin`](Self::begin). A position that follows a position replaces it.
    pub(super) fn push(&mut self, change: v1::Change) -> Option<v1::Change> {
        let bytes = encoded_bytes(&change);
        let rows = self.rows + usize::from(is_row(&change));
        if !self.is_empty() && (self.bytes + bytes > self.limits.bytes || rows > self.limits.rows) {
            return Some(change);
        }
        self.add(change, bytes);
        None
    }

    /// Begins a frame with a change, however large.
    pub(super) fn begin(&mut self, change: v1::Change) {
        let bytes = encoded_bytes(&change);
        self.add(change, bytes);
    }

    fn add(&mut self, change: v1::Change, bytes: usize) {
        match &change.change {
            Some(Kind::Progress(progress)) => {
                self.position_lsn = Lsn(progress.progress_lsn);
                if let Some(last) = self.changes.pop_if(|last| matches!(last.change, Some(Kind::Progress(_))))
                {
                    self.bytes -= encoded_bytes(&last);
                }
            }
            Some(Kind::Commit(commit)) => self.position_lsn = Lsn(commit.end_lsn),
            Some(Kind::StreamCommit(commit)) => self.position_lsn = Lsn(commit.end_lsn),
            _ => {}
        }
        self.bytes += bytes;
        self.rows += usize::from(is_row(&change));
        self.changes.push(change);
    }

    /// Takes the frame; None where there is nothing in it.
    pub(super) fn take(&mut self, traceparent: String) -> Option<Packed> {
        if self.is_empty() {
            return None;
        }
        self.sequence += 1;
        let bytes = std::mem::take(&mut self.bytes);
        let rows = std::mem::take(&mut self.rows) as u64;
        // The next one is about as long: its room had better not be found by doubling.
        let next = Vec::with_capacity(self.changes.len().min(CHANGES_ROOM_MAX));
        let changes = std::mem::replace(&mut self.changes, next);
        let mut frame = v1::ChangeFrame { sequence: self.sequence, changes: Vec::new(), traceparent };
        let cost = (frame.encoded_len() + bytes) as u64;
        frame.changes = changes;
        Some(Packed { frame, cost, rows, position_lsn: self.position_lsn })
    }
}

fn is_row(change: &v1::Change) -> bool {
    matches!(change.change, Some(Kind::Row(_)))
}

/// What a change adds to its frame: key, length and content.
fn encoded_bytes(change: &v1::Change) -> usize {
    let bytes = change.encoded_len();
    1 + prost::length_delimiter_len(bytes) + bytes
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn change(kind: Kind) -> v1::Change {
        v1::Change { change: Some(kind) }
    }

    fn row(bytes: usize) -> v1::Change {
        let new_tuple = Bytes::from(vec![0; bytes]);
        change(Kind::Row(v1::RowChange { relation_id: 1, new_tuple, ..Default::default() }))
    }

    fn progress(progress_lsn: u64) -> v1::Change {
        change(Kind::Progress(v1::Progress { progress_lsn }))
    }

    fn commit(end_lsn: u64) -> v1::Change {
        change(Kind::Commit(v1::Commit { commit_lsn: end_lsn - 1, end_lsn }))
    }

    /// Packs like the reader does, and returns the number of changes in each frame.
    fn pack(changes: Vec<v1::Change>) -> Vec<Packed> {
        let (mut packer, mut frames) = (FramePacker::default(), Vec::new());
        for change in changes {
            if let Some(change) = packer.push(change) {
                frames.extend(packer.take(String::new()));
                packer.begin(change);
            }
        }
        frames.extend(packer.take(String::new()));
        frames
    }

    #[test]
    fn frames_hold_at_most_their_size_or_one_larger_change() {
        let big = FRAME_BYTES_MAX;
        for (changes, lengths) in [
            (vec![], vec![]),
            (vec![row(1), row(1)], vec![2]),
            (vec![row(big / 2), row(big / 2)], vec![1, 1]),
            (vec![row(big / 4), row(big / 4), row(big / 4), row(big / 4)], vec![3, 1]),
            (vec![row(1), row(big * 3), row(1)], vec![1, 1, 1]),
        ] {
            let frames = pack(changes);
            assert_eq!(frames.iter().map(|it| it.frame.changes.len()).collect::<Vec<_>>(), lengths);
            for (index, packed) in frames.iter().enumerate() {
                assert_eq!(packed.frame.sequence, index as u64 + 1);
                assert_eq!(packed.cost, packed.frame.encoded_len() as u64);
                assert!(packed.frame.changes.len() == 1 || packed.cost <= FRAME_BYTES_MAX as u64 + 16);
            }
        }
    }

    #[test]
    fn smaller_limits_make_smaller_frames_of_at_least_a_change() {
        for (limits, lengths) in [
            (FrameLimits { rows: 2, bytes: FRAME_BYTES_MAX }, vec![3, 2, 2]),
            (FrameLimits { rows: 1, bytes: FRAME_BYTES_MAX }, vec![2, 1, 1, 1, 2]),
            (FrameLimits { rows: usize::MAX, bytes: 1 }, vec![1; 7]),
        ] {
            let mut packer = FramePacker::default();
            packer.set_limits(limits);
            let (mut found, mut rows) = (Vec::new(), 0);
            let mut take = |packer: &mut FramePacker| {
                let packed = packer.take(String::new()).unwrap();
                found.push(packed.frame.changes.len());
                rows += packed.rows;
            };
            for change in [commit(1), row(9), row(9), row(9), row(9), row(9), commit(5)] {
                if let Some(change) = packer.push(change) {
                    take(&mut packer);
                    packer.begin(change);
                }
            }
            take(&mut packer);
            assert_eq!((found, rows), (lengths, 5));
        }
    }

    #[test]
    fn positions_that_follow_each_other_become_one() {
        let frames = pack(vec![progress(1), progress(2), commit(5), progress(6), progress(7)]);
        assert_eq!(frames[0].frame.changes, [progress(2), commit(5), progress(7)]);
        assert_eq!(frames[0].position_lsn, Lsn(7));
    }

    #[test]
    fn a_frame_in_the_middle_of_a_transaction_keeps_the_position_before_it() {
        let mut packer = FramePacker::default();
        packer.begin(commit(5));
        packer.begin(row(1));
        assert_eq!(packer.take(String::new()).map(|it| it.position_lsn), Some(Lsn(5)));
        packer.begin(row(1));
        assert_eq!(packer.take(String::new()).map(|it| it.position_lsn), Some(Lsn(5)));
    }

    #[test]
    fn the_counted_size_is_the_encoded_one() {
        let mut packer = FramePacker::default();
        for change in [row(0), row(200), progress(3), progress(1 << 60), commit(9)] {
            packer.begin(change);
        }
        let bytes = packer.bytes;
        let frame = packer.take(String::new()).unwrap().frame;
        assert_eq!(v1::ChangeFrame { sequence: 0, ..frame }.encoded_len(), bytes);
    }
}
