//! Refusals in the log: once for each address and reason, so that whoever scans a port does not fill a disk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Counter;

use crate::telemetry::names;

/// How long the same refusal is not told again.
const SILENCE: Duration = Duration::from_secs(60);
/// How many refusals are remembered; further ones are counted and not told.
const REMEMBERED_MAX: usize = 1024;
/// How much of a reason is remembered, in characters: a caller chooses some of it.
const REASON_CHARS_MAX: usize = 200;

/// What was refused lately.
#[derive(Debug)]
pub(super) struct Refusals {
    told: Mutex<HashMap<(IpAddr, String), Told>>,
    count: Counter<u64>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// Since then, untold.
    more: u64,
}

impl Default for Refusals {
    fn default() -> Self {
        let count = opentelemetry::global::meter(names::METER).u64_counter(names::METRIC_REFUSED).build();
        Self { told: Mutex::default(), count }
    }
}

impl Refusals {
    /// Counts a refusal, and logs it unless it was logged a moment ago.
    pub(super) fn tell(&self, address: IpAddr, reason: &str) {
        self.count.add(1, &[]);
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        if let Some(more) = self.note(address, &reason, Instant::now()) {
            tracing::warn!(%address, reason, not_told_before = more, "refused");
        }
    }

    /// How many were not told before this one; none: this one is not to be told either.
    fn note(&self, address: IpAddr, reason: &str, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address, reason.to_owned());
        if let Some(earlier) = told.get_mut(&key) {
            if now.duration_since(earlier.at) < SILENCE {
                earlier.more += 1;
                return None;
            }
            earlier.at = now;
            return Some(std::mem::take(&mut earlier.more));
        }
        if told.len() >= REMEMBERED_MAX {
            told.retain(|_, earlier| now.duration_since(earlier.at) < SILENCE);
        }
        if told.len() >= REMEMBERED_MAX {
            return None;
        }
        told.insert(key, Told { at: now, more: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_a_minute_with_the_number_of_those_that_were_not() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(refusals.note(address, "a", now), Some(0));
        assert_eq!(refusals.note(address, "a", now), None);
        assert_eq!(refusals.note(address, "b", now), Some(0));
        assert_eq!(refusals.note(address, "a", now + SILENCE / 2), None);
        assert_eq!(refusals.note(address, "a", now + SILENCE), Some(2));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let address = IpAddr::from([10, 0, 0, 1]);
        let told = |at| (0..2000).filter(|n| refusals.note(address, &n.to_string(), at).is_some()).count();
        assert_eq!(told(now), REMEMBERED_MAX);
        assert_eq!(refusals.note(address, "another", now + SILENCE), Some(0));
    }
}
