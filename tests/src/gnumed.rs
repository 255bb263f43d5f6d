//! A database that somebody else designed: GNUmed's, fetched and bootstrapped when a test first wants it.
//!
//! Bootstrapping takes minutes, so its dump is kept beside the fetched servers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::database::Database;
use crate::packages::{bring, cache};
use crate::server::{Server, ServerOptions};
use crate::version::PgVersion;

const BOOTSTRAP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/gnumed.sh");

/// Restores it into an empty database of a PostgreSQL 15. False, said on standard error, where it cannot be had.
pub async fn restore(database: &Database) -> Result<bool> {
    let Some(dump) = dump().await? else { return Ok(false) };
    let mut restore = Command::new(PgVersion::V15.programs().await?.join("pg_restore"));
    restore.args(["--no-owner", "--no-acl", "--exit-on-error", "--dbname", &database.uri()]).arg(&dump);
    let output = tokio::task::spawn_blocking(move || restore.output()).await??;
    ensure!(output.status.success(), "pg_restore: {}", String::from_utf8_lossy(&output.stderr));
    Ok(true)
}

/// The cached dump; made where it is missing.
async fn dump() -> Result<Option<PathBuf>> {
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("create {cache:?}"))?;
    let dump = cache.join("gnumed-22.dump");
    if dump.exists() {
        return Ok(Some(dump));
    }
    let server = Server::start(ServerOptions::new(PgVersion::V15)).await?;
    let mut bootstrap = Command::new(BOOTSTRAP);
    bootstrap.arg(&dump).env("PGHOST", "127.0.0.1").env("PGPORT", server.port().to_string());
    let there = tokio::task::spawn_blocking(move || bring(&mut bootstrap)).await??;
    Ok(there.then_some(dump))
}
