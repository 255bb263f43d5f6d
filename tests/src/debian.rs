//! Debian's packages as a source of databases that somebody else designed: unpacked, never installed, and kept beside the
//! fetched servers.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::cache;
use crate::wait::skipped;

const UNPACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/debian.sh");
/// The script's exit code for "not on this machine".
const UNAVAILABLE: i32 = 3;

/// The files of a package as it would install them. `None`, said on standard error, where it cannot be had.
pub async fn package(name: &'static str) -> Result<Option<PathBuf>> {
    unpack(&["binary", name], name).await
}

/// What matches a pattern (`*/src/test/regress/*`) of a source package's upstream archive, without the leading folder. `None`,
/// said on standard error, where it cannot be had.
pub async fn source(name: &'static str, pattern: &'static str) -> Result<Option<PathBuf>> {
    unpack(&["source", name, pattern], &format!("{name}-source")).await
}

async fn unpack(what: &[&'static str], directory: &str) -> Result<Option<PathBuf>> {
    let (cache, what) = (cache(), what.to_vec());
    let directory = cache.join(directory);
    tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&cache).with_context(|| format!("create {cache:?}"))?;
        let lock = File::create(cache.join(".lock")).context("open the lock of the cache")?;
        lock.lock().context("wait for the lock of the cache")?;
        if directory.exists() {
            return Ok(Some(directory));
        }
        let mut command = Command::new(UNPACK);
        command.args(&what[..2]).arg(&directory).args(&what[2..]);
        let output = command.output().context("run debian.sh")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(UNAVAILABLE) {
            skipped(said.trim());
            return Ok(None);
        }
        ensure!(output.status.success(), "unpack {}: {said}", what[1]);
        Ok(Some(directory))
    })
    .await?
}
