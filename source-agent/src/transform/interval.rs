//! PostgreSQL's `interval`: months, days and microseconds, none of which is worth a fixed number of the others.

use std::cmp::Ordering;

use super::calendar::{self, DAY, Day, HOUR, MINUTE, SECOND};

/// A value of `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(super) months: i64,
    pub(super) days: i64,
    pub(super) micros: i64,
}

impl Interval {
    /// As `IntervalStyle` postgres prints it (`1 year 2 mons -3 days 04:05:06.789`), and as people write it
    /// (`2 weeks`, `90 minutes`).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut interval = Self { months: 0, days: 0, micros: 0 };
        let mut words = text.split_whitespace().peekable();
        words.peek()?;
        while let Some(word) = words.next() {
            let (sign, amount) = signed(word);
            if amount.contains(':') {
                let micros = sign.checked_mul(calendar::parse_clock(amount)?)?;
                interval.micros = interval.micros.checked_add(micros)?;
                continue;
            }
            let unit = words.next()?;
            let unit = unit.strip_suffix('s').unwrap_or(unit);
            if matches!(unit, "second" | "sec") {
                let micros = sign.checked_mul(calendar::parse_seconds(amount)?)?;
                interval.micros = interval.micros.checked_add(micros)?;
                continue;
            }
            let amount = sign * calendar::number(amount)?;
            let (field, factor) = match unit {
                "millennium" => (&mut interval.months, 12_000),
                "century" => (&mut interval.months, 1200),
                "decade" => (&mut interval.months, 120),
                "year" => (&mut interval.months, 12),
                "month" | "mon" => (&mut interval.months, 1),
                "week" => (&mut interval.days, 7),
                "day" => (&mut interval.days, 1),
                "hour" => (&mut interval.micros, HOUR),
                "minute" | "min" => (&mut interval.micros, MINUTE),
                _ => return None,
            };
            *field = field.checked_add(amount.checked_mul(factor)?)?;
        }
        let fits = |number: i64| i32::try_from(number).is_ok();
        (fits(interval.months) && fits(interval.days)).then_some(interval)
    }

    pub(super) fn text(self) -> String {
        let mut parts: Vec<String> = Vec::new();
        // A part after a negative one shows its sign, as PostgreSQL has it.
        let mut is_before = false;
        let mut part = |amount: i64, unit: &str| {
            if amount != 0 {
                let sign = if is_before && amount > 0 { "+" } else { "" };
                let plural = if amount == 1 { "" } else { "s" };
                parts.push(format!("{sign}{amount} {unit}{plural}"));
                is_before = amount < 0;
            }
        };
        part(self.months / 12, "year");
        part(self.months % 12, "mon");
        part(self.days, "day");
        if self.micros != 0 || parts.is_empty() {
            let sign = match self.micros {
                micros if micros < 0 => "-",
                _ if is_before => "+",
                _ => "",
            };
            let mut clock = sign.to_owned();
            calendar::write_clock(&mut clock, self.micros.saturating_abs());
            parts.push(clock);
        }
        parts.join(" ")
    }

    /// None where the result cannot be held.
    pub(super) fn add(self, other: Self) -> Option<Self> {
        Some(Self {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            micros: self.micros.checked_add(other.micros)?,
        })
    }

    pub(super) fn negate(self) -> Self {
        Self { months: -self.months, days: -self.days, micros: self.micros.saturating_neg() }
    }

    /// What lies between two timestamps: whole days and the rest.
    pub(super) fn between(from: i64, to: i64) -> Option<Self> {
        let micros = to.checked_sub(from)?;
        Some(Self { months: 0, days: micros / DAY, micros: micros % DAY })
    }

    /// A timestamp, so much later; None where it cannot be held.
    pub(super) fn after(self, micros: i64) -> Option<i64> {
        if calendar::is_infinite(micros) {
            return Some(micros);
        }
        let clock = micros.rem_euclid(DAY);
        let day = Day::of_number(micros.div_euclid(DAY)).plus_months(self.months)?;
        let days = day.number().checked_add(self.days)?;
        days.checked_mul(DAY)?.checked_add(clock)?.checked_add(self.micros)
    }

    /// In microseconds, a month as 30 days: what PostgreSQL compares by.
    fn span(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY) + i128::from(self.micros)
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        self.span().cmp(&other.span())
    }

    /// In seconds and millionths, a month as 30 days and a year as 365.25, as `extract(epoch …)` has it.
    pub(super) fn epoch_micros(self) -> i128 {
        const YEAR: i128 = 31_557_600 * SECOND as i128;
        let (years, months) = (i128::from(self.months / 12), i128::from(self.months % 12));
        years * YEAR + (months * 30 + i128::from(self.days)) * i128::from(DAY) + i128::from(self.micros)
    }
}

fn signed(word: &str) -> (i64, &str) {
    match word.as_bytes().first() {
        Some(b'-') => (-1, &word[1..]),
        Some(b'+') => (1, &word[1..]),
        _ => (1, word),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_postgresql_come_back_as_they_were() {
        for text in [
            "00:00:00",
            "1 year 2 mons 3 days 04:05:06.789",
            "-1 years -2 mons +3 days -04:05:06",
            "1 day",
            "-00:00:00.000001",
            "1 mon -1 days +00:00:01",
            "838:00:00",
        ] {
            let interval = Interval::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(interval.text(), text);
        }
        assert_eq!(Interval::parse("2 weeks 90 minutes").unwrap().text(), "14 days 01:30:00");
        for wrong in ["", "1", "x days", "1 fortnight", "1 day day"] {
            assert_eq!(Interval::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_month_later_is_within_the_month() {
        let start = calendar::parse_timestamp("2024-01-31 12:00", false).unwrap();
        let later = Interval::parse("1 month").unwrap().after(start).unwrap();
        assert_eq!(calendar::timestamp_text(later, false), "2024-02-29 12:00:00");
    }

    proptest! {
        #[test]
        fn intervals_and_their_texts_go_both_ways(months: i32, days: i32, micros in -(1_i64 << 60)..(1_i64 << 60)) {
            let interval = Interval { months: months.into(), days: days.into(), micros };
            prop_assert_eq!(Interval::parse(&interval.text()), Some(interval));
        }
    }
}
