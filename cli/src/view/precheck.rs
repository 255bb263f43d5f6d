//! The result of a precheck.

use serde::Serialize;
use strait_proto::v1::{self, PrecheckOutcome};

/// Every item, and how many of them let the task start.
#[derive(Debug, Serialize)]
pub(crate) struct PrecheckView {
    /// Percent of the items that did not fail, rounded down: a task starts only at 100.
    pub(crate) success_percent: u32,
    pub(crate) passed: usize,
    pub(crate) warnings: usize,
    /// Of the warnings.
    pub(crate) confirmed: usize,
    pub(crate) failed: usize,
    pub(crate) items: Vec<PrecheckItemView>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PrecheckItemView {
    pub(crate) name: String,
    /// passed, warning, failed.
    pub(crate) outcome: &'static str,
    /// A warning that somebody has accepted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) confirmed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) cause: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

impl PrecheckView {
    /// The result of these items; none of them: there was no precheck yet.
    pub(crate) fn of(items: &[v1::PrecheckItem]) -> Option<Self> {
        if items.is_empty() {
            return None;
        }
        let count = |outcome| items.iter().filter(|item| item.outcome() == outcome).count();
        let failed = count(PrecheckOutcome::Failed);
        let success = (items.len() - failed) * 100 / items.len();
        Some(Self {
            success_percent: u32::try_from(success).unwrap_or(0),
            passed: count(PrecheckOutcome::Passed),
            warnings: count(PrecheckOutcome::Warning),
            confirmed: items.iter().filter(|item| item.confirmed).count(),
            failed,
            items: items.iter().map(PrecheckItemView::from).collect(),
        })
    }
}

impl From<&v1::PrecheckItem> for PrecheckItemView {
    fn from(item: &v1::PrecheckItem) -> Self {
        Self {
            name: item.name.clone(),
            outcome: match item.outcome() {
                PrecheckOutcome::Unspecified => "unspecified",
                PrecheckOutcome::Passed => "passed",
                PrecheckOutcome::Warning => "warning",
                PrecheckOutcome::Failed => "failed",
            },
            confirmed: item.confirmed,
            detail: item.detail.clone(),
            cause: item.cause.clone(),
            remedy: item.remedy.clone(),
        }
    }
}
