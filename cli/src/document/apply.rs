//! How a document wants changes applied.

use std::ops::RangeInclusive;

use strait_proto::v1::ApplyPolicy;

use super::fields::Apply;
use super::problem::Problem;

const LANES: RangeInclusive<u32> = 1..=64;

/// The policy; 0 stands for the default, as in the request.
pub(super) fn policy(apply: Option<&Apply>, problems: &mut Vec<Problem>) -> ApplyPolicy {
    let Some(lanes) = apply.and_then(|apply| apply.lanes.as_ref()) else { return ApplyPolicy::default() };
    if !LANES.contains(&lanes.value) {
        let (least, most) = (LANES.start(), LANES.end());
        problems.push(Problem::at(
            lanes.referenced,
            format!("apply.lanes must lie between {least} and {most}, not {}", lanes.value),
        ));
    }
    ApplyPolicy { lanes: lanes.value }
}
