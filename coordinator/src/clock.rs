//! The wall clock, as the wire and the store have it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch; 0 on a machine whose clock stands before it.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}

/// A duration as the wire and the store have it.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// How long it is until `at_us`; nothing where that is past.
pub(crate) fn until(at_us: i64) -> Duration {
    Duration::from_micros(at_us.saturating_sub(now_us()).try_into().unwrap_or(0))
}
