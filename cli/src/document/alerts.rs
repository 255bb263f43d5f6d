//! When a document wants somebody to be told.

use serde_saphyr::Spanned;
use strait_proto::v1::AlertPolicy;

use super::duration::milliseconds;
use super::fields::Alerts;
use super::problem::Problem;

/// The policy; what is left out has the coordinator's defaults. None where nothing is said.
pub(super) fn policy(alerts: Option<&Alerts>, problems: &mut Vec<Problem>) -> Option<AlertPolicy> {
    let Alerts { on_failure, latency_above, slot_retained_above, webhook } = alerts?;
    let mut read = |name: &str, field: Option<&Spanned<String>>, parse: fn(&str) -> Result<u64, String>| {
        let Some(field) = field else { return 0 };
        parse(&field.value).unwrap_or_else(|message| {
            problems.push(Problem::at(field.referenced, format!("alerts.{name}: {message}")));
            0
        })
    };
    Some(AlertPolicy {
        on_failure: on_failure.as_ref().map(|wanted| wanted.value),
        latency_above_ms: read("latency_above", latency_above.as_ref(), milliseconds),
        slot_retained_above_bytes: read("slot_retained_above", slot_retained_above.as_ref(), bytes),
        webhook: webhook.as_ref().map(|url| url.value.clone()).unwrap_or_default(),
    })
}

/// The bytes that a text names: `10GiB`, `500 MB`.
fn bytes(text: &str) -> Result<u64, String> {
    const FORMAT: &str =
        "write a whole number and a unit (kB, MB, GB, TB, KiB, MiB, GiB, TiB), such as 10GiB";
    const UNITS: [(&str, u64); 8] = [
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: Option<u64> = number.parse().ok().filter(|number| *number > 0);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
    let size = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    size.ok_or_else(|| format!("{text:?} is not a size: {FORMAT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in
            [("10GiB", Some(10 << 30)), ("500 MB", Some(500_000_000)), ("1kB", Some(1000))]
        {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
        for text in ["", "10", "GiB", "0GiB", "1.5GiB", "10 gib", "99999999999TiB"] {
            assert!(bytes(text).unwrap_err().contains("such as 10GiB"), "{text}");
        }
    }
}
