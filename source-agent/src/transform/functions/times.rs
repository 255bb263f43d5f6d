//! Dates, timestamps and intervals. Those with a zone are looked at in UTC, as the sessions of the source have it.

use super::{
    Answer, DATE, DATE_TIME, Function, INTERVAL, Literal, MISMATCH, TEXT, TIMESTAMP, Takes, function,
};
use crate::transform::calendar::{self, DAY, Day, HOUR, MINUTE, SECOND, UNIX_EPOCH_DAYS};
use crate::transform::decimal::Decimal;
use crate::transform::interval::Interval;
use crate::transform::kind::Kind;
use crate::transform::value::Value;

const FIELD: Takes = Takes::Literal(Literal::Field);

/// What `extract` and `date_trunc` know; the latter not all of it.
const FIELDS: [&str; 13] = [
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "dow",
    "isodow",
    "doy",
    "month",
    "quarter",
    "year",
    "epoch",
];

pub(super) static ALL: &[Function] = &[
    function("date_trunc", &[FIELD, TIMESTAMP], Kind::Timestamp, |arguments| match arguments {
        [Value::Text(field), Value::Timestamp(micros)] => truncated(field, *micros).map(Value::Timestamp),
        _ => Err(MISMATCH),
    }),
    function("date_trunc", &[FIELD, DATE_TIME], Kind::DateTime, |arguments| match arguments {
        [Value::Text(field), Value::DateTime(micros)] => truncated(field, *micros).map(Value::DateTime),
        _ => Err(MISMATCH),
    }),
    function("date_trunc", &[FIELD, DATE], Kind::Date, |arguments| match arguments {
        [Value::Text(_), Value::Date(days)] if calendar::is_infinite(*days) => Ok(Value::Date(*days)),
        [Value::Text(field), Value::Date(days)] => {
            let micros = days.checked_mul(DAY).ok_or(OUT_OF_RANGE)?;
            Ok(Value::Date(truncated(field, micros)?.div_euclid(DAY)))
        }
        _ => Err(MISMATCH),
    }),
    function("extract", &[FIELD, TIMESTAMP], Kind::Decimal, extract),
    function("extract", &[FIELD, DATE_TIME], Kind::Decimal, extract),
    function("extract", &[FIELD, DATE], Kind::Decimal, extract),
    function("extract", &[FIELD, INTERVAL], Kind::Decimal, |arguments| match arguments {
        [Value::Text(field), Value::Interval(interval)] => of_interval(field, *interval),
        _ => Err(MISMATCH),
    }),
    function("format_time", &[TIMESTAMP, TEXT], Kind::Text, format),
    function("format_time", &[DATE_TIME, TEXT], Kind::Text, format),
    function("format_time", &[DATE, TEXT], Kind::Text, format),
];

const OUT_OF_RANGE: &str = "the timestamp is out of range";

pub(super) fn check_field(field: &str) -> Result<(), String> {
    if FIELDS.contains(&field) || field == "week" {
        return Ok(());
    }
    Err(format!("there is no field {field:?}: {}, and week for date_trunc", FIELDS.join(", ")))
}

fn truncated(field: &str, micros: i64) -> Result<i64, &'static str> {
    if calendar::is_infinite(micros) {
        return Ok(micros);
    }
    let number = micros.div_euclid(DAY);
    let day = Day::of_number(number);
    let to_unit = |unit: i64| micros - micros.rem_euclid(unit);
    let to_day = |day: Day| day.number().checked_mul(DAY).ok_or(OUT_OF_RANGE);
    Ok(match field {
        "microseconds" => micros,
        "milliseconds" => to_unit(1000),
        "second" => to_unit(SECOND),
        "minute" => to_unit(MINUTE),
        "hour" => to_unit(HOUR),
        "day" => number * DAY,
        // 2000-01-01 was a Saturday; weeks begin on Mondays.
        "week" => (number - (number + 5).rem_euclid(7)).checked_mul(DAY).ok_or(OUT_OF_RANGE)?,
        "month" => to_day(Day { day: 1, ..day })?,
        "quarter" => to_day(Day { month: (day.month - 1) / 3 * 3 + 1, day: 1, ..day })?,
        "year" => to_day(Day { month: 1, day: 1, ..day })?,
        _ => return Err("date_trunc does not know this field"),
    })
}

fn extract(arguments: &[Value]) -> Answer {
    let [Value::Text(field), value] = arguments else { return Err(MISMATCH) };
    let micros = micros_of(value)?;
    if calendar::is_infinite(micros) {
        // What grows without an end is infinite, what comes again and again is not known.
        let infinity = if micros > 0 { Decimal::Infinity } else { Decimal::NegativeInfinity };
        return Ok(if matches!(&**field, "year" | "epoch") { Value::Decimal(infinity) } else { Value::Null });
    }
    let number = micros.div_euclid(DAY);
    let (day, clock) = (Day::of_number(number), micros.rem_euclid(DAY));
    Ok(Value::Decimal(match &**field {
        "microseconds" => Decimal::of_int(clock % MINUTE),
        "milliseconds" => scaled(i128::from(clock % MINUTE), 3)?,
        "second" => scaled(i128::from(clock % MINUTE), 6)?,
        "minute" => Decimal::of_int(clock / MINUTE % 60),
        "hour" => Decimal::of_int(clock / HOUR),
        "day" => Decimal::of_int(day.day),
        "dow" => Decimal::of_int((number + 6).rem_euclid(7)),
        "isodow" => Decimal::of_int((number + 5).rem_euclid(7) + 1),
        "doy" => Decimal::of_int(number - Day { month: 1, day: 1, ..day }.number() + 1),
        "month" => Decimal::of_int(day.month),
        "quarter" => Decimal::of_int((day.month - 1) / 3 + 1),
        "year" => Decimal::of_int(if day.year > 0 { day.year } else { day.year - 1 }),
        "epoch" => scaled(i128::from(micros) + i128::from(UNIX_EPOCH_DAYS * DAY), 6)?,
        _ => return Err("extract does not know this field"),
    }))
}

fn of_interval(field: &str, interval: Interval) -> Answer {
    let micros = interval.micros;
    Ok(Value::Decimal(match field {
        "microseconds" => Decimal::of_int(micros % MINUTE),
        "milliseconds" => scaled(i128::from(micros % MINUTE), 3)?,
        "second" => scaled(i128::from(micros % MINUTE), 6)?,
        "minute" => Decimal::of_int(micros / MINUTE % 60),
        "hour" => Decimal::of_int(micros / HOUR),
        "day" => Decimal::of_int(interval.days),
        "month" => Decimal::of_int(interval.months % 12),
        "year" => Decimal::of_int(interval.months / 12),
        "epoch" => scaled(interval.epoch_micros(), 6)?,
        _ => return Err("extract does not know this field of an interval"),
    }))
}

/// A number with so many digits after the point.
fn scaled(number: i128, digits: usize) -> Result<Decimal, &'static str> {
    let power = 10_i128.pow(u32::try_from(digits).unwrap_or_default());
    let sign = if number < 0 { "-" } else { "" };
    let number = number.unsigned_abs();
    let (whole, fraction) = (number / power.unsigned_abs(), number % power.unsigned_abs());
    Decimal::parse(&format!("{sign}{whole}.{fraction:0digits$}")).ok_or(OUT_OF_RANGE)
}

fn micros_of(value: &Value) -> Result<i64, &'static str> {
    match value {
        Value::Timestamp(micros) | Value::DateTime(micros) => Ok(*micros),
        Value::Date(days) if calendar::is_infinite(*days) => Ok(*days),
        Value::Date(days) => days.checked_mul(DAY).ok_or(OUT_OF_RANGE),
        _ => Err(MISMATCH),
    }
}

/// The patterns of to_char() that mean digits; everything else stands for itself.
fn format(arguments: &[Value]) -> Answer {
    let [value, Value::Text(pattern)] = arguments else { return Err(MISMATCH) };
    let micros = micros_of(value)?;
    if calendar::is_infinite(micros) {
        return Ok(Value::Null);
    }
    let (day, clock) = (Day::of_number(micros.div_euclid(DAY)), micros.rem_euclid(DAY));
    let year = if day.year > 0 { day.year } else { 1 - day.year };
    let patterns = [
        ("YYYY", format!("{year:04}")),
        ("HH24", format!("{:02}", clock / HOUR)),
        ("YY", format!("{:02}", year % 100)),
        ("MM", format!("{:02}", day.month)),
        ("DD", format!("{:02}", day.day)),
        ("MI", format!("{:02}", clock / MINUTE % 60)),
        ("SS", format!("{:02}", clock / SECOND % 60)),
        ("MS", format!("{:03}", clock % SECOND / 1000)),
        ("US", format!("{:06}", clock % SECOND)),
    ];
    let mut text = String::new();
    let mut rest = &**pattern;
    while let Some(letter) = rest.chars().next() {
        match patterns.iter().find(|(pattern, _)| rest.starts_with(pattern)) {
            Some((pattern, digits)) => {
                text.push_str(digits);
                rest = &rest[pattern.len()..];
            }
            None => {
                text.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    Ok(Value::Text(text))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, text};
    use super::*;

    #[test]
    fn parts_of_timestamps_are_those_of_postgresql() {
        let at = Value::read("2024-05-15 13:45:59.123456", Kind::DateTime).unwrap();
        for (field, part) in [
            ("year", "2024"),
            ("quarter", "2"),
            ("month", "5"),
            ("doy", "136"),
            ("dow", "3"),
            ("isodow", "3"),
            ("hour", "13"),
            ("second", "59.123456"),
            ("milliseconds", "59123.456"),
            ("epoch", "1715780759.123456"),
        ] {
            let found = answer("extract", &[text(field), at.clone()]).unwrap();
            assert_eq!(found.text().as_deref(), Some(part), "{field}");
        }
        for (field, start) in [
            ("week", "2024-05-13 00:00:00"),
            ("quarter", "2024-04-01 00:00:00"),
            ("hour", "2024-05-15 13:00:00"),
            ("milliseconds", "2024-05-15 13:45:59.123"),
        ] {
            let found = answer("date_trunc", &[text(field), at.clone()]).unwrap();
            assert_eq!(found.text().as_deref(), Some(start), "{field}");
        }
        assert_eq!(
            answer("format_time", &[at, text("DD.MM.YYYY HH24:MI:SS.US")]),
            Ok(text("15.05.2024 13:45:59.123456"))
        );
        assert!(check_field("fortnight").is_err());
    }
}
