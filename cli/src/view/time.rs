//! Instants as text, in UTC. The proleptic Gregorian calendar is twenty lines; that is less than a
//! dependency.

use std::time::{SystemTime, UNIX_EPOCH};

const US_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// `2026-07-29T19:48:45.123456Z` for microseconds since the Unix epoch.
pub(crate) fn rfc3339(at_us: i64) -> String {
    let (date, clock) = halves(at_us);
    format!("{date}T{clock}.{:06}Z", at_us.rem_euclid(US_PER_SECOND))
}

/// `2026-07-29 19:48:45Z`, for people.
pub(crate) fn date_and_clock(at_us: i64) -> String {
    let (date, clock) = halves(at_us);
    format!("{date} {clock}Z")
}

/// `19:48:45`, for people who watch.
pub(crate) fn clock(at_us: i64) -> String {
    halves(at_us).1
}

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// Whole seconds until an instant, rounded up; 0 where it has passed.
pub(crate) fn seconds_until(at_us: i64, now_us: i64) -> u64 {
    u64::try_from(at_us.saturating_sub(now_us)).unwrap_or(0).div_ceil(1_000_000)
}

fn halves(at_us: i64) -> (String, String) {
    let seconds = at_us.div_euclid(US_PER_SECOND);
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
}

/// Year, month and day of a day counted from 1970-01-01 (H. Hinnant, "chrono-compatible low-level date
/// algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_utc_with_microseconds() {
        for (at_us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_785_354_525_123_456, "2026-07-29T19:48:45.123456Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(at_us), text);
        }
        assert_eq!(date_and_clock(1_785_354_525_123_456), "2026-07-29 19:48:45Z");
        assert_eq!(clock(1_785_354_525_123_456), "19:48:45");
    }

    #[test]
    fn a_countdown_rounds_up_and_ends_at_zero() {
        assert_eq!(seconds_until(1_500_000, 0), 2);
        assert_eq!(seconds_until(1_000_000, 1_000_000), 0);
        assert_eq!(seconds_until(0, 5), 0);
    }
}
