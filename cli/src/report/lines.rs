//! Lines of text for people, at most 80 characters wide.

use crate::output::{WIDTH, bytes, clean, count, cut, duration, indented, latency, percent};
use crate::view::{
    CopyView, Line, PrecheckItemView, ProgressLine, RateView, StateLine, StreamView, clock, now_us,
    seconds_until,
};

/// Where the text begins: after the time and the kind of line.
const INDENT: usize = 20;

/// A line as text; several where it wraps.
pub(super) fn text(line: &Line) -> String {
    match line {
        Line::State(state) => state_text(state),
        Line::Progress(progress) => progress_text(progress),
        Line::Precheck(item) => precheck_text(item),
        Line::Event(event) => labelled(event.at_us, "event", &event.text),
    }
}

/// What passed takes one line; the whole of it is in `strait task show --output json`.
fn precheck_text(item: &PrecheckItemView) -> String {
    let detail = if item.detail.is_empty() { String::new() } else { format!(": {}", item.detail) };
    let mut text = format!("{} {}{detail}", item.outcome, item.name);
    if item.outcome == "passed" {
        text = one_line(&text, WIDTH - INDENT);
    }
    labelled(now_us(), "precheck", &text)
        + &continued("why: ", &item.cause)
        + &continued("do:  ", &item.remedy)
}

fn state_text(line: &StateLine) -> String {
    let mut state = line.state.to_owned();
    if let Some(phase) = line.return_to {
        state.push_str(&format!(", returns to {phase}"));
    }
    if let Some(retry) = &line.retry {
        if retry.attempt > 0 {
            state.push_str(&format!(", attempt {}", retry.attempt));
        }
        if retry.until_us != 0 {
            let left = seconds_until(retry.until_us, line.at_us);
            state.push_str(&format!(", fails in {}", duration(left)));
        }
    }
    let mut out = labelled(line.at_us, "state", &state);
    if let Some(failure) = &line.failure {
        out.push_str(&continued("why: ", &failure.cause));
        out.push_str(&continued("do:  ", &failure.remedy));
    }
    out
}

fn progress_text(line: &ProgressLine) -> String {
    // Once changes flow, the copy is history.
    match (&line.stream, &line.copy) {
        (Some(stream), _) => labelled(line.at_us, "progress", &stream_text(stream)),
        (None, Some(copy)) => labelled(line.at_us, "progress", &copy_text(copy, line.rate.as_ref())),
        (None, None) => String::new(),
    }
}

/// `42 %, 1,200 of 3,000 rows, 12 MiB, 3 of 7 tables, 5.0 MiB/s, 2 min 05 s left`
pub(super) fn copy_text(copy: &CopyView, rate: Option<&RateView>) -> String {
    // The source has an estimate of the rows only where the table was analysed.
    let rows = if copy.rows_total == 0 {
        count(copy.rows)
    } else {
        format!("{} of {}", count(copy.rows), count(copy.rows_total.max(copy.rows)))
    };
    let mut text = format!(
        "{}, {rows} rows, {}, {} of {} tables",
        percent(copy.fraction()),
        bytes(copy.bytes),
        copy.tables_ready,
        copy.tables_total
    );
    if let Some(rate) = rate {
        text.push_str(&format!(", {}/s", bytes(rate.bytes_per_second)));
        if let Some(left) = rate.seconds_left {
            text.push_str(&format!(", {} left", duration(left)));
        }
    }
    text
}

/// `latency 12 ms, 0 B behind, 1,204 transactions, 3 conflicts`
pub(super) fn stream_text(stream: &StreamView) -> String {
    let measured = stream.latency_us.map(|us| format!("latency {}, ", latency(us))).unwrap_or_default();
    let mut text =
        format!("{measured}{} behind, {} transactions", bytes(stream.lag_bytes), count(stream.transactions));
    if stream.conflicts > 0 {
        text.push_str(&format!(", {} conflicts", count(stream.conflicts)));
    }
    if stream.throttled {
        text.push_str(", throttled");
    }
    text
}

/// One line that is never wrapped, for places that hold exactly one.
pub(super) fn one_line(text: &str, width: usize) -> String {
    cut(&clean(text), width)
}

fn labelled(at_us: i64, label: &str, text: &str) -> String {
    indented(&format!("{}  {label}", clock(at_us)), INDENT, text)
}

fn continued(label: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { indented("", INDENT, &format!("{label}{text}")) }
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{self, TaskState};

    use super::*;

    #[test]
    fn lines_carry_time_kind_and_text_within_80_columns() {
        let mut task = v1::Task { state_changed_at_us: 1_000_000, attempt: 2, ..v1::Task::default() };
        task.set_state(TaskState::Retrying);
        task.set_return_to(TaskState::FullSync);
        task.retry_until_us = 601_000_000;
        task.failure =
            Some(v1::Failure { cause: "the connection broke ".repeat(8), ..v1::Failure::default() });
        let text = text(&Line::State(StateLine::of(&task)));
        assert!(
            text.starts_with(concat!(
                "00:00:01  state     retrying, returns to full-sync, attempt 2, fails in 10 min\n",
                "                    00 s\n"
            )),
            "{text}"
        );
        assert!(text.contains("\n                    why: the connection broke"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn progress_is_that_of_the_phase() {
        let copy = CopyView::from(&v1::CopyProgress {
            rows: 1_200,
            rows_total: 3_000,
            bytes: 2048,
            ..v1::CopyProgress::default()
        });
        let rate = RateView { rows_per_second: 1, bytes_per_second: 1024, seconds_left: Some(125) };
        assert_eq!(
            copy_text(&copy, Some(&rate)),
            "40 %, 1,200 of 3,000 rows, 2.0 KiB, 0 of 0 tables, 1.0 KiB/s, 2 min 05 s left"
        );
        let stream = StreamView::from(&v1::StreamProgress {
            latency_us: 12_000,
            transactions: 1_204,
            conflicts: 3,
            ..v1::StreamProgress::default()
        });
        assert_eq!(stream_text(&stream), "latency 12 ms, 0 B behind, 1,204 transactions, 3 conflicts");
    }
}
