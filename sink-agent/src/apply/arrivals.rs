//! How long frames are here before what they bring is visible.
//!
//! A duration of this host's monotonic clock: the source-agent takes it off the time between sending a frame and its
//! acknowledgement, and what is left is the network. No clock of another host is looked at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strait_proto::Lsn;
use strait_proto::v1::{ChangeFrame, change::Change as Kind};
use tokio::time::Instant;

/// Frames that are remembered; with more, the oldest ones are not measured.
const ARRIVALS_MAX: usize = 4096;

/// The frames that are not applied yet. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    waiting: Arc<Mutex<VecDeque<Arrival>>>,
}

#[derive(Debug)]
struct Arrival {
    frame: u64,
    received: Instant,
    /// All of it is applied once this position is.
    end_lsn: Lsn,
}

/// A frame of which all is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppliedFrame {
    pub(crate) frame: u64,
    /// Microseconds since it came.
    pub(crate) held_us: u64,
}

impl Arrivals {
    /// A frame came. One that ends within a transaction is not measured: only a later one says when that is visible.
    pub(crate) fn arrived(&self, frame: &ChangeFrame, received: Instant) {
        let position = frame.changes.last().and_then(|change| match &change.change {
            Some(Kind::Commit(commit)) => Some(Lsn(commit.end_lsn)),
            Some(Kind::StreamCommit(commit)) => Some(Lsn(commit.end_lsn)),
            Some(Kind::Progress(progress)) => Some(Lsn(progress.progress_lsn)),
            _ => None,
        });
        let Some(end_lsn) = position else { return };
        let mut waiting = self.lock();
        if waiting.len() >= ARRIVALS_MAX {
            waiting.pop_front();
        }
        waiting.push_back(Arrival { frame: frame.sequence, received, end_lsn });
    }

    /// Everything before `applied_lsn` is visible. Returns the newest frame that this covers, once.
    pub(crate) fn applied(&self, applied_lsn: Lsn, now: Instant) -> Option<AppliedFrame> {
        let mut newest = None;
        let mut waiting = self.lock();
        while let Some(arrival) = waiting.pop_front_if(|arrival| arrival.end_lsn <= applied_lsn) {
            newest = Some(arrival);
        }
        newest.map(|Arrival { frame, received, .. }| {
            let held = now.saturating_duration_since(received);
            AppliedFrame { frame, held_us: u64::try_from(held.as_micros()).unwrap_or(u64::MAX) }
        })
    }

    /// What is behind the lock is whole at any time.
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arrival>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long there was no room for a frame: it lay in the connection's buffers, and that is not the network's doing.
#[derive(Debug, Default)]
pub(crate) struct Room {
    full_since: Option<Instant>,
    full_for: Duration,
}

impl Room {
    /// Whether there is room now.
    pub(crate) fn note(&mut self, has_room: bool, now: Instant) {
        match (has_room, self.full_since) {
            (false, None) => self.full_since = Some(now),
            (true, Some(since)) => {
                self.full_for += now.duration_since(since);
                self.full_since = None;
            }
            _ => {}
        }
    }

    /// When the frame that was read now would have been read, had there been room.
    pub(crate) fn received(&mut self, now: Instant) -> Instant {
        let full_for = std::mem::take(&mut self.full_for);
        now.checked_sub(full_for).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{Change, Commit, Progress, RowChange};

    use super::*;

    fn frame(sequence: u64, last: Kind) -> ChangeFrame {
        ChangeFrame { sequence, changes: vec![Change { change: Some(last) }], ..ChangeFrame::default() }
    }

    #[test]
    fn the_newest_frame_that_is_applied_is_told_once_with_its_age() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        arrivals.arrived(&frame(1, Kind::Commit(Commit { commit_lsn: 9, end_lsn: 10 })), start);
        arrivals.arrived(&frame(2, Kind::Progress(Progress { progress_lsn: 20 })), after(5));
        arrivals.arrived(&frame(3, Kind::Row(RowChange::default())), after(6));
        arrivals.arrived(&frame(4, Kind::Commit(Commit { commit_lsn: 29, end_lsn: 30 })), after(7));
        assert_eq!(arrivals.applied(Lsn(9), after(8)), None);
        let told = |frame, held_us| Some(AppliedFrame { frame, held_us });
        assert_eq!(arrivals.applied(Lsn(25), after(8)), told(2, 3_000));
        assert_eq!(arrivals.applied(Lsn(25), after(9)), None);
        assert_eq!(arrivals.applied(Lsn(30), after(9)), told(4, 2_000));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let arrivals = Arrivals::default();
        for sequence in 0..2 * ARRIVALS_MAX as u64 {
            let progress = Kind::Progress(Progress { progress_lsn: sequence });
            arrivals.arrived(&frame(sequence, progress), Instant::now());
        }
        assert_eq!(arrivals.lock().len(), ARRIVALS_MAX);
    }

    #[test]
    fn time_without_room_counts_for_the_next_frame_alone() {
        let (mut room, start) = (Room::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        room.note(true, after(10));
        room.note(false, after(20));
        room.note(false, after(21));
        room.note(true, after(25));
        assert_eq!(room.received(after(26)), after(21));
        assert_eq!(room.received(after(27)), after(27));
    }
}
