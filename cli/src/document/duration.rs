//! Spans of time as people write them: `90m`, `12h`, `1h30m`, `2d`.

const FORMAT: &str = "write a number and a unit (m, h, d), such as 720m, 12h or 1h30m";

/// The minutes that a text names.
///
/// # Errors
/// A sentence that says what is wrong. Seconds are refused: what is measured in minutes is not rounded
/// silently.
pub(super) fn minutes(text: &str) -> Result<u64, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("a duration is empty: {FORMAT}"));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a duration: {FORMAT}"))?;
        let unit_minutes = match unit.trim() {
            "m" | "min" => 1,
            "h" => 60,
            "d" => 24 * 60,
            "" => return Err(format!("{text:?} has no unit: {FORMAT}")),
            other => return Err(format!("{text:?} has an unknown unit {other:?}: {FORMAT}")),
        };
        total = number
            .checked_mul(unit_minutes)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("{text:?} is too long"))?;
        rest = next;
    }
    Ok(total)
}
