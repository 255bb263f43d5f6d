//! The medians as bars: an SVG image, written by hand.
//!
//! One panel a measurement, each with its own scale. Names and titles are the program's own and hold none of XML's
//! special characters.

use crate::latency::Latency;
use crate::rate::Sustained;
use crate::report::{Backlog, Report, Results, median};
use crate::subject::Kind;

const WIDTH: f64 = 860.0;
const NAME_WIDTH: f64 = 150.0;
const BAR_WIDTH_MAX: f64 = 600.0;
const BAR_HEIGHT: f64 = 18.0;
const LINE_HEIGHT: f64 = 24.0;
const PANEL_GAP: f64 = 30.0;
const MARGIN: f64 = 20.0;

const STRAIT_COLOUR: &str = "#0b7a75";
const NATIVE_COLOUR: &str = "#9aa5b1";
const FLOOR_COLOUR: &str = "#e0b252";

struct Panel {
    title: String,
    unit: &'static str,
    bars: Vec<Bar>,
}

struct Bar {
    name: &'static str,
    value: f64,
    colour: &'static str,
}

/// The whole chart.
pub(crate) fn of(report: &Report) -> String {
    let mut body = String::new();
    let mut top = MARGIN;
    let heading = format!(
        "PostgreSQL {} to {}, {} cores, scale {}, medians of {} rounds",
        report.source_version, report.destination_version, report.cores, report.scale, report.rounds
    );
    text(&mut body, MARGIN, top + 14.0, "bold", &heading);
    top += PANEL_GAP;
    for panel in panels(report) {
        top = draw(&mut body, &panel, top) + PANEL_GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn panels(report: &Report) -> Vec<Panel> {
    let mut panels: Vec<Panel> = report.backlogs.iter().map(backlog_panel).collect();
    if !report.latency.is_empty() {
        let quantile = |title: &str, figure: fn(&Latency) -> f64| Panel {
            title: format!("Latency at 500 transactions/s, {title}"),
            unit: "ms",
            bars: report.latency.iter().filter_map(|r| bar(r.subject, r.median(figure))).collect(),
        };
        panels.push(quantile("median", |latency| latency.median_ms));
        panels.push(quantile("99 of 100 below", |latency| latency.p99_ms));
    }
    if !report.rate.is_empty() {
        let rate = |r: &Results<Sustained>| bar(r.subject, r.median(Sustained::figure));
        panels.push(Panel {
            title: "Highest sustained rate of one-row transactions".to_owned(),
            unit: "/s",
            bars: report.rate.iter().filter_map(rate).collect(),
        });
    }
    panels.extend(report.copies.iter().map(|copy| Panel {
        title: format!("{}: {}", copy.workload, copy.title),
        unit: "s",
        bars: copy.copiers.iter().filter_map(|r| bar(r.subject, r.median(|run| run.wall_seconds))).collect(),
    }));
    panels
}

fn backlog_panel(backlog: &Backlog) -> Panel {
    let floor = median(backlog.floor.iter().map(|floor| floor.wall_seconds));
    let mut bars: Vec<Bar> = Vec::new();
    bars.extend(floor.map(|value| Bar { name: "decoding alone", value, colour: FLOOR_COLOUR }));
    bars.extend(backlog.subjects.iter().filter_map(|r| bar(r.subject, r.median(|run| run.wall_seconds))));
    Panel { title: format!("{}: {}", backlog.workload, backlog.title), unit: "s", bars }
}

fn bar(name: &'static str, value: Option<f64>) -> Option<Bar> {
    let colour = if name == Kind::Strait.name() { STRAIT_COLOUR } else { NATIVE_COLOUR };
    Some(Bar { name, value: value?, colour })
}

/// Answers where the panel ends.
fn draw(body: &mut String, panel: &Panel, top: f64) -> f64 {
    text(body, MARGIN, top + 14.0, "bold", &panel.title);
    let longest = panel.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut y = top + LINE_HEIGHT;
    for Bar { name, value, colour } in &panel.bars {
        let (left, width) = (MARGIN + NAME_WIDTH, value / longest * BAR_WIDTH_MAX);
        text(body, MARGIN, y + 14.0, "normal", name);
        body.push_str(&format!(
            "<rect x=\"{left}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>\n"
        ));
        let label = if *value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        text(body, left + width + 6.0, y + 14.0, "normal", &format!("{label} {}", panel.unit));
        y += LINE_HEIGHT;
    }
    y
}

fn text(body: &mut String, x: f64, y: f64, weight: &str, content: &str) {
    body.push_str(&format!("<text x=\"{x:.1}\" y=\"{y}\" font-weight=\"{weight}\">{content}</text>\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bars = [("native-text", 8.0), ("strait", 2.0)];
        let bars = bars.into_iter().filter_map(|(name, value)| bar(name, Some(value))).collect();
        let mut body = String::new();
        draw(&mut body, &Panel { title: "A".to_owned(), unit: "s", bars }, 0.0);
        assert!(body.contains(&format!("width=\"600.0\" height=\"18\" fill=\"{NATIVE_COLOUR}\"")), "{body}");
        assert!(body.contains(&format!("width=\"150.0\" height=\"18\" fill=\"{STRAIT_COLOUR}\"")), "{body}");
        assert!(body.contains("2.00 s"), "{body}");
    }
}
