//! Durations as people write them.

use std::time::Duration;

/// The units, in milliseconds each.
const UNITS: [(&str, f64); 5] =
    [("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0)];

/// Reads `250ms`, `5s`, `10m`, `1.5h` or `1d`, for use as a `value_parser`. A bare number is refused: a unit
/// that has to be guessed is one guessed wrong.
///
/// # Errors
/// What is allowed, in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| factor);
    factor
        .zip(number.parse::<f64>().ok())
        .and_then(|(factor, number)| Duration::try_from_secs_f64(factor * number / 1000.0).ok())
        .ok_or_else(|| "expected a number and its unit, such as 250ms, 5s, 10m, 1h or 1d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, seconds) in
            [("250ms", 0.25), ("5s", 5.0), ("10 m", 600.0), (" 1.5h", 5400.0), ("1d", 86_400.0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "s", "-1s", "1 week", "1.2.3s", "99999999999999999999999d", "١s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
