//! The result of a precheck as a person reads it: first what keeps the task from starting, then what to think about.

use super::style::{clean, indented};
use crate::view::{PrecheckItemView, PrecheckView};

/// Where what an item says begins.
const INDENT: usize = 6;

/// `strait task precheck`.
pub(crate) fn precheck(precheck: &PrecheckView) -> String {
    let mut out = String::new();
    for (title, outcome) in [("FAILED", "failed"), ("WARNINGS", "warning"), ("PASSED", "passed")] {
        let items: Vec<_> = precheck.items.iter().filter(|item| item.outcome == outcome).collect();
        if !items.is_empty() {
            out.push_str(title);
            out.push('\n');
            out.extend(items.into_iter().map(item));
            out.push('\n');
        }
    }
    out.push_str(&precheck_summary(precheck));
    out.push('\n');
    out.push_str(next_step(precheck));
    out
}

/// How many of the items let the task start.
pub(super) fn precheck_summary(precheck: &PrecheckView) -> String {
    let warnings = if precheck.warnings == 1 { "warning" } else { "warnings" };
    let confirmed = match precheck.confirmed {
        0 => String::new(),
        confirmed => format!(" ({confirmed} confirmed)"),
    };
    format!(
        "{} %: {} passed, {} {warnings}{confirmed}, {} failed",
        precheck.success_percent, precheck.passed, precheck.warnings, precheck.failed
    )
}

fn next_step(precheck: &PrecheckView) -> &'static str {
    if precheck.failed > 0 {
        "The task cannot start yet: mend what failed and run this again."
    } else if precheck.warnings > precheck.confirmed {
        "The task can start. Confirm what you accept with --confirm ITEM or --confirm-all."
    } else {
        "The task can start."
    }
}

fn item(item: &PrecheckItemView) -> String {
    let (mark, note) = match item.outcome {
        "failed" => ("✗", ""),
        "warning" if item.confirmed => ("!", "  (confirmed)"),
        "warning" => ("!", ""),
        _ => ("✓", ""),
    };
    if item.cause.is_empty() && item.remedy.is_empty() {
        let detail = if item.detail.is_empty() { String::new() } else { format!(": {}", item.detail) };
        return indented(&format!("  {mark} "), 4, &format!("{}{detail}", item.name));
    }
    let mut out = format!("  {mark} {}{note}\n", clean(&item.name));
    out.push_str(&indented("", INDENT, &item.detail));
    out.push_str(&indented("      why", INDENT + 6, &item.cause));
    out.push_str(&indented("      do", INDENT + 6, &item.remedy));
    out
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{PrecheckItem, PrecheckOutcome};

    use super::*;

    #[test]
    fn what_keeps_the_task_from_starting_comes_first_with_what_to_do() {
        let made =
            |name: &str, outcome: PrecheckOutcome, cause: &str, remedy: &str, confirmed| PrecheckItem {
                name: name.into(),
                outcome: outcome.into(),
                detail: "measured".into(),
                cause: cause.into(),
                remedy: remedy.into(),
                confirmed,
            };
        let items = [
            made("source.version", PrecheckOutcome::Passed, "", "", false),
            made("source.slots", PrecheckOutcome::Warning, "few", "SET more;", true),
            made("source.wal_level", PrecheckOutcome::Failed, "no log", "ALTER SYSTEM …;\nrestart", false),
        ];
        let text = precheck(&PrecheckView::of(&items).unwrap());
        assert_eq!(
            text,
            "FAILED
  ✗ source.wal_level
      measured
      why   no log
      do    ALTER SYSTEM …;
            restart

WARNINGS
  ! source.slots  (confirmed)
      measured
      why   few
      do    SET more;

PASSED
  ✓ source.version: measured

66 %: 1 passed, 1 warning (1 confirmed), 1 failed
The task cannot start yet: mend what failed and run this again."
        );
    }
}
