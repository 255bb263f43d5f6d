//! The retry windows of a document.

use std::ops::RangeInclusive;

use serde_saphyr::Location;
use strait_proto::v1::RetryPolicy;

use super::duration::minutes;
use super::fields::{Field, Retry};
use super::problem::Problem;

/// What counts where the document says nothing, in minutes; the coordinator's own defaults.
const CONNECTION_MINUTES_DEFAULT: u32 = 720;
/// See [`CONNECTION_MINUTES_DEFAULT`].
const OTHER_MINUTES_DEFAULT: u32 = 10;

const CONNECTION_MINUTES: RangeInclusive<u32> = 10..=1440;
const OTHER_MINUTES: RangeInclusive<u32> = 1..=1440;

/// The policy; 0 stands for the default, as in the request.
pub(super) fn policy(retry: Option<&Retry>, problems: &mut Vec<Problem>) -> RetryPolicy {
    let Some(retry) = retry else { return RetryPolicy::default() };
    let connection = window("connection", &retry.connection, CONNECTION_MINUTES, problems);
    let other = window("other", &retry.other, OTHER_MINUTES, problems);
    let place =
        retry.other.as_ref().or(retry.connection.as_ref()).map_or(Location::UNKNOWN, |f| f.referenced);
    let (connection_or_default, other_or_default) =
        (connection.unwrap_or(CONNECTION_MINUTES_DEFAULT), other.unwrap_or(OTHER_MINUTES_DEFAULT));
    if other_or_default >= connection_or_default {
        problems.push(Problem::at(
            place,
            format!(
                "retry.other ({other_or_default}m) must be smaller than \
                 retry.connection ({connection_or_default}m)"
            ),
        ));
    }
    RetryPolicy { connection_minutes: connection.unwrap_or(0), other_minutes: other.unwrap_or(0) }
}

fn window(
    name: &str,
    field: &Field<String>,
    allowed: RangeInclusive<u32>,
    problems: &mut Vec<Problem>,
) -> Option<u32> {
    let field = field.as_ref()?;
    let value = minutes(&field.value).and_then(|minutes| {
        u32::try_from(minutes).ok().filter(|minutes| allowed.contains(minutes)).ok_or_else(|| {
            format!(
                "retry.{name} must lie between {}m and {}m, not {}",
                allowed.start(),
                allowed.end(),
                field.value
            )
        })
    });
    value.map_err(|message| problems.push(Problem::at(field.referenced, message))).ok()
}
