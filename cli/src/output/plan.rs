//! What a dry run shows a person: the request, then what would be done.

use super::style::indented;
use super::table::{Column, Table};
use super::units::{bytes, count};
use super::{clean, yaml};
use crate::view::{DryRunView, PlanView};

/// `strait task create --dry-run`.
pub(crate) fn dry_run(dry_run: &DryRunView) -> String {
    // What cannot be shown as YAML is still there with --output json.
    let request = yaml(&dry_run.request).unwrap_or_default();
    let mut out = format!("REQUEST\n{}\n\n", request.trim_end());
    match (&dry_run.plan, &dry_run.without_plan) {
        (Some(plan), _) => out.push_str(&plan_text(plan)),
        (None, reason) => {
            let reason = reason.as_deref().unwrap_or("the agents did not say");
            out.push_str(&indented("PLAN", 6, &format!("cannot be made now: {reason}")));
        }
    }
    out.push_str("\nNothing was stored or made.");
    out
}

fn plan_text(plan: &PlanView) -> String {
    let mut out =
        format!("TABLES: {}, about {} rows, {}\n", plan.tables.len(), count(plan.rows), bytes(plan.bytes));
    let mut table =
        Table::new(&[("TABLE", Column::Flexible), ("ROWS", Column::Right), ("SIZE", Column::Right)]);
    for planned in &plan.tables {
        table.row([planned.table.clone(), count(planned.rows), bytes(planned.bytes)]);
    }
    out.push_str(&table.render());
    out.push_str("\n\nOBJECTS\n");
    for object in plan.objects.iter().filter(|object| object.outcome != "created") {
        let text = format!("{} {} {}", object.kind, object.qualified_name(), object.detail);
        out.push_str(&indented(object.outcome, 9, text.trim_end()));
    }
    let created = plan.objects.iter().filter(|object| object.outcome == "created").count();
    out.push_str(&indented("created", 9, &format!("{created}, by these statements, in this order")));
    out.push_str("\nSTATEMENTS\n");
    for statement in &plan.statements {
        out.push_str(&statement_lines(statement));
    }
    out
}

/// A name could hold what moves a terminal's cursor.
fn statement_lines(statement: &str) -> String {
    let lines: Vec<String> = statement.lines().map(|line| clean(line).into_owned()).collect();
    format!("{};\n", lines.join("\n"))
}
