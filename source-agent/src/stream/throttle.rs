//! The operator's limit on rows and bytes a second.
//!
//! A frame leaves once the ones before it are paid for, so at most one waits here, and a frame that costs more than a second
//! allows still gets through: the next one waits longer. Under a low rate frames are packed smaller, so that they leave
//! evenly. While it waits nothing is read from the walsender; its status updates are sent elsewhere and go on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strait_proto::v1;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::frame::{FRAME_BYTES_MAX, FrameLimits};

/// What may be saved up while nothing is sent, and how much of the rate one frame holds.
const BURST: Duration = Duration::from_millis(250);
/// The most that is owed to a rate that was just set: what was sent under a higher one must not stop the stream for hours.
const DEBT_MAX: Duration = Duration::from_secs(1);
/// So long after it had to wait the stream counts as limited: it is between two waits.
const LIMITING: Duration = Duration::from_secs(2);

/// The limits of a task, which may change at any time.
#[derive(Debug)]
pub(super) struct Throttle {
    given: watch::Receiver<v1::Throttle>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows: Bucket,
    bytes: Bucket,
    waits: bool,
    waited_at: Option<Instant>,
}

/// What may be sent of one kind. Below zero: what has to be waited for.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// 0: unlimited.
    per_second: u64,
    balance: f64,
    as_of: Instant,
}

impl Throttle {
    pub(super) fn new(given: watch::Receiver<v1::Throttle>) -> Self {
        let now = Instant::now();
        let state = State { rows: Bucket::new(now), bytes: Bucket::new(now), waits: false, waited_at: None };
        Self { given, state: Mutex::new(state) }
    }

    /// The limits in force; None where nothing is limited.
    pub(super) fn limits(&self) -> Option<v1::RateLimits> {
        Some(rates(*self.given.borrow())).filter(|limits| *limits != v1::RateLimits::default())
    }

    /// How large the next frame may get.
    pub(super) fn frame_limits(&self) -> FrameLimits {
        let limits = self.limits().unwrap_or_default();
        let rows = share(limits.rows_per_second);
        FrameLimits { rows, bytes: share(limits.bytes_per_second).min(FRAME_BYTES_MAX) }
    }

    /// Waits until a frame may leave, then pays for it.
    pub(super) async fn pay(&self, rows: u64, bytes: u64) {
        let mut given = self.given.clone();
        let mut may_change = true;
        loop {
            let limits = rates(*given.borrow_and_update());
            let wait = self.lock().wait(limits, Instant::now());
            if wait.is_zero() {
                break;
            }
            tokio::select! {
                () = sleep(wait) => {}
                changed = given.changed(), if may_change => may_change = changed.is_ok(),
            }
        }
        self.lock().pay(rows, bytes, Instant::now());
    }

    /// Whether the limits are what holds the stream back.
    pub(super) fn is_limiting(&self, now: Instant) -> bool {
        self.lock().is_limiting(now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, limits: v1::RateLimits, now: Instant) -> Duration {
        let rows = self.rows.wait(limits.rows_per_second, now);
        let wait = rows.max(self.bytes.wait(limits.bytes_per_second, now));
        if self.waits || !wait.is_zero() {
            self.waited_at = Some(now);
        }
        self.waits = !wait.is_zero();
        wait
    }

    fn pay(&mut self, rows: u64, bytes: u64, now: Instant) {
        self.rows.pay(rows, now);
        self.bytes.pay(bytes, now);
    }

    fn is_limiting(&self, now: Instant) -> bool {
        self.waits || self.waited_at.is_some_and(|at| now.duration_since(at) < LIMITING)
    }
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { per_second: 0, balance: 0.0, as_of: now }
    }

    /// How long until something may be sent at this rate.
    fn wait(&mut self, per_second: u64, now: Instant) -> Duration {
        self.refill(now);
        if per_second != self.per_second {
            self.per_second = per_second;
            self.balance = self.balance.clamp(-self.of(DEBT_MAX), self.of(BURST));
        }
        if self.balance >= 0.0 || per_second == 0 {
            return Duration::ZERO;
        }
        // Rounded up, or the last fraction would be waited for again and again.
        let seconds = -self.balance / rate(per_second);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(Duration::from_micros(1))
    }

    fn pay(&mut self, amount: u64, now: Instant) {
        self.refill(now);
        if self.per_second != 0 {
            self.balance -= rate(amount);
        }
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.as_of);
        self.as_of = now;
        self.balance = (self.balance + self.of(since)).min(self.of(BURST));
    }

    fn of(&self, time: Duration) -> f64 {
        rate(self.per_second) * time.as_secs_f64()
    }
}

/// Rates and amounts lie far below what a float holds exactly.
#[allow(clippy::cast_precision_loss)]
fn rate(number: u64) -> f64 {
    number as f64
}

fn rates(throttle: v1::Throttle) -> v1::RateLimits {
    throttle.incremental.unwrap_or_default()
}

/// What one frame may hold of a rate, at least one of it; everything where that is unlimited.
fn share(per_second: u64) -> usize {
    if per_second == 0 {
        return usize::MAX;
    }
    let bursts_per_second = 1_000 / BURST.as_millis() as u64;
    usize::try_from(per_second / bursts_per_second).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn throttle(rows_per_second: u64, bytes_per_second: u64) -> v1::Throttle {
        v1::Throttle { incremental: Some(v1::RateLimits { rows_per_second, bytes_per_second }) }
    }

    /// Sends frames of this cost for so long, and returns how many left.
    fn sent(limits: (u64, u64), frame: (u64, u64), time: Duration) -> u64 {
        let begun = Instant::now();
        let mut state =
            State { rows: Bucket::new(begun), bytes: Bucket::new(begun), waits: false, waited_at: None };
        let (mut now, mut frames) = (begun, 0);
        while now - begun < time {
            let wait = state.wait(rates(throttle(limits.0, limits.1)), now);
            if wait.is_zero() {
                state.pay(frame.0, frame.1, now);
                frames += 1;
            }
            now += wait.max(Duration::from_micros(10));
        }
        frames
    }

    #[test]
    fn the_tighter_limit_counts_and_a_frame_of_any_size_gets_through() {
        let minute = Duration::from_secs(60);
        for (limits, frame, frames) in [
            ((100, 0), (10, 1 << 20), 600),
            ((0, 1_000_000), (1_000_000, 100_000), 600),
            ((100, 1_000_000), (10, 500_000), 120),
            ((1, 0), (10, 1), 6),
            ((0, 1_000), (0, 1 << 20), 1),
        ] {
            let found = sent(limits, frame, minute);
            assert!(found.abs_diff(frames) <= 1 + frames / 100, "{limits:?} {frame:?}: {found}");
        }
    }

    #[test]
    fn what_is_saved_up_is_a_burst_at_most() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(begun);
        bucket.wait(1_000, begun);
        let later = begun + Duration::from_secs(3600);
        bucket.pay(250, later);
        assert_eq!(bucket.wait(1_000, later), Duration::ZERO);
        bucket.pay(1_000, later);
        assert_eq!(bucket.wait(1_000, later), Duration::from_secs(1));
    }

    #[test]
    fn a_debt_shrinks_with_the_rate_and_goes_with_the_limit() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        bucket.wait(1_000_000, now);
        bucket.pay(3_000_000, now);
        assert_eq!(bucket.wait(1_000_000, now), Duration::from_secs(3));
        assert_eq!(bucket.wait(10, now), DEBT_MAX);
        assert_eq!(bucket.wait(0, now), Duration::ZERO);
    }

    #[test]
    fn frames_are_small_under_a_low_rate() {
        let of = |limits: v1::Throttle| {
            let (_given, limits) = watch::channel(limits);
            Throttle::new(limits).frame_limits()
        };
        let frame = |rows, bytes| FrameLimits { rows, bytes };
        assert_eq!(of(throttle(0, 0)), frame(usize::MAX, FRAME_BYTES_MAX));
        assert_eq!(of(throttle(100, 10_000)), frame(25, 2_500));
        assert_eq!(of(throttle(1, 1)), frame(1, 1));
        assert_eq!(of(throttle(0, 1 << 40)), frame(usize::MAX, FRAME_BYTES_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_obeys_a_new_limit_at_once() {
        let (given, limits) = watch::channel(throttle(1, 0));
        let limited = Arc::new(Throttle::new(limits));
        limited.pay(3600, 0).await;
        let waiting = tokio::spawn({
            let limited = Arc::clone(&limited);
            async move { limited.pay(1, 0).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished() && limited.is_limiting(Instant::now()));
        given.send_replace(v1::Throttle::default());
        waiting.await.unwrap();
        assert_eq!(limited.limits(), None);
        assert!(!limited.is_limiting(Instant::now() + LIMITING));
    }
}
