//! The tables that the change stream has marked: conflicts, and what is suspended, renamed or dropped.

use super::style::indented;
use super::tables::{LABEL, LISTED_MAX};
use super::units::count;
use crate::view::{TableConflictsView, TableIssueView};

/// How often changes of each table met something else than at the source.
pub(super) fn conflict_lines(tables: &[TableConflictsView]) -> String {
    let mut out = String::new();
    for (place, table) in tables.iter().take(LISTED_MAX).enumerate() {
        let mut text = format!("{}.{}: {}", table.schema, table.table, count(table.conflicts));
        if table.not_applied > 0 {
            text.push_str(&format!(", {} of them not applied", count(table.not_applied)));
        }
        out.push_str(&indented(if place == 0 { "conflicts" } else { "" }, LABEL, &text));
    }
    if tables.len() > LISTED_MAX {
        out.push_str(&indented("", LABEL, &format!("and {} more tables", tables.len() - LISTED_MAX)));
    }
    out
}

/// The tables that something is wrong with: why, and what to do.
pub(super) fn issue_lines(issues: &[TableIssueView]) -> String {
    let mut out = String::new();
    for issue in issues.iter().take(LISTED_MAX) {
        let text = format!("{}.{}: {}", issue.schema, issue.table, issue.reason);
        out.push_str(&indented(issue.state, LABEL, &text));
        if !issue.remedy.is_empty() {
            out.push_str(&indented("  what to do", LABEL, &issue.remedy));
        }
    }
    if issues.len() > LISTED_MAX {
        out.push_str(&indented("", LABEL, &format!("and {} more tables", issues.len() - LISTED_MAX)));
    }
    out
}
