//! When somebody is told of a task.

use strait_proto::v1::{AlertPolicy, TaskSpec};

use super::Problems;
use crate::alerts::WebhookUrl;

/// What a slot may keep without a word where the task does not say.
const SLOT_RETAINED_BYTES: u64 = 10 << 30;
/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

pub(super) fn normalise(given: AlertPolicy, problems: &mut Problems) -> AlertPolicy {
    const WEBHOOK: &str = "alerts.webhook";
    problems.text(WEBHOOK, &given.webhook, URL_BYTES_MAX);
    if !given.webhook.is_empty()
        && let Err(error) = given.webhook.parse::<WebhookUrl>()
    {
        problems.add(WEBHOOK, error.to_string());
    }
    filled_in(given)
}

/// A task's policy; one that was stored before there were alerts has the defaults.
pub(crate) fn alerts_of(spec: &TaskSpec) -> AlertPolicy {
    filled_in(spec.alerts.clone().unwrap_or_default())
}

fn filled_in(given: AlertPolicy) -> AlertPolicy {
    let retained = given.slot_retained_above_bytes;
    AlertPolicy {
        on_failure: Some(given.on_failure.unwrap_or(true)),
        slot_retained_above_bytes: if retained == 0 { SLOT_RETAINED_BYTES } else { retained },
        ..given
    }
}
