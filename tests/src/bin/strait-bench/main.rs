//! `strait-bench`: the change stream beside PostgreSQL's own subscription, on the same servers in the same run.
//!
//! Two servers that write to disk as production does, the three programs as processes, everything on this machine:
//! believe the ratios. In each round every workload is given to every subject in turn, in fresh databases. A backlog is
//! written while the replication is held; what is measured begins with the order to go on and ends when the destination
//! holds the last transaction: seconds, CPU seconds of both servers and of the agents, the agents' memory, and for
//! reference what decoding alone costs the source. A copy of a database begins with the order and ends when equal tables
//! stand with all keys and indexes.
//!
//! A table for people goes to standard error; JSON to standard output and, with a chart, to `bench/` in the
//! target directory. The environment says what is measured:
//!
//! | variable | default | |
//! |---|---|---|
//! | `STRAIT_BENCH_ROUNDS` | 3 | results are medians |
//! | `STRAIT_BENCH_SCALE` | 1.0 | factor of the workloads' sizes; 0.1 for a quick look |
//! | `STRAIT_BENCH_WORKLOADS` | `A,B,C,D,E,latency,rate,schema,copy-pgbench,copy-wide` | `schema`: 5,000 tables without rows, beside `pg_dump` and `psql`; `copy-…`: a whole database |
//! | `STRAIT_BENCH_SUBJECTS` | `native-text,native-binary,native-streaming,native-parallel,strait` | `native-parallel` needs 16 on both sides |
//! | `STRAIT_BENCH_COPIERS` | `pipe,dump-restore,native-sync,pgcopydb,strait` | who copies databases; pgcopydb is Debian's package, fetched once |
//! | `STRAIT_BENCH_SECONDS` | 15 | how long latency is measured, and each rate tried |
//! | `STRAIT_TEST_SOURCE`, `STRAIT_TEST_DESTINATION` | what is installed | the servers' major versions |

mod chart;
mod copy;
mod drain;
mod floor;
mod latency;
mod meter;
mod options;
mod rate;
mod report;
mod schema;
mod search;
mod subject;
mod table;
mod workload;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use strait_tests::pair::Pair;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;

use crate::copy::{Load, LoadKind};
use crate::options::{Measurement, Options};
use crate::report::Report;
use crate::subject::Kind;
use crate::workload::Workload;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::from_environment()?;
    let (source, destination) = PgVersion::default_pair()?;
    let pair = Pair::of(server(source), server(destination)).await?;
    let mut report = Report::new(&pair, &options);
    let measured = measure(&pair, &options, &mut report).await;
    // What was measured before a failure is worth reading too.
    publish(&report)?;
    measured
}

/// The same for everybody. Checkpoints and autovacuum would come at moments of chance: they are kept out of the runs.
fn server(version: PgVersion) -> ServerOptions {
    ServerOptions::new(version)
        .durable()
        .set("shared_buffers", "512MB")
        .set("max_wal_size", "16GB")
        .set("checkpoint_timeout", "1h")
        .set("autovacuum", "off")
        // A subscription that is enabled again starts at once, not when its last start is five seconds old.
        .set("wal_retrieve_retry_interval", "100ms")
}

async fn measure(pair: &Pair, options: &Options, report: &mut Report) -> Result<()> {
    for round in 1..=options.rounds {
        for measurement in &options.workloads {
            match measurement {
                Measurement::Drain(letter) => {
                    let workload = Workload::new(*letter, options.scale);
                    drain_by_all(pair, options, round, &workload, report).await?;
                }
                Measurement::Latency => {
                    for kind in one_native_and_strait(pair, options) {
                        let latency = latency::measure(pair, kind, options.seconds).await?;
                        eprintln!(
                            "round {round}, latency, {}: median {:.1} ms",
                            kind.name(),
                            latency.median_ms
                        );
                        report::push(&mut report.latency, kind, latency);
                    }
                }
                Measurement::Schema => {
                    let synchronised = schema::measure(pair, options.scale).await.context("schema")?;
                    eprintln!("round {round}, schema: {synchronised:?}");
                    report.schema.push(synchronised);
                }
                Measurement::Copy(kind) => copy_by_all(pair, options, round, *kind, report).await?,
                Measurement::Rate => {
                    for kind in one_native_and_strait(pair, options) {
                        let rate = rate::measure(pair, kind, options.seconds).await?;
                        eprintln!(
                            "round {round}, rate, {}: {} a second",
                            kind.name(),
                            rate.transactions_per_second
                        );
                        report::push(&mut report.rate, kind, rate);
                    }
                }
            }
        }
    }
    Ok(())
}

async fn drain_by_all(
    pair: &Pair,
    options: &Options,
    round: u64,
    workload: &Workload,
    report: &mut Report,
) -> Result<()> {
    let letter = workload.letter.name();
    let floor = floor::measure(pair, workload).await.with_context(|| format!("{letter}, decode floor"))?;
    eprintln!("round {round}, {letter}, decoding alone: {:.2} s", floor.wall_seconds);
    report.backlog(workload).floor.push(floor);
    for kind in options.subjects.iter().copied().filter(|kind| kind.exists_on(pair)) {
        let drained = drain::measure(pair, kind, workload)
            .await
            .with_context(|| format!("{letter}, {}", kind.name()))?;
        eprintln!("round {round}, {letter}, {}: {:.2} s", kind.name(), drained.wall_seconds);
        report::push(&mut report.backlog(workload).subjects, kind, drained);
    }
    Ok(())
}

async fn copy_by_all(
    pair: &Pair,
    options: &Options,
    round: u64,
    kind: LoadKind,
    report: &mut Report,
) -> Result<()> {
    let load = Load::new(kind, options.scale);
    let source = copy::prepare(pair, &load).await?;
    for copier in options.copiers.iter().copied() {
        let name = copier.name();
        let copied = copy::measure(pair, copier, &load, &source)
            .await
            .with_context(|| format!("{}, {name}", kind.name()))?;
        if let Some(copied) = copied {
            eprintln!("round {round}, {}, {name}: {:.2} s", kind.name(), copied.wall_seconds);
            report::push_named(&mut report.copy(&load).copiers, name, copied);
        }
    }
    source.remove().await;
    Ok(())
}

/// How values are written does not matter to single rows: one way of native replication is enough.
fn one_native_and_strait(pair: &Pair, options: &Options) -> Vec<Kind> {
    let chosen = |kind: &Kind| options.subjects.contains(kind) && kind.exists_on(pair);
    let native = [Kind::NativeBinary, Kind::NativeText, Kind::NativeStreaming, Kind::NativeParallel];
    native.into_iter().find(chosen).into_iter().chain([Kind::Strait].into_iter().filter(chosen)).collect()
}

fn publish(report: &Report) -> Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    let directory = target_directory()?.join("bench");
    std::fs::create_dir_all(&directory).with_context(|| format!("create {directory:?}"))?;
    eprintln!("\n{}", table::of(report));
    let name = format!("{}-to-{}", report.source_version, report.destination_version);
    for (extension, content) in [("json", &json), ("svg", &chart::of(report))] {
        let file = directory.join(&name).with_extension(extension);
        std::fs::write(&file, content).with_context(|| format!("write {file:?}"))?;
        eprintln!("{}", file.display());
    }
    Ok(writeln!(std::io::stdout(), "{json}")?)
}

/// Cargo puts the programs one directory below.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    Ok(program.ancestors().nth(2).context("find the target directory")?.to_owned())
}
