//! Progress bars on a terminal: one for the whole copy and one for each table in work; a spinner for the
//! change stream. What is said once (states, events, checks) scrolls by above them.

use std::io;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::{copy_text, one_line, stream_text, text};
use crate::output::percent;
use crate::view::{CopyView, Line, ProgressLine, RateView, TableView};

/// Redraws a second.
const REDRAWS_HZ: u8 = 10;
/// Tables shown at once; more connections than that are rare, and a terminal is not tall.
const TABLES_MAX: usize = 8;
/// Bars count in thousandths, since rows and bytes are estimates.
const BAR_LENGTH: u64 = 1_000;
const BAR_WIDTH: usize = 20;
/// What is left of 80 columns beside a bar and its gaps.
const TEXT_WIDTH: usize = 80 - BAR_WIDTH - 4;

/// The bars.
pub(crate) struct Bars {
    screen: MultiProgress,
    copy: Option<ProgressBar>,
    tables: Vec<(String, ProgressBar)>,
    stream: Option<ProgressBar>,
}

impl Default for Bars {
    fn default() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(REDRAWS_HZ));
        Self { screen, copy: None, tables: Vec::new(), stream: None }
    }
}

impl Bars {
    /// Shows a line.
    pub(super) fn print(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Progress(progress) => {
                self.progress(progress);
                Ok(())
            }
            Line::State(state) => {
                match state.state {
                    "full-sync" => self.remove_stream(),
                    "incremental" => self.remove_copy(),
                    "schema-sync" | "retrying" => {}
                    _ => self.remove_all(),
                }
                self.screen.println(text(line).trim_end())
            }
            Line::Precheck(_) | Line::Event(_) => self.screen.println(text(line).trim_end()),
        }
    }

    /// Removes the bars.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.remove_all();
        self.screen.clear()
    }

    fn progress(&mut self, line: &ProgressLine) {
        match (&line.stream, &line.copy) {
            (Some(stream), _) => {
                let spinner = self.stream.get_or_insert_with(|| spinner(&self.screen));
                spinner.set_message(one_line(&stream_text(stream), 76));
            }
            (None, Some(copy)) => self.copy_progress(copy, line.rate.as_ref()),
            (None, None) => {}
        }
    }

    fn copy_progress(&mut self, copy: &CopyView, rate: Option<&RateView>) {
        let whole = self.copy.get_or_insert_with(|| bar(&self.screen));
        whole.set_position(position(copy.fraction()));
        whole.set_message(one_line(&whole_text(copy, rate), TEXT_WIDTH));

        self.tables.retain(|(name, bar)| {
            let stays = copy.tables.iter().any(|table| table.qualified_name() == *name);
            if !stays {
                bar.finish_and_clear();
                self.screen.remove(bar);
            }
            stays
        });
        for table in &copy.tables {
            self.table_progress(table);
        }
    }

    fn table_progress(&mut self, table: &TableView) {
        let name = table.qualified_name();
        let known = self.tables.iter().position(|(known, _)| *known == name);
        let index = match known {
            Some(index) => index,
            None if self.tables.len() < TABLES_MAX => {
                self.tables.push((name.clone(), bar(&self.screen)));
                self.tables.len() - 1
            }
            None => return,
        };
        let bar = &self.tables[index].1;
        bar.set_position(position(table.fraction()));
        let done = if table.state == "indexing" { "indexes".to_owned() } else { percent(table.fraction()) };
        bar.set_message(one_line(&format!("{done:>7} {name}"), TEXT_WIDTH));
    }

    fn remove_all(&mut self) {
        self.remove_copy();
        self.remove_stream();
    }

    fn remove_copy(&mut self) {
        let tables = self.tables.drain(..).map(|(_, bar)| bar);
        for bar in tables.chain(self.copy.take()) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }

    fn remove_stream(&mut self) {
        if let Some(spinner) = self.stream.take() {
            spinner.finish_and_clear();
            self.screen.remove(&spinner);
        }
    }
}

/// Two halves of what a line says do not fit beside a bar: what a person waits for comes first.
fn whole_text(copy: &CopyView, rate: Option<&RateView>) -> String {
    let text = copy_text(copy, rate);
    let Some(rate) = rate else { return text };
    let left =
        rate.seconds_left.map(|left| format!(", {} left", crate::output::duration(left))).unwrap_or_default();
    format!(
        "{}{left}, {}/s, {} rows, {}",
        percent(copy.fraction()),
        crate::output::bytes(rate.bytes_per_second),
        crate::output::count(copy.rows),
        crate::output::bytes(copy.bytes)
    )
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn position(fraction: f64) -> u64 {
    (fraction * BAR_LENGTH as f64) as u64
}

fn bar(screen: &MultiProgress) -> ProgressBar {
    let bar = screen.add(ProgressBar::new(BAR_LENGTH));
    bar.set_style(style(&format!("[{{bar:{BAR_WIDTH}}}] {{msg}}")).progress_chars("=> "));
    bar
}

fn spinner(screen: &MultiProgress) -> ProgressBar {
    let spinner = screen.add(ProgressBar::new_spinner());
    spinner.set_style(style("{spinner} {msg}"));
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

/// The style of a template, or the plain one if the template were wrong, which a test rules out.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [format!("[{{bar:{BAR_WIDTH}}}] {{msg}}"), "{spinner} {msg}".to_owned()] {
            assert!(ProgressStyle::with_template(&template).is_ok(), "{template}");
        }
    }
}
