//! Everything that was measured, as JSON holds it, and the medians that people read.

use serde::Serialize;
use strait_tests::pair::Pair;

use crate::copy::{Copied, Copier, Load};
use crate::drain::Drained;
use crate::floor::Floor;
use crate::latency::Latency;
use crate::options::Options;
use crate::rate::Sustained;
use crate::schema::Synchronised;
use crate::subject::Kind;
use crate::workload::Workload;

/// All results so far.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The source's major version.
    pub(crate) source_version: u32,
    /// The destination's major version.
    pub(crate) destination_version: u32,
    /// What this machine gives to servers and agents together.
    pub(crate) cores: usize,
    /// The factor of the workloads' sizes.
    pub(crate) scale: f64,
    /// How often everything was to be measured.
    pub(crate) rounds: u64,
    /// Backlogs.
    pub(crate) backlogs: Vec<Backlog>,
    /// 500 transactions a second.
    pub(crate) latency: Vec<Results<Latency>>,
    /// The highest rate with a bounded latency.
    pub(crate) rate: Vec<Results<Sustained>>,
    /// Many tables without rows, a value a round.
    pub(crate) schema: Vec<Synchronised>,
    /// Whole databases.
    pub(crate) copies: Vec<Copy>,
}

/// The copies of one database.
#[derive(Debug, Serialize)]
pub(crate) struct Copy {
    /// `copy-pgbench` or `copy-wide`.
    pub(crate) workload: &'static str,
    /// What it is.
    pub(crate) title: String,
    /// Copier by copier.
    pub(crate) copiers: Vec<Results<Copied>>,
}

/// The results of one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Backlog {
    /// `A` to `E`.
    pub(crate) workload: &'static str,
    /// What it is.
    pub(crate) title: String,
    /// What decoding alone costs, a value a round.
    pub(crate) floor: Vec<Floor>,
    /// Subject by subject.
    pub(crate) subjects: Vec<Results<Drained>>,
}

/// What was measured of one subject.
#[derive(Debug, Serialize)]
pub(crate) struct Results<T> {
    /// Whose replication.
    pub(crate) subject: &'static str,
    /// A value a round.
    pub(crate) rounds: Vec<T>,
}

impl Report {
    /// With no results yet.
    pub(crate) fn new(pair: &Pair, options: &Options) -> Self {
        Self {
            source_version: pair.source.version().major(),
            destination_version: pair.destination.version().major(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            scale: options.scale,
            rounds: options.rounds,
            backlogs: Vec::new(),
            latency: Vec::new(),
            rate: Vec::new(),
            schema: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Where the results of a database's copies go.
    pub(crate) fn copy(&mut self, load: &Load) -> &mut Copy {
        let name = load.kind.name();
        let place = self.copies.iter().position(|copy| copy.workload == name);
        let place = place.unwrap_or_else(|| {
            self.copies.push(Copy { workload: name, title: load.title.clone(), copiers: Vec::new() });
            self.copies.len() - 1
        });
        &mut self.copies[place]
    }

    /// Where the results of a workload go.
    pub(crate) fn backlog(&mut self, workload: &Workload) -> &mut Backlog {
        let name = workload.letter.name();
        let place = self.backlogs.iter().position(|backlog| backlog.workload == name);
        let place = place.unwrap_or_else(|| {
            let title = workload.title.clone();
            self.backlogs.push(Backlog { workload: name, title, floor: Vec::new(), subjects: Vec::new() });
            self.backlogs.len() - 1
        });
        &mut self.backlogs[place]
    }
}

impl Backlog {
    /// The median of one figure of a subject.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Drained) -> f64) -> Option<f64> {
        of(&self.subjects, kind)?.median(figure)
    }

    /// How many times as long as Strait a subject takes.
    pub(crate) fn ratio(&self, kind: Kind) -> Option<f64> {
        let wall = |kind| self.median(kind, |drained| drained.wall_seconds);
        Some(wall(kind)? / wall(Kind::Strait)?)
    }

    /// The quickest native subject, and how many times as long as Strait it takes.
    pub(crate) fn best_native(&self) -> Option<(Kind, f64)> {
        let natives = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Strait);
        let ratios = natives.filter_map(|kind| Some((kind, self.ratio(kind)?)));
        ratios.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

impl Copy {
    /// The median of one figure of a copier.
    pub(crate) fn median(&self, copier: Copier, figure: impl Fn(&Copied) -> f64) -> Option<f64> {
        self.copiers.iter().find(|results| results.subject == copier.name())?.median(figure)
    }
}

impl<T> Results<T> {
    /// The median of one figure.
    pub(crate) fn median(&self, figure: impl Fn(&T) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(figure))
    }
}

/// The results of one subject, where it was measured.
pub(crate) fn of<T>(results: &[Results<T>], kind: Kind) -> Option<&Results<T>> {
    results.iter().find(|results| results.subject == kind.name())
}

/// Adds a round to a subject's results.
pub(crate) fn push<T>(results: &mut Vec<Results<T>>, kind: Kind, round: T) {
    push_named(results, kind.name(), round);
}

/// The same by name.
pub(crate) fn push_named<T>(results: &mut Vec<Results<T>>, subject: &'static str, round: T) {
    match results.iter_mut().find(|results| results.subject == subject) {
        Some(found) => found.rounds.push(round),
        None => results.push(Results { subject, rounds: vec![round] }),
    }
}

/// The middle one of some values, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
    }
}
