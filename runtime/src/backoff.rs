//! Pauses between attempts at something that may work later.
//!
//! Exponential with full jitter: many agents that lost the same peer must not come back in step.

use std::time::Duration;

/// The pauses of one retried operation: each is drawn evenly from zero to a ceiling that doubles with every
/// attempt.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    /// The ceiling of the first pause.
    pub const FIRST: Duration = Duration::from_millis(250);
    /// No pause is longer than this.
    pub const CAP: Duration = Duration::from_secs(30);

    /// Pauses whose ceiling starts at `first` and ends at `cap`.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, attempt: 0 }
    }

    /// Counts a failed attempt and says how long to wait before the next one.
    #[allow(clippy::should_implement_trait, reason = "it never ends, so there is no Option to return")]
    pub fn next(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(rand::random::<f64>())
    }

    /// To be called when an attempt succeeded: the next failure starts from the first pause again.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// How many attempts have failed since the last success.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The longest that the next pause can be.
    fn ceiling(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.attempt).and_then(|factor| self.first.checked_mul(factor));
        doubled.unwrap_or(self.cap).min(self.cap)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Self::FIRST, Self::CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_the_first_pause_to_the_cap() {
        let mut backoff = Backoff::default();
        for millis in [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            assert_eq!(backoff.ceiling(), Duration::from_millis(millis));
            assert!(backoff.next() <= Duration::from_millis(millis));
        }
        assert_eq!(backoff.attempt(), 9);
    }

    #[test]
    fn any_number_of_attempts_stays_at_the_cap() {
        let mut backoff = Backoff { attempt: u32::MAX, ..Backoff::default() };
        assert!(backoff.next() <= Backoff::CAP);
        assert_eq!(backoff.ceiling(), Backoff::CAP);
        assert_eq!(backoff.attempt(), u32::MAX);
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::default();
        backoff.next();
        backoff.next();
        backoff.reset();
        assert_eq!((backoff.attempt(), backoff.ceiling()), (0, Backoff::FIRST));
    }

    #[test]
    fn pauses_differ_from_each_other() {
        let draw = || Backoff { attempt: 20, ..Backoff::default() }.next();
        let first = draw();
        assert!((0..20).any(|_| draw() != first));
    }
}
