//! What to measure, as the environment says: see the program's own heading for the variables.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use strait_tests::wait::from_environment;

use crate::copy::{Copier, LoadKind};
use crate::subject::Kind;
use crate::workload::Letter;

/// All choices.
#[derive(Debug)]
pub(crate) struct Options {
    /// How often everything is measured; results are medians.
    pub(crate) rounds: u64,
    /// The factor of every workload's size.
    pub(crate) scale: f64,
    /// How long the latency is measured, and each rate tried.
    pub(crate) seconds: u64,
    /// What is measured, in this order.
    pub(crate) workloads: Vec<Measurement>,
    /// Whose replication, in turn.
    pub(crate) subjects: Vec<Kind>,
    /// How databases are copied, in turn.
    pub(crate) copiers: Vec<Copier>,
}

/// One kind of measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measurement {
    /// A backlog is worked off.
    Drain(Letter),
    /// Commit to visible, at a moderate rate.
    Latency,
    /// The highest rate with a bounded latency.
    Rate,
    /// Many tables without rows.
    Schema,
    /// A whole database is copied.
    Copy(LoadKind),
}

impl FromStr for Measurement {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "latency" => Ok(Self::Latency),
            "rate" => Ok(Self::Rate),
            "schema" => Ok(Self::Schema),
            copy if copy.starts_with("copy-") => Ok(Self::Copy(copy.parse()?)),
            letter => Ok(Self::Drain(letter.parse()?)),
        }
    }
}

impl Options {
    /// Reads the environment.
    pub(crate) fn from_environment() -> Result<Self> {
        let scale = match std::env::var("STRAIT_BENCH_SCALE") {
            Ok(text) => text.parse().with_context(|| format!("STRAIT_BENCH_SCALE={text}"))?,
            Err(_) => 1.0,
        };
        ensure!(scale > 0.0 && scale <= 10.0, "STRAIT_BENCH_SCALE is above 0 and at most 10");
        Ok(Self {
            rounds: from_environment("STRAIT_BENCH_ROUNDS", 3).max(1),
            scale,
            seconds: from_environment("STRAIT_BENCH_SECONDS", 15).max(1),
            workloads: list(
                "STRAIT_BENCH_WORKLOADS",
                "A,B,C,D,E,latency,rate,schema,copy-pgbench,copy-wide",
            )?,
            subjects: list(
                "STRAIT_BENCH_SUBJECTS",
                "native-text,native-binary,native-streaming,native-parallel,strait",
            )?,
            copiers: list("STRAIT_BENCH_COPIERS", "pipe,dump-restore,native-sync,pgcopydb,strait")?,
        })
    }
}

fn list<T: FromStr<Err = anyhow::Error>>(variable: &str, default: &str) -> Result<Vec<T>> {
    let text = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let chosen = words.map(str::parse).collect::<Result<Vec<T>>>().with_context(|| variable.to_owned())?;
    if chosen.is_empty() {
        bail!("{variable} chooses nothing");
    }
    Ok(chosen)
}
