//! How fast the copy is: over a window of the last seconds, so that the number is neither jumpy nor stale.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use strait_proto::v1;

use crate::view::RateView;

const WINDOW: Duration = Duration::from_secs(15);
/// Two samples a second are enough; more would only fill memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Measures the rate of a copy from its progress.
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    rows: u64,
    bytes: u64,
}

impl RateMeter {
    /// Takes a progress in; says the rate once two lie apart.
    pub(super) fn observe(&mut self, copy: &v1::CopyProgress, at: Instant) -> Option<RateView> {
        let sample = Sample { at, rows: copy.rows, bytes: copy.bytes };
        // A table that begins again takes rows back: what was measured before says nothing about it.
        if self.samples.back().is_some_and(|last| copy.rows < last.rows) {
            self.samples.clear();
        }
        if self.samples.back().is_none_or(|last| at.duration_since(last.at) >= SAMPLE_INTERVAL) {
            self.samples.push_back(sample);
        }
        while self.samples.len() > 2 && at.duration_since(self.samples[0].at) > WINDOW {
            self.samples.pop_front();
        }
        let first = *self.samples.front()?;
        let elapsed = at.duration_since(first.at);
        if elapsed < SAMPLE_INTERVAL {
            return None;
        }
        let rows_per_second = per_second(sample.rows.saturating_sub(first.rows), elapsed);
        let bytes_per_second = per_second(sample.bytes.saturating_sub(first.bytes), elapsed);
        let left = |done: u64, total: u64, rate: u64| {
            (rate > 0 && total > 0).then(|| total.saturating_sub(done).div_ceil(rate))
        };
        let seconds_left = left(copy.rows, copy.rows_total, rows_per_second)
            .or_else(|| left(copy.bytes, copy.bytes_total, bytes_per_second));
        Some(RateView { rows_per_second, bytes_per_second, seconds_left })
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn per_second(amount: u64, elapsed: Duration) -> u64 {
    (amount as f64 / elapsed.as_secs_f64()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_says_what_is_left() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        let mut observe = |second: u64, rows: u64| {
            let copy = v1::CopyProgress { rows, bytes: rows * 10, rows_total: 10_000, ..Default::default() };
            meter.observe(&copy, start + Duration::from_secs(second))
        };
        assert_eq!(observe(0, 0), None);
        let expected = RateView { rows_per_second: 100, bytes_per_second: 1_000, seconds_left: Some(98) };
        assert_eq!(observe(2, 200), Some(expected));
        for second in 3..60 {
            observe(second, 200);
        }
        let stalled = RateView { rows_per_second: 0, bytes_per_second: 0, seconds_left: None };
        assert_eq!(observe(60, 200), Some(stalled));
        assert_eq!(observe(61, 50), None, "a table began again");
    }
}
