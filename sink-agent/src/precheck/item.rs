//! Answers of checks, and how they become items.

use strait_proto::v1::{Failure, PrecheckItem, PrecheckOutcome};

use crate::error::Error;

/// What a check that went through says: what was measured, and what of it is a reason to worry.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) detail: String,
    pub(super) warning: Option<Concern>,
}

/// Why it matters, and what to do.
#[derive(Debug)]
pub(super) struct Concern {
    pub(super) cause: String,
    pub(super) remedy: String,
}

/// A check that did not pass.
#[derive(Debug)]
pub(crate) struct Refusal {
    detail: String,
    concern: Concern,
}

pub(super) type Checked = Result<Answer, Refusal>;

/// Everything is as it has to be.
pub(super) fn fine(detail: impl Into<String>) -> Checked {
    Ok(Answer { detail: detail.into(), warning: None })
}

/// The task may start all the same.
pub(super) fn warning(
    detail: impl Into<String>,
    cause: impl Into<String>,
    remedy: impl Into<String>,
) -> Checked {
    let warning = Some(Concern { cause: cause.into(), remedy: remedy.into() });
    Ok(Answer { detail: detail.into(), warning })
}

/// The task must not start.
pub(super) fn failed(
    detail: impl Into<String>,
    cause: impl Into<String>,
    remedy: impl Into<String>,
) -> Checked {
    Err(Refusal { detail: detail.into(), concern: Concern { cause: cause.into(), remedy: remedy.into() } })
}

/// A check that could not be carried out has not passed.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        error.failure().into()
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let Failure { cause, remedy, .. } = failure;
        Self { detail: String::new(), concern: Concern { cause, remedy } }
    }
}

/// An item that passed.
pub(super) fn passed(name: &str, detail: impl Into<String>) -> PrecheckItem {
    answered(name, fine(detail))
}

/// The item of a check.
pub(super) fn answered(name: &str, checked: Checked) -> PrecheckItem {
    let (outcome, detail, concern) = match checked {
        Ok(Answer { detail, warning: None }) => (PrecheckOutcome::Passed, detail, None),
        Ok(Answer { detail, warning }) => (PrecheckOutcome::Warning, detail, warning),
        Err(Refusal { detail, concern }) => (PrecheckOutcome::Failed, detail, Some(concern)),
    };
    let (cause, remedy) = concern.map(|concern| (concern.cause, concern.remedy)).unwrap_or_default();
    PrecheckItem { name: name.to_owned(), outcome: outcome.into(), detail, cause, remedy, confirmed: false }
}
