//! Debian's packages as a source of databases that somebody else designed: unpacked, never installed, and kept beside the
//! fetched servers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::packages::{bring, locked_cache};

const UNPACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/debian.sh");

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
    let (what, directory) = (what.to_vec(), directory.to_owned());
    tokio::task::spawn_blocking(move || {
        let (cache, _lock) = locked_cache()?;
        let directory = cache.join(directory);
        if directory.exists() {
            return Ok(Some(directory));
        }
        let mut script = Command::new(UNPACK);
        script.args(&what[..2]).arg(&directory).args(&what[2..]);
        Ok(bring(&mut script)?.then_some(directory))
    })
    .await?
}
