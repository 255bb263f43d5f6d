//! The medians as a table for people.

use crate::copy::{Copied, Copier};
use crate::drain::Drained;
use crate::floor::Floor;
use crate::latency::Latency;
use crate::meter::{Agents, Used};
use crate::rate::Sustained;
use crate::report::{self, Backlog, Copy, Report, Results, median};
use crate::schema::Synchronised;
use crate::subject::Kind;

/// All results. The last column says how many times as long as Strait a subject takes.
pub(crate) fn of(report: &Report) -> String {
    let mut text = format!(
        "PostgreSQL {} to {}, {} cores, scale {}, medians of {} rounds\n",
        report.source_version, report.destination_version, report.cores, report.scale, report.rounds
    );
    for backlog in &report.backlogs {
        text.push_str(&backlog_table(backlog));
        text.push_str(&shares(backlog, report.cores));
    }
    if !report.latency.is_empty() {
        text.push_str(&latency_table(&report.latency));
    }
    if !report.rate.is_empty() {
        text.push_str(&rate_table(&report.rate));
    }
    if !report.schema.is_empty() {
        text.push_str(&schema_table(&report.schema));
    }
    for copy in &report.copies {
        text.push_str(&copy_table(copy));
    }
    text
}

/// The last columns: how much CPU the agents use of what both servers use, and how many times as long as Strait it takes.
fn copy_table(copy: &Copy) -> String {
    let mut text = format!("\n{}: {}\n", copy.workload, copy.title);
    let heading = [
        "wall s",
        "source CPU",
        "dest. CPU",
        "others' CPU",
        "source-ag. MiB",
        "sink-ag. MiB",
        "others' %",
        "/ strait",
    ];
    line(&mut text, "", heading);
    let wall = |copier| copy.median(copier, |copied| copied.wall_seconds);
    for copier in Copier::ALL {
        let Some(seconds) = wall(copier) else { continue };
        let figure = |figure: fn(&Copied) -> f64| copy.median(copier, figure);
        let agents = |figure: fn(&Agents) -> f64| {
            copy.median(copier, |copied| copied.used.agents.as_ref().map_or(f64::NAN, figure))
        };
        line(
            &mut text,
            copier.name(),
            [
                decimals(Some(seconds)),
                decimals(figure(|copied| copied.used.source_cpu_seconds)),
                decimals(figure(|copied| copied.used.destination_cpu_seconds)),
                decimals(figure(Copied::others_cpu_seconds)),
                whole(agents(|agents| agents.source_agent_memory_mib)),
                whole(agents(|agents| agents.sink_agent_memory_mib)),
                decimals(figure(Copied::others_share_percent)),
                decimals(wall(Copier::Strait).map(|strait| seconds / strait)),
            ],
        );
    }
    text
}

fn schema_table(rounds: &[Synchronised]) -> String {
    let tables = rounds.first().map_or(0, |round| round.tables);
    let mut text = format!("\nthe schema of {tables} tables without rows\n");
    line(&mut text, "", ["wall s", "/ pg_dump"]);
    let figure = |figure: fn(&Synchronised) -> f64| median(rounds.iter().map(figure));
    let dump = figure(|round| round.dump_seconds);
    for (name, seconds) in [
        ("pg_dump | psql", dump),
        ("precheck", figure(|round| round.precheck_seconds)),
        ("schema-sync", figure(|round| round.schema_seconds)),
        ("the whole task", figure(|round| round.task_seconds)),
    ] {
        let ratio = seconds.zip(dump).map(|(seconds, dump)| seconds / dump);
        line(&mut text, name, [decimals(seconds), decimals(ratio)]);
    }
    text
}

fn backlog_table(backlog: &Backlog) -> String {
    let mut text = format!("\n{}: {}\n", backlog.workload, backlog.title);
    line(
        &mut text,
        "",
        ["wall s", "source CPU", "dest. CPU", "agents CPU", "source-ag. MiB", "sink-ag. MiB", "/ strait"],
    );
    let floor = |figure: fn(&Floor) -> f64| decimals(median(backlog.floor.iter().map(figure)));
    let none = String::new;
    line(
        &mut text,
        "decoding alone",
        [
            floor(|floor| floor.wall_seconds),
            floor(|floor| floor.source_cpu_seconds),
            none(),
            none(),
            none(),
            none(),
            none(),
        ],
    );
    for kind in Kind::ALL {
        let Some(wall) = backlog.median(kind, |drained| drained.wall_seconds) else { continue };
        let figure = |figure: fn(&Drained) -> f64| decimals(backlog.median(kind, figure));
        let agents = |figure: fn(&Agents) -> f64| {
            backlog.median(kind, |drained| drained.used.agents.as_ref().map_or(f64::NAN, figure))
        };
        line(
            &mut text,
            kind.name(),
            [
                decimals(Some(wall)),
                figure(|drained| drained.used.source_cpu_seconds),
                figure(|drained| drained.used.destination_cpu_seconds),
                decimals(agents(|agents| agents.source_agent_cpu_seconds + agents.sink_agent_cpu_seconds)),
                whole(agents(|agents| agents.source_agent_memory_mib)),
                whole(agents(|agents| agents.sink_agent_memory_mib)),
                decimals(backlog.ratio(kind)),
            ],
        );
    }
    if let Some((kind, ratio)) = backlog.best_native() {
        text.push_str(&format!(
            "  the best native ({}) takes {ratio:.2} times as long as strait\n",
            kind.name()
        ));
    }
    text
}

/// Who keeps how much of a core busy meanwhile: what is exhausted shows. Where all of them together come near the number of
/// cores, that is this machine; a server near 1 decodes, or applies, as fast as a single process can.
fn shares(backlog: &Backlog, cores: usize) -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let share = |seconds: fn(&Used) -> f64| {
            backlog.median(kind, |drained| seconds(&drained.used) / drained.wall_seconds).unwrap_or_default()
        };
        let parts = [
            ("source", share(|used| used.source_cpu_seconds)),
            ("destination", share(|used| used.destination_cpu_seconds)),
            ("source-agent", share(|used| used.of_agents(|agents| agents.source_agent_cpu_seconds))),
            ("sink-agent", share(|used| used.of_agents(|agents| agents.sink_agent_cpu_seconds))),
        ];
        let all: f64 = parts.iter().map(|(_, share)| share).sum();
        if all > 0.0 {
            let parts = parts.iter().filter(|(_, share)| *share > 0.0);
            let parts: Vec<String> = parts.map(|(name, share)| format!("{name} {share:.2}")).collect();
            let name = kind.name();
            text.push_str(&format!("  {name} keeps {all:.2} of {cores} cores busy: {}\n", parts.join(", ")));
        }
    }
    text
}

fn latency_table(results: &[Results<Latency>]) -> String {
    let mut text = "\nlatency at 500 transactions/s, commit to visible\n".to_owned();
    line(&mut text, "", ["p50 ms", "p90 ms", "p99 ms", "max ms"]);
    for subject in results {
        let ms = |figure: fn(&Latency) -> f64| decimals(subject.median(figure));
        let figures = [ms(|l| l.median_ms), ms(|l| l.p90_ms), ms(|l| l.p99_ms), ms(|l| l.max_ms)];
        line(&mut text, subject.subject, figures);
    }
    text
}

fn rate_table(results: &[Results<Sustained>]) -> String {
    let mut text = "\nhighest rate of one-row transactions with a latency below 5 s\n".to_owned();
    line(&mut text, "", ["per second", "strait /", ""]);
    let rate = |subject: &Results<Sustained>| subject.median(Sustained::figure);
    let strait = report::of(results, Kind::Strait).and_then(rate);
    for subject in results {
        let ratio = strait.zip(rate(subject)).map(|(strait, rate)| strait / rate);
        let limited = subject.rounds.iter().any(|sustained| sustained.writer_at_its_limit);
        let note = if limited { "  (the writer cannot go faster)" } else { "" };
        let figures = [whole(rate(subject)), decimals(ratio), note.to_owned()];
        line(&mut text, subject.subject, figures);
    }
    text
}

fn line<const COLUMNS: usize>(text: &mut String, name: &str, columns: [impl AsRef<str>; COLUMNS]) {
    text.push_str(&format!("  {name:<18}"));
    for column in columns {
        text.push_str(&format!("{:>15}", column.as_ref()));
    }
    text.push('\n');
}

fn decimals(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map(|value| format!("{value:.2}")).unwrap_or_default()
}

fn whole(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map(|value| format!("{value:.0}")).unwrap_or_default()
}
