//! Numbers for people.

const KIB: u64 = 1024;
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `1.5 MiB`.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < KIB {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / KIB as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= KIB as f64;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 04 h`.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A latency in microseconds: `0.8 ms`, `120 ms`, `2.3 s`.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn latency(latency_us: u64) -> String {
    match latency_us {
        0..9_950 => format!("{:.1} ms", latency_us as f64 / 1e3),
        9_950..999_500 => format!("{:.0} ms", latency_us as f64 / 1e3),
        999_500..60_000_000 => format!("{:.1} s", latency_us as f64 / 1e6),
        _ => duration(latency_us / 1_000_000),
    }
}

/// `42 %`, rounded down: 100 only for all of it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn percent(fraction: f64) -> String {
    format!("{} %", (fraction.clamp(0.0, 1.0) * 100.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(count(number), text);
        }
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 * 1024, "10 KiB"),
            (1_047_000, "1.0 MiB"),
            (1_048_576, "1.0 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (seconds, text) in [(0, "0 s"), (75, "1 min 15 s"), (7_500, "2 h 05 min"), (273_600, "3 d 04 h")]
        {
            assert_eq!(duration(seconds), text);
        }
        for (us, text) in
            [(800, "0.8 ms"), (120_000, "120 ms"), (2_300_000, "2.3 s"), (75_000_000, "1 min 15 s")]
        {
            assert_eq!(latency(us), text);
        }
        assert_eq!(percent(0.999), "99 %");
        assert_eq!(percent(1.0), "100 %");
    }
}
