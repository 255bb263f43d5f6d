//! The throttle of a document.

use serde_saphyr::Spanned;
use strait_proto::v1;

use super::fields::{Throttle, ThrottleIncremental};
use super::problem::Problem;

/// `megabytes` are those of the SI.
const MEGABYTE: f64 = 1e6;
/// Beyond it nothing is limited any more, and a number is more likely mistyped.
const RATE_MAX: f64 = 1e12;

/// The limits of the change stream; none where nothing is limited. Those of the full copy are refused elsewhere.
pub(super) fn throttle(throttle: Option<&Throttle>, problems: &mut Vec<Problem>) -> Option<v1::Throttle> {
    let ThrottleIncremental { rows_per_second, megabytes_per_second } = throttle?.incremental.as_ref()?;
    let limits = v1::RateLimits {
        rows_per_second: rate("rows_per_second", rows_per_second.as_ref(), 1.0, problems),
        bytes_per_second: rate("megabytes_per_second", megabytes_per_second.as_ref(), MEGABYTE, problems),
    };
    (limits != v1::RateLimits::default()).then_some(v1::Throttle { incremental: Some(limits) })
}

/// The rate in units of which `unit` make one of the document's; 0 where nothing is said.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rate(name: &str, field: Option<&Spanned<f64>>, unit: f64, problems: &mut Vec<Problem>) -> u64 {
    let Some(field) = field else { return 0 };
    let rate = field.value * unit;
    // Not `==`: 0.3 megabytes are not a whole number of bytes by the last bit.
    let is_whole = unit > 1.0 || field.value.fract() == 0.0;
    if is_whole && (rate == 0.0 || (1.0..=RATE_MAX).contains(&rate)) {
        return rate.round() as u64;
    }
    let expected = if unit > 1.0 { "a number from 0.000001" } else { "a whole number from 1" };
    problems.push(Problem::at(
        field.referenced,
        format!("throttle.incremental.{name} must be {expected}, or 0 for no limit, not {}", field.value),
    ));
    0
}
