//! `strait-bench`: how soon and how fast changes arrive, beside PostgreSQL's own subscription in the same run.
//!
//! Two servers that write to disk as production does, the three programs as processes, everything on this machine:
//! believe the ratios. A table for people goes to standard error, JSON to standard output.
//! `STRAIT_BENCH_SECONDS` (20) and `STRAIT_BENCH_TRANSACTIONS` (100,000) say how much.

mod latency;
mod report;
mod subject;
mod throughput;

use std::io::Write;

use anyhow::Result;
use strait_tests::pair::Pair;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;

use crate::report::Report;
use crate::subject::{Kind, Subject};

#[tokio::main]
async fn main() -> Result<()> {
    let (source, destination) = PgVersion::default_pair()?;
    let pair =
        Pair::of(ServerOptions::new(source).durable(), ServerOptions::new(destination).durable()).await?;
    let mut reports = Vec::new();
    for kind in [Kind::Native, Kind::Strait] {
        let subject = Subject::start(&pair, kind).await?;
        let latency = latency::measure(&subject).await?;
        let throughput = throughput::measure(&subject).await?;
        subject.finish().await?;
        reports.push(Report { name: kind.name(), latency, throughput });
    }
    eprintln!("\n{}", report::table(&reports));
    serde_json::to_writer_pretty(std::io::stdout().lock(), &reports)?;
    writeln!(std::io::stdout())?;
    Ok(())
}
