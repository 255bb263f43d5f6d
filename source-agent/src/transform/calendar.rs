//! Dates and timestamps as PostgreSQL has them: microseconds and days since 2000-01-01, the years before Christ, infinity.
//!
//! The smallest and the largest number stand for the infinities, as they do in PostgreSQL.

use std::fmt::Write as _;

/// Microseconds.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// Between 1970-01-01 and 2000-01-01.
pub(super) const UNIX_EPOCH_DAYS: i64 = 10_957;

/// A day of the proleptic Gregorian calendar; year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

impl Day {
    /// Days since 2000-01-01 (H. Hinnant, `days_from_civil`).
    pub(super) fn number(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        era * 146_097 + days - 719_468 - UNIX_EPOCH_DAYS
    }

    /// Of days since 2000-01-01.
    pub(super) fn of_number(number: i64) -> Self {
        let days = number + 719_468 + UNIX_EPOCH_DAYS;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Self { year: year + era * 400 + i64::from(month <= 2), month, day }
    }

    pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
        match month {
            2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Some months later; a day that the month does not have becomes its last one.
    pub(super) fn plus_months(self, months: i64) -> Option<Self> {
        let all = self.year.checked_mul(12)?.checked_add(self.month - 1)?.checked_add(months)?;
        let (year, month) = (all.div_euclid(12), all.rem_euclid(12) + 1);
        Some(Self { year, month, day: self.day.min(Self::days_in_month(year, month)) })
    }
}

/// `infinity` and `-infinity` as the numbers that stand for them.
fn infinity(text: &str) -> Option<i64> {
    match text {
        "infinity" => Some(i64::MAX),
        "-infinity" => Some(i64::MIN),
        _ => None,
    }
}

pub(super) fn is_infinite(number: i64) -> bool {
    number == i64::MAX || number == i64::MIN
}

fn infinity_text(number: i64) -> &'static str {
    if number > 0 { "infinity" } else { "-infinity" }
}

/// Days of `2024-02-29`, `0044-03-15 BC`, `infinity`.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(number) = infinity(text) {
        return Some(number);
    }
    let (text, is_bc) = without_era(text);
    day(text, is_bc).map(Day::number)
}

/// Microseconds of `2024-02-29 12:00:00.5`; with a zone (`+02`, `-03:30`, `Z`, none: UTC) if `zoned`, without one otherwise.
pub(super) fn parse_timestamp(text: &str, zoned: bool) -> Option<i64> {
    let text = text.trim();
    if let Some(number) = infinity(text) {
        return Some(number);
    }
    let (text, is_bc) = without_era(text);
    let (date, time) = match text.find([' ', 'T']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, "00:00"),
    };
    let days = day(date, is_bc)?.number();
    let zone_start = time.find(['+', '-', 'Z']);
    let (clock, zone) = match zone_start {
        Some(at) if zoned => (&time[..at], zone_offset(&time[at..])?),
        Some(_) => return None,
        None => (time, 0),
    };
    let micros = parse_clock(clock.trim_end())?;
    days.checked_mul(DAY)?.checked_add(micros)?.checked_sub(zone)
}

/// Microseconds of `12:34:56.789`.
pub(super) fn parse_clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) =
        (number(parts.next()?)?, number(parts.next()?)?, parts.next().unwrap_or("0"));
    let seconds = parse_seconds(seconds)?;
    if parts.next().is_some() || minutes > 59 || seconds > 60 * SECOND {
        return None;
    }
    hours.checked_mul(HOUR)?.checked_add(minutes * MINUTE + seconds)
}

/// Microseconds of `56.789`.
pub(super) fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 6 {
        return None;
    }
    let fraction = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<6}"))? };
    number(whole)?.checked_mul(SECOND)?.checked_add(fraction)
}

/// Digits alone.
pub(super) fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn without_era(text: &str) -> (&str, bool) {
    text.strip_suffix(" BC").map_or((text, false), |text| (text, true))
}

fn day(text: &str, is_bc: bool) -> Option<Day> {
    let mut parts = text.split('-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let in_range = (1..=6_000_000).contains(&year) && (1..=12).contains(&month);
    let year = if is_bc { 1 - year } else { year };
    let valid = in_range && parts.next().is_none() && (1..=Day::days_in_month(year, month)).contains(&day);
    valid.then_some(Day { year, month, day })
}

fn zone_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let offset = match rest.len() {
        2 => number(rest)?.checked_mul(HOUR)?,
        4 if !rest.contains(':') => number(&rest[..2])? * HOUR + number(&rest[2..])? * MINUTE,
        _ => parse_clock(rest)?,
    };
    Some(sign * offset)
}

pub(super) fn date_text(days: i64) -> String {
    if is_infinite(days) {
        return infinity_text(days).to_owned();
    }
    let mut text = String::new();
    let is_bc = write_day(&mut text, Day::of_number(days));
    if is_bc {
        text.push_str(" BC");
    }
    text
}

pub(super) fn timestamp_text(micros: i64, zoned: bool) -> String {
    if is_infinite(micros) {
        return infinity_text(micros).to_owned();
    }
    let mut text = String::new();
    let is_bc = write_day(&mut text, Day::of_number(micros.div_euclid(DAY)));
    text.push(' ');
    write_clock(&mut text, micros.rem_euclid(DAY));
    if zoned {
        text.push_str("+00");
    }
    if is_bc {
        text.push_str(" BC");
    }
    text
}

/// Whether it lies before Christ.
fn write_day(text: &mut String, day: Day) -> bool {
    let (year, is_bc) = if day.year > 0 { (day.year, false) } else { (1 - day.year, true) };
    // Writing to a String cannot fail.
    let _ = write!(text, "{year:04}-{:02}-{:02}", day.month, day.day);
    is_bc
}

/// `12:34:56.789`, without trailing zeros.
pub(super) fn write_clock(text: &mut String, micros: i64) {
    let (hours, minutes, seconds) = (micros / HOUR, micros / MINUTE % 60, micros / SECOND % 60);
    // As above.
    let _ = write!(text, "{hours:02}:{minutes:02}:{seconds:02}");
    let fraction = micros % SECOND;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_postgresql_come_back_as_they_were() {
        for text in [
            "2000-01-01 00:00:00+00",
            "1999-12-31 23:59:59.999999+00",
            "2024-02-29 12:00:00.5+00",
            "0044-03-15 10:00:00+00 BC",
            "0001-12-31 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "4714-11-24 00:00:00+00 BC",
            "infinity",
            "-infinity",
        ] {
            let micros = parse_timestamp(text, true).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(timestamp_text(micros, true), text);
        }
        for text in ["5874897-12-31", "4714-11-24 BC", "2024-02-29", "infinity"] {
            assert_eq!(date_text(parse_date(text).unwrap()), text);
        }
    }

    #[test]
    fn zones_are_taken_off() {
        for (text, utc) in [
            ("2024-01-01 00:00:00+02", "2023-12-31 22:00:00+00"),
            ("2024-01-01T00:00:00-03:30", "2024-01-01 03:30:00+00"),
            ("2024-01-01 12:00Z", "2024-01-01 12:00:00+00"),
            ("2024-01-01", "2024-01-01 00:00:00+00"),
        ] {
            assert_eq!(timestamp_text(parse_timestamp(text, true).unwrap(), true), utc, "{text}");
        }
        for wrong in [
            "2024-02-30",
            "2024-13-01",
            "2024-01-01 25",
            "x",
            "2024-01-01 00:61",
            "2024-01-01 00:00:00.1234567",
        ] {
            assert_eq!(parse_timestamp(wrong, true), None, "{wrong}");
        }
        assert_eq!(parse_timestamp("2024-01-01 00:00+02", false), None);
    }

    proptest! {
        #[test]
        fn days_and_their_numbers_go_both_ways(number in -2_451_507_i64..2_145_031_948) {
            prop_assert_eq!(Day::of_number(number).number(), number);
            prop_assert_eq!(parse_date(&date_text(number)), Some(number));
        }

        #[test]
        fn microseconds_and_their_texts_go_both_ways(micros in -211_813_488_000_000_000_i64..9_223_371_331_200_000_000) {
            prop_assert_eq!(parse_timestamp(&timestamp_text(micros, true), true), Some(micros));
        }
    }
}
