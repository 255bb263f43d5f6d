//! Spans of time as people write them: `90m`, `12h`, `1h30m`, `2d`.

/// The minutes that a text names.
///
/// # Errors
/// A sentence that says what is wrong. Seconds are refused: what is measured in minutes is not rounded
/// silently.
pub(super) fn minutes(text: &str) -> Result<u64, String> {
    const FORMAT: &str = "write a number and a unit (m, h, d), such as 720m, 12h or 1h30m";
    total(text, &[("m", 1), ("min", 1), ("h", 60), ("d", 24 * 60)], FORMAT)
}

/// The milliseconds that a text names.
///
/// # Errors
/// As above.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    const FORMAT: &str = "write a number and a unit (ms, s, m, h), such as 500ms, 60s or 1m30s";
    let (second, minute) = (1000, 60_000);
    total(text, &[("ms", 1), ("s", second), ("m", minute), ("min", minute), ("h", 60 * minute)], FORMAT)
}

fn total(text: &str, units: &[(&str, u64)], format: &str) -> Result<u64, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("a duration is empty: {format}"));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a duration: {format}"))?;
        let unit = unit.trim();
        let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = factor.ok_or_else(|| match unit {
            "" => format!("{text:?} has no unit: {format}"),
            other => format!("{text:?} has an unknown unit {other:?}: {format}"),
        })?;
        total = number
            .checked_mul(factor)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("{text:?} is too long"))?;
        rest = next;
    }
    Ok(total)
}
