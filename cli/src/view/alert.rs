//! Alerts, and what became of a test of them.

use serde::Serialize;
use strait_proto::v1;

use super::rfc3339;

/// Something about a task that somebody should look at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AlertView {
    pub(crate) task_id: String,
    pub(crate) kind: String,
    /// warning, critical.
    pub(crate) severity: &'static str,
    pub(crate) since: String,
    pub(crate) cause: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

/// One webhook, and whether it took the test.
#[derive(Debug, Serialize)]
pub(crate) struct WebhookTestView {
    pub(crate) url: String,
    pub(crate) delivered: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

impl From<&v1::Alert> for AlertView {
    fn from(alert: &v1::Alert) -> Self {
        Self {
            task_id: alert.task_id.clone(),
            kind: alert.kind.clone(),
            severity: alert.severity().name(),
            since: rfc3339(alert.since_us),
            cause: alert.cause.clone(),
            remedy: alert.remedy.clone(),
        }
    }
}

impl From<v1::WebhookTest> for WebhookTestView {
    fn from(test: v1::WebhookTest) -> Self {
        Self { url: test.url, delivered: test.error.is_empty(), error: test.error }
    }
}
