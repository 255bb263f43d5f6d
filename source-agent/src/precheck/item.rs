//! The three outcomes of an item.

use strait_proto::v1::{self, PrecheckItem, PrecheckOutcome};

/// Names in a detail or statements in a remedy; with more, the rest is counted.
const LIST_MAX: usize = 50;

pub(crate) fn passed(name: &str, detail: impl Into<String>) -> PrecheckItem {
    item(name, PrecheckOutcome::Passed, detail.into(), String::new(), String::new())
}

pub(crate) fn warning(
    name: &str,
    detail: impl Into<String>,
    cause: impl Into<String>,
    remedy: impl Into<String>,
) -> PrecheckItem {
    item(name, PrecheckOutcome::Warning, detail.into(), cause.into(), remedy.into())
}

pub(crate) fn failed(
    name: &str,
    detail: impl Into<String>,
    cause: impl Into<String>,
    remedy: impl Into<String>,
) -> PrecheckItem {
    item(name, PrecheckOutcome::Failed, detail.into(), cause.into(), remedy.into())
}

/// Failed for a reason that is told already.
pub(crate) fn failed_by(name: &str, failure: &v1::Failure) -> PrecheckItem {
    failed(name, "", &*failure.cause, &*failure.remedy)
}

/// Lists things without end: `a, b and 17 more`.
pub(crate) fn list<T: ToString>(things: impl IntoIterator<Item = T>) -> String {
    bounded(things, ", ")
}

/// Statements, a line each.
pub(crate) fn statements<T: ToString>(statements: impl IntoIterator<Item = T>) -> String {
    bounded(statements, "\n")
}

fn bounded<T: ToString>(things: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut things = things.into_iter();
    let mut texts: Vec<String> = things.by_ref().take(LIST_MAX).map(|thing| thing.to_string()).collect();
    let rest = things.count();
    if rest > 0 {
        texts.push(format!("… and {rest} more"));
    }
    texts.join(separator)
}

fn item(name: &str, outcome: PrecheckOutcome, detail: String, cause: String, remedy: String) -> PrecheckItem {
    PrecheckItem { name: name.to_owned(), outcome: outcome.into(), detail, cause, remedy, confirmed: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_say_so() {
        assert_eq!(list(["a", "b"]), "a, b");
        assert_eq!(list(Vec::<String>::new()), "");
        assert!(list(0..60).ends_with("49, … and 10 more"));
    }
}
