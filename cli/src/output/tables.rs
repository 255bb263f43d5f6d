//! The tables: what each command shows a person.

use super::precheck::precheck_summary;
use super::stream::{limits_text, stream_lines};
use super::style::{clean, indented};
use super::table::{Column, Table};
use super::units::{bytes, count, duration, latency, percent};
use crate::view::{
    AgentView, CopyView, EndpointView, EventView, FailureView, ObjectView, RetryView, TaskView, TokenView,
    date_and_clock, now_us, seconds_until,
};

/// How many tables and objects `show` lists; `--output json` has all of them.
pub(super) const LISTED_MAX: usize = 20;

/// Where the second column of `show` begins.
pub(super) const LABEL: usize = 14;

/// `strait task list`.
pub(crate) fn tasks(tasks: &[TaskView]) -> String {
    if tasks.is_empty() {
        return "no tasks; `strait task create FILE` makes one".to_owned();
    }
    let mut table = Table::new(&[
        ("TASK", Column::Left),
        ("NAME", Column::Flexible),
        ("STATE", Column::Left),
        ("PROGRESS", Column::Left),
        ("LATENCY", Column::Right),
    ]);
    for task in tasks {
        table.row([
            task.task_id.clone(),
            task.name.clone(),
            task.state.to_owned(),
            progress_cell(task),
            task.progress
                .stream
                .as_ref()
                .and_then(|stream| stream.latency_us)
                .map(latency)
                .unwrap_or_default(),
        ]);
    }
    table.render()
}

/// `strait token list`.
pub(crate) fn tokens(tokens: &[TokenView]) -> String {
    if tokens.is_empty() {
        return "no tokens; `strait token create NAME` makes one".to_owned();
    }
    let mut table = Table::new(&[("TOKEN", Column::Flexible), ("CREATED", Column::Left)]);
    for token in tokens {
        table.row([token.name.clone(), date_and_clock(token.created_at_us)]);
    }
    table.render()
}

/// One sentence for a command that changed a task.
pub(crate) fn task_line(task: &TaskView) -> String {
    let mut text = format!("{} ({}): {}\n", task.name, task.task_id, task.state);
    if let Some(failure) = &task.failure {
        text.push_str(&failure_lines(failure));
    }
    text
}

/// `strait task show`.
pub(crate) fn task(task: &TaskView) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| out.push_str(&indented(label, LABEL, text));
    line("task", &format!("{} ({})", task.name, task.task_id));
    line("environment", &task.spec.environment);
    if let (Some(source), Some(destination)) = (&task.spec.source, &task.spec.destination) {
        line("source", &source.to_string());
        line("destination", &destination.to_string());
    }
    line("synchronize", &task.spec.synchronize.join(", "));
    line("include", &patterns(&task.spec.objects.include, "every schema of the user"));
    line("exclude", &patterns(&task.spec.objects.exclude, ""));
    line(
        "retry",
        &format!(
            "connection {} min, other {} min",
            task.spec.retry.connection_minutes, task.spec.retry.other_minutes
        ),
    );
    if let Some(throttle) = &task.spec.throttle {
        line("throttle", &limits_text(&throttle.incremental));
    }
    line("operations", &task.spec.operations.join(", "));
    line("existing", &format!("tables that exist already: {}", task.spec.existing_tables));
    line("on error", task.spec.on_error);
    if task.spec.apply.lanes > 1 {
        line("apply", &format!("{} lanes", task.spec.apply.lanes));
    }
    let returns = task.return_to.map(|phase| format!(", returns to {phase}")).unwrap_or_default();
    line("state", &format!("{}{returns}, since {}", task.state, task.state_changed_at));
    if let Some(retry) = &task.retry {
        line("", &retry_text(retry));
    }
    if let Some(failure) = &task.failure {
        out.push_str(&failure_lines(failure));
    }
    for alert in &task.alerts {
        out.push_str(&indented("alert", LABEL, &format!("{}: {}", alert.kind, alert.cause)));
        out.push_str(&indented("", LABEL, &alert.remedy));
    }
    if let Some(copy) = &task.progress.copy {
        out.push_str(&copy_lines(copy));
    }
    if let Some(stream) = &task.progress.stream {
        out.push_str(&stream_lines(stream));
    }
    if let Some(precheck) = &task.precheck {
        out.push_str(&indented("precheck", LABEL, &precheck_summary(precheck)));
        for item in precheck.items.iter().filter(|item| item.outcome != "passed" && !item.confirmed) {
            let text = format!("{} {}: {}", item.outcome, item.name, item.cause);
            out.push_str(&indented("", LABEL, &text));
        }
    }
    out.push_str(&object_lines(task));
    out
}

/// `strait task events`.
pub(crate) fn events(events: &[EventView]) -> String {
    if events.is_empty() {
        return "no events".to_owned();
    }
    events.iter().map(|event| indented(&date_and_clock(event.at_us), 22, &event.text)).collect()
}

/// `strait agents`.
pub(crate) fn agents(agents: &[AgentView]) -> String {
    if agents.is_empty() {
        return "no agents; start strait-source-agent and strait-sink-agent".to_owned();
    }
    let mut table = Table::new(&[
        ("AGENT", Column::Flexible),
        ("ROLE", Column::Left),
        ("VERSION", Column::Left),
        ("CONNECTED", Column::Left),
        ("ENDPOINTS", Column::Flexible),
    ]);
    for agent in agents {
        let connected = if agent.connected {
            "yes".to_owned()
        } else if agent.last_seen_us == 0 {
            "no".to_owned()
        } else {
            format!("no, {} ago", duration(seconds_until(now_us(), agent.last_seen_us)))
        };
        let endpoints: Vec<&str> = agent.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        table.row([
            agent.agent.clone(),
            agent.role.to_owned(),
            agent.version.clone(),
            connected,
            endpoints.join(", "),
        ]);
    }
    table.render()
}

/// `strait endpoints`.
pub(crate) fn endpoints(endpoints: &[EndpointView]) -> String {
    if endpoints.is_empty() {
        return "no endpoints; an agent offers the databases under [endpoints.NAME] of its configuration"
            .to_owned();
    }
    let mut table = Table::new(&[
        ("AGENT", Column::Flexible),
        ("ENDPOINT", Column::Flexible),
        ("ROLE", Column::Left),
        ("DATABASE", Column::Flexible),
        ("ADDRESS", Column::Flexible),
        ("CONNECTED", Column::Left),
    ]);
    for endpoint in endpoints {
        table.row([
            endpoint.agent.clone(),
            endpoint.endpoint.clone(),
            endpoint.role.to_owned(),
            endpoint.database.clone(),
            endpoint.address.clone(),
            if endpoint.connected { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.render()
}

fn progress_cell(task: &TaskView) -> String {
    match (task.state, &task.progress.copy) {
        ("full-sync", Some(copy)) => percent(copy.fraction()),
        ("finished" | "releasing" | "released", _) => String::new(),
        (_, _) => task
            .progress
            .stream
            .as_ref()
            .map(|stream| format!("lag {}", bytes(stream.lag_bytes)))
            .or_else(|| task.progress.copy.as_ref().map(|copy| percent(copy.fraction())))
            .unwrap_or_default(),
    }
}

fn patterns(patterns: &[crate::view::PatternView], none: &str) -> String {
    if patterns.is_empty() {
        return none.to_owned();
    }
    patterns.iter().map(|pattern| pattern.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn retry_text(retry: &RetryView) -> String {
    let now = now_us();
    let mut text = format!("attempt {}", retry.attempt);
    if retry.next_attempt_us != 0 {
        text.push_str(&format!(", next in {}", duration(seconds_until(retry.next_attempt_us, now))));
    }
    if retry.until_us != 0 {
        text.push_str(&format!(", fails in {}", duration(seconds_until(retry.until_us, now))));
    }
    text
}

fn failure_lines(failure: &FailureView) -> String {
    indented("cause", LABEL, &failure.cause) + &indented("what to do", LABEL, &failure.remedy)
}

fn copy_lines(copy: &CopyView) -> String {
    let mut out = indented(
        "full copy",
        LABEL,
        &format!(
            "{} of about {} rows, {} of about {}; {} of {} tables ready",
            count(copy.rows),
            count(copy.rows_total),
            bytes(copy.bytes),
            bytes(copy.bytes_total),
            copy.tables_ready,
            copy.tables_total
        ),
    );
    let unfinished: Vec<_> = copy.tables.iter().filter(|table| table.state != "ready").collect();
    let in_work_first =
        unfinished.iter().filter(|t| t.is_in_work()).chain(unfinished.iter().filter(|t| !t.is_in_work()));
    for table in in_work_first.take(LISTED_MAX) {
        let text = format!("{:<9} {:>5}  {}", table.state, percent(table.fraction()), table.qualified_name());
        out.push_str(&indented("", LABEL, &text));
    }
    if unfinished.len() > LISTED_MAX {
        out.push_str(&indented("", LABEL, &format!("and {} more", unfinished.len() - LISTED_MAX)));
    }
    out
}

/// The counts, then what was skipped or failed: the rest needs nobody's attention.
fn object_lines(task: &TaskView) -> String {
    if task.objects.is_empty() {
        return String::new();
    }
    let counts = &task.object_counts;
    let mut out = indented(
        "objects",
        LABEL,
        &format!(
            "{} created, {} existed, {} skipped, {} failed",
            counts.created, counts.existed, counts.skipped, counts.failed
        ),
    );
    let is = |outcome| move |object: &&ObjectView| object.outcome == outcome;
    let (failed, skipped) =
        (task.objects.iter().filter(is("failed")), task.objects.iter().filter(is("skipped")));
    for object in failed.chain(skipped).take(LISTED_MAX) {
        out.push_str(&indented("", LABEL, &object_line(object)));
    }
    let hidden = (counts.failed + counts.skipped).saturating_sub(LISTED_MAX);
    if hidden > 0 {
        out.push_str(&indented("", LABEL, &format!("and {hidden} more; --output json lists all")));
    }
    out
}

fn object_line(object: &ObjectView) -> String {
    let what = [object.outcome, &object.kind, &object.qualified_name()].join(" ").trim_end().to_owned();
    if object.detail.is_empty() { what } else { format!("{what}: {}", object.detail) }
}

/// Objects that were tried again: each, and of those that failed the statement.
pub(crate) fn objects(objects: &[ObjectView]) -> String {
    if objects.is_empty() {
        return "no object has failed\n".to_owned();
    }
    let mut out = String::new();
    for object in objects {
        out.push_str(&format!("{}\n", clean(&object_line(object))));
        if object.outcome == "failed" {
            let lines = object.statement.lines().map(|line| format!("    {}\n", clean(line)));
            out.push_str(&lines.collect::<String>());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use strait_proto::v1;

    use super::super::style::WIDTH;
    use super::*;

    fn stored() -> v1::Task {
        v1::Task {
            task_id: "0123456789ab".to_owned(),
            spec: Some(v1::TaskSpec {
                name: "a-name-that-is-longer-than-its-column-in-a-list-could-show".to_owned(),
                source: Some(v1::EndpointReference {
                    agent: "eu".into(),
                    endpoint: "s".into(),
                    database: "d".into(),
                }),
                destination: Some(v1::EndpointReference {
                    agent: "us".into(),
                    endpoint: "t".into(),
                    database: "".into(),
                }),
                ..v1::TaskSpec::default()
            }),
            state: v1::TaskState::Failed.into(),
            return_to: v1::TaskState::Incremental.into(),
            failure: Some(v1::Failure {
                cause: "the connection to the server broke ".repeat(6),
                remedy: "mend the network".to_owned(),
                ..v1::Failure::default()
            }),
            progress: Some(v1::TaskProgress {
                copy: Some(v1::CopyProgress {
                    rows: 5,
                    rows_total: 10,
                    tables: (0..30)
                        .map(|number| v1::TableProgress {
                            table: Some(v1::TableName::new("public", format!("t{number}"))),
                            state: if number == 29 { "copying" } else { "waiting" }.to_owned(),
                            ..v1::TableProgress::default()
                        })
                        .collect(),
                    ..v1::CopyProgress::default()
                }),
                stream: Some(v1::StreamProgress {
                    applied_lsn: u64::MAX,
                    lag_bytes: u64::MAX,
                    latency_us: 1_000,
                    table_conflicts: vec![v1::TableConflicts {
                        table: Some(v1::TableName::new("public", "t1")),
                        conflicts: 5,
                        not_applied: 2,
                    }],
                    table_issues: vec![v1::TableIssue {
                        table: Some(v1::TableName::new("public", "t2")),
                        kind: v1::TableIssueKind::Suspended.into(),
                        reason: "the destination lacks column b".to_owned(),
                        remedy: "add it, then pause and resume the task".to_owned(),
                    }],
                    ..v1::StreamProgress::default()
                }),
            }),
            objects: vec![v1::ObjectResult {
                object_kind: "view".to_owned(),
                schema: "public".to_owned(),
                name: "v".to_owned(),
                outcome: v1::ObjectOutcome::Skipped.into(),
                detail: "views are not carried yet".to_owned(),
                statement: String::new(),
            }],
            ..v1::Task::default()
        }
    }

    #[test]
    fn every_table_fits_80_columns() {
        let view = TaskView::from(&stored());
        for text in [task(&view), tasks(&[view]), tasks(&[])] {
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
    }

    #[test]
    fn show_names_the_tables_with_conflicts_and_those_that_are_suspended() {
        let text = task(&TaskView::from(&stored()));
        assert!(text.contains("public.t1: 5, 2 of them not applied"), "{text}");
        assert!(text.contains("suspended     public.t2: the destination lacks column b"), "{text}");
        assert!(text.contains("add it, then pause and resume the task"), "{text}");
    }

    #[test]
    fn show_says_why_and_what_to_do_and_lists_the_tables_in_work_first() {
        let text = task(&TaskView::from(&stored()));
        assert!(text.contains("failed, returns to incremental"), "{text}");
        assert!(text.contains("what to do    mend the network"), "{text}");
        let position = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
        assert!(position("public.t29") < position("public.t0"));
        assert!(text.contains("and 10 more"), "{text}");
        assert!(text.contains("skipped view public.v: views are not carried yet"), "{text}");
    }
}
