//! The decode floor: what it costs the source alone to decode a backlog, with nobody to send it to.
//!
//! No replication that reads the source's log through a slot is cheaper than this, wherever the changes go then.

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::version::PgVersion;

use crate::drain::write;
use crate::workload::{MARKER_TABLE, Workload};

/// One decoding of a whole backlog.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Floor {
    /// How long it took.
    pub(crate) wall_seconds: f64,
    /// CPU seconds of the source's server.
    pub(crate) source_cpu_seconds: f64,
}

/// Writes the workload behind a fresh slot, and counts what the slot has to say.
pub(crate) async fn measure(pair: &Pair, workload: &Workload) -> Result<Floor> {
    let source = Database::create(&pair.source, "bench_floor").await?;
    let slot = source.name().to_owned();
    let tables = format!("CREATE SCHEMA bench; {}; {MARKER_TABLE}", workload.tables);
    source
        .run_each(&[
            &tables,
            &workload.fill,
            "VACUUM ANALYZE",
            "CREATE PUBLICATION bench FOR ALL TABLES",
            &format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
        ])
        .await?;
    write(&source, workload).await?;
    source.run("CHECKPOINT").await?;

    let binary = if pair.source.version() >= PgVersion::V14 { ", 'binary', 'true'" } else { "" };
    let peek = format!(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('{slot}', NULL, NULL,
             'proto_version', '1', 'publication_names', 'bench'{binary})"
    );
    let cpu_before = pair.source.cpu_time()?;
    let begun = Instant::now();
    source.number(&peek).await.context("decode the backlog")?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    let source_cpu_seconds = pair.source.cpu_time()?.saturating_sub(cpu_before).as_secs_f64();

    source.run(&format!("SELECT pg_drop_replication_slot('{slot}')")).await?;
    source.remove().await;
    Ok(Floor { wall_seconds, source_cpu_seconds })
}
