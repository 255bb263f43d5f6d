//! Where the time between a commit at the source and its being visible at the destination goes.
//!
//! ```text
//!  emitted ──decode──► seen ──send──► sent ──network──► received ──apply──► visible ──network──► acknowledged
//!  └────────────────── this clock ───────────┘          └── the sink's clock ──┘                 └ this clock
//! ```
//!
//! Clocks of two hosts are never compared. The sink says how long it had the newest frame that it has applied; what else
//! passed between sending that frame and its acknowledgement was the network, there and back. The way of a heartbeat is
//! then known: what is left of its own time after sending is the sink's.
//!
//! A frame that has to wait holds up what is behind it: that is not read from the walsender meanwhile. So the time for which
//! the reader could not hand its frame on counts as sending, for heartbeats that were decoded already and for those that
//! were not.
//!
//! Pure: every moment is given by the caller.

use std::collections::VecDeque;
use std::time::Duration;

use strait_proto::Lsn;
use strait_proto::v1::{self, Hop};
use tokio::time::Instant;

/// Heartbeats under way that are remembered; with more, the younger ones are not measured.
pub(super) const BEATS_MAX: usize = 1024;
/// Frames under way whose sending is remembered; with more, the oldest ones are not measured.
const FRAMES_MAX: usize = 4096;

/// The heartbeats and frames under way, and what was measured of those that arrived.
#[derive(Debug, Default)]
pub(super) struct Latency {
    next: u64,
    beats: VecDeque<Beat>,
    /// Number and sending of each frame that is not acknowledged.
    frames: VecDeque<(u64, Instant)>,
    /// How long in all frames had to wait, but for the one that waits now.
    held: Duration,
    /// A frame waits since then.
    waits_since: Option<Instant>,
    /// Visible, not durable: end and when that was acknowledged.
    visible: VecDeque<(Lsn, Instant)>,
    /// Of the last heartbeat that arrived.
    total: Duration,
    /// Of the last frame that was measured, one way.
    network: Duration,
    /// Of the last heartbeat that became durable.
    durable: Duration,
    /// The slowest heartbeat since the last report.
    slowest: Option<(Duration, v1::HopLatency)>,
    reported: Option<v1::HopLatency>,
}

#[derive(Debug)]
struct Beat {
    sequence: u64,
    emitted: Instant,
    /// What [`Latency::held`] said when it was emitted; once it was seen, what it said more then.
    held: Duration,
    /// The end of its transaction and when that came.
    seen: Option<(Lsn, Instant)>,
    sent: Option<Instant>,
}

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    pub(super) applied_lsn: Lsn,
    pub(super) durable_lsn: Lsn,
    /// The newest frame of which all is applied; 0: not said.
    pub(super) frame: u64,
    /// How long the sink had it.
    pub(super) held: Duration,
}

/// What is told about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) latency: Duration,
    pub(super) hops: Option<v1::HopLatency>,
    /// A heartbeat has arrived since the last report.
    pub(super) is_new: bool,
    /// Age of the oldest heartbeat under way, and where it is.
    pub(super) oldest: Option<(Duration, Hop)>,
}

impl Latency {
    /// A heartbeat is about to be emitted; returns its number.
    pub(super) fn emitted(&mut self, now: Instant) -> u64 {
        let sequence = self.next;
        self.next += 1;
        if self.beats.len() < BEATS_MAX {
            let held = self.held(now);
            self.beats.push_back(Beat { sequence, emitted: now, held, seen: None, sent: None });
        }
        sequence
    }

    /// A heartbeat came back: its transaction ended at `end_lsn`.
    pub(super) fn seen(&mut self, sequence: u64, end_lsn: Lsn, now: Instant) {
        let held = self.held(now);
        if let Some(beat) = self.beats.iter_mut().find(|beat| beat.sequence == sequence) {
            beat.held = held.saturating_sub(beat.held);
            beat.seen = Some((end_lsn, now));
        }
    }

    /// The reader has a frame to hand on, and does nothing else until it [`moves`](Self::moves).
    pub(super) fn waits(&mut self, now: Instant) {
        self.waits_since = Some(now);
    }

    /// The reader reads on.
    pub(super) fn moves(&mut self, now: Instant) {
        self.held = self.held(now);
        self.waits_since = None;
    }

    fn held(&self, now: Instant) -> Duration {
        self.held + self.waits_since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    /// A frame is handed to the connection: everything before `position_lsn` is sent with it.
    pub(super) fn sent(&mut self, frame: u64, position_lsn: Lsn, now: Instant) {
        if self.frames.len() >= FRAMES_MAX {
            self.frames.pop_front();
        }
        self.frames.push_back((frame, now));
        for beat in self.beats.iter_mut().filter(|beat| beat.sent.is_none()) {
            match beat.seen {
                Some((end_lsn, _)) if end_lsn <= position_lsn => beat.sent = Some(now),
                _ => break,
            }
        }
    }

    /// An acknowledgement came.
    pub(super) fn acked(&mut self, acked: Acked, now: Instant) {
        if let Some(sent) = self.sending_of(acked.frame) {
            self.network = now.duration_since(sent).saturating_sub(acked.held) / 2;
        }
        while let Some(beat) = self.beats.pop_front_if(|beat| beat.has_ended(acked.applied_lsn)) {
            self.arrived(&beat, now);
        }
        while let Some((_, visible_at)) =
            self.visible.pop_front_if(|(end_lsn, _)| *end_lsn <= acked.durable_lsn)
        {
            self.durable = now.duration_since(visible_at);
        }
    }

    /// What there is to tell; the slowest heartbeat is told once.
    pub(super) fn report(&mut self, now: Instant) -> Report {
        let slowest = self.slowest.take().map(|(_, hops)| hops);
        let is_new = slowest.is_some();
        self.reported = slowest.or(self.reported);
        let hops = self.reported.map(|hops| v1::HopLatency { durable_us: micros(self.durable), ..hops });
        let waits = self.waits_since.is_some();
        let oldest = self.beats.front().map(|beat| (now.duration_since(beat.emitted), beat.hop(waits)));
        let age = oldest.map_or(Duration::ZERO, |(age, _)| age);
        // A stream that stands still must not look fast.
        Report { latency: self.total.max(age), hops, is_new, oldest }
    }

    fn sending_of(&mut self, frame: u64) -> Option<Instant> {
        while self.frames.pop_front_if(|(number, _)| *number < frame).is_some() {}
        self.frames.pop_front_if(|(number, _)| *number == frame).map(|(_, sent)| sent)
    }

    fn arrived(&mut self, beat: &Beat, now: Instant) {
        self.total = now.duration_since(beat.emitted);
        let Some((end_lsn, seen)) = beat.seen else { return };
        // What is applied was sent.
        let sent = beat.sent.unwrap_or(now);
        let after_sending = now.duration_since(sent);
        let network = self.network.min(after_sending / 2);
        let hops = v1::HopLatency {
            decode_us: micros(seen.duration_since(beat.emitted).saturating_sub(beat.held)),
            send_us: micros(sent.duration_since(seen) + beat.held),
            network_us: micros(network),
            apply_us: micros(after_sending - 2 * network),
            durable_us: 0,
        };
        if self.slowest.as_ref().is_none_or(|(slowest, _)| *slowest <= self.total) {
            self.slowest = Some((self.total, hops));
        }
        if self.visible.len() < BEATS_MAX {
            self.visible.push_back((end_lsn, now));
        }
    }
}

impl Beat {
    fn has_ended(&self, applied_lsn: Lsn) -> bool {
        self.seen.is_some_and(|(end_lsn, _)| end_lsn <= applied_lsn)
    }

    /// `waits`: the reader cannot hand a frame on.
    fn hop(&self, waits: bool) -> Hop {
        match (self.seen, self.sent) {
            (None, _) if !waits => Hop::Decode,
            (None, _) => Hop::Send,
            (Some(_), None) => Hop::Send,
            (Some(_), Some(_)) => Hop::Destination,
        }
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn acked(applied: u64, durable: u64, frame: u64, held: Duration) -> Acked {
        Acked { applied_lsn: Lsn(applied), durable_lsn: Lsn(durable), frame, held }
    }

    fn hops(report: &Report) -> [u64; 5] {
        let hops = report.hops.unwrap();
        [hops.decode_us, hops.send_us, hops.network_us, hops.apply_us, hops.durable_us].map(|us| us / 1_000)
    }

    /// The sink's clock could show any time at all: nothing of it is asked for but how long it had a frame.
    #[test]
    fn each_part_of_the_way_is_told_apart() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        let beat = latency.emitted(start);
        latency.seen(beat, Lsn(10), start + ms(3));
        latency.sent(1, Lsn(10), start + ms(10));
        // 50 ms there, 20 ms with the sink, 50 ms back.
        latency.acked(acked(10, 5, 1, ms(20)), start + ms(130));
        latency.acked(acked(10, 10, 0, ms(0)), start + ms(170));
        let report = latency.report(start + ms(200));
        assert_eq!((report.latency, report.is_new, report.oldest), (ms(130), true, None));
        assert_eq!(hops(&report), [3, 7, 50, 20, 40]);
        assert!(!latency.report(start + ms(300)).is_new, "it was told");
    }

    #[test]
    fn a_newer_frame_of_the_same_acknowledgement_tells_the_network_from_the_sink() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        let beat = latency.emitted(start);
        latency.seen(beat, Lsn(10), start);
        latency.sent(1, Lsn(10), start);
        latency.sent(2, Lsn(20), start + ms(900));
        // The second frame was with the sink for 60 ms, so 40 ms were the network's; the first one waited for long.
        latency.acked(acked(20, 20, 2, ms(60)), start + ms(1_000));
        assert_eq!(hops(&latency.report(start + ms(1_000))), [0, 0, 20, 960, 0]);
    }

    #[test]
    fn a_heartbeat_under_way_has_an_age_and_a_place() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        assert_eq!(latency.report(start).oldest, None, "idle");
        let beat = latency.emitted(start);
        let place = |latency: &mut Latency, at| latency.report(start + ms(at)).oldest;
        assert_eq!(place(&mut latency, 1), Some((ms(1), Hop::Decode)));
        latency.seen(beat, Lsn(10), start + ms(1));
        latency.sent(1, Lsn(9), start + ms(2));
        assert_eq!(place(&mut latency, 2), Some((ms(2), Hop::Send)));
        latency.sent(2, Lsn(10), start + ms(3));
        latency.acked(acked(9, 9, 1, ms(0)), start + ms(4));
        assert_eq!(place(&mut latency, 4), Some((ms(4), Hop::Destination)));
        assert_eq!(latency.report(start + ms(5_000)).latency, ms(5_000), "it does not look fast");
    }

    #[test]
    fn what_waits_behind_a_frame_waits_to_be_sent() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        latency.waits(start);
        let beat = latency.emitted(start + ms(100));
        assert_eq!(latency.report(start + ms(200)).oldest, Some((ms(100), Hop::Send)));
        latency.moves(start + ms(1_000));
        latency.seen(beat, Lsn(10), start + ms(1_005));
        latency.sent(1, Lsn(10), start + ms(1_007));
        latency.acked(acked(10, 10, 1, ms(3)), start + ms(1_010));
        assert_eq!(hops(&latency.report(start + ms(1_010))), [5, 902, 0, 3, 0]);
    }

    #[test]
    fn the_slowest_heartbeat_of_several_is_told() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        for number in 0..3_u64 {
            let beat = latency.emitted(start + ms(number * 10));
            latency.seen(beat, Lsn(10 + number), start + ms(number * 10));
            latency.sent(number + 1, Lsn(10 + number), start + ms(number * 10));
        }
        latency.acked(acked(12, 12, 3, ms(1_000)), start + ms(1_020));
        assert_eq!(hops(&latency.report(start + ms(1_020))), [0, 0, 0, 1_020, 0]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        for number in 0..10_000 {
            let beat = latency.emitted(start);
            latency.seen(beat, Lsn(number + 1), start);
            latency.sent(number + 1, Lsn(number + 1), start);
        }
        assert_eq!((latency.beats.len(), latency.frames.len()), (BEATS_MAX, FRAMES_MAX));
        latency.acked(acked(20_000, 0, 20_000, ms(0)), start);
        assert_eq!((latency.beats.len(), latency.frames.len(), latency.visible.len()), (0, 0, BEATS_MAX));
    }
}
