//! PostgreSQL's own regression database: what its developers test every kind of object with.
//!
//! The tests' SQL is run as `pg_regress` would run it, one file after the other in the schedule's order; results are not
//! compared, and what needs the tests' own library, which is not built, fails and is not there.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::database::Database;
use crate::debian;
use crate::version::{PgVersion, client_program};

/// Makes it in an empty database of a PostgreSQL 15, on a server of its own: roles are made too. False, said on standard
/// error, where its source cannot be had.
pub async fn load(database: &Database) -> Result<bool> {
    ensure!(database.server().version() == PgVersion::V15, "the tests are those of PostgreSQL 15");
    let Some(source) = debian::source("postgresql-15", "*/src/test/regress/*").await? else {
        return Ok(false);
    };
    let tests = source.join("src/test/regress");
    let results = tempfile::tempdir()?;
    let schedule = fs::read_to_string(tests.join("parallel_schedule")).context("read the schedule")?;
    let mut files = 0;
    for name in
        schedule.lines().filter_map(|line| line.strip_prefix("test: ")).flat_map(str::split_whitespace)
    {
        run(database, &tests, &tests.join(format!("sql/{name}.sql")), results.path()).await?;
        files += 1;
    }
    ensure!(files > 200, "only {files} files in the schedule");
    Ok(true)
}

async fn run(database: &Database, tests: &Path, file: &Path, results: &Path) -> Result<()> {
    let mut psql = Command::new(client_program("psql")?);
    psql.args(["--no-psqlrc", "--quiet", "--file"]).arg(file).arg(database.uri());
    psql.env("PG_ABS_SRCDIR", tests).env("PG_ABS_BUILDDIR", results);
    psql.env("PG_LIBDIR", "$libdir").env("PG_DLSUFFIX", ".so");
    psql.env("PGTZ", "PST8PDT").env("PGDATESTYLE", "Postgres, MDY");
    psql.env("PGOPTIONS", "-c intervalstyle=postgres_verbose");
    psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Its statements fail as they please; that they ran at all is seen by what is there afterwards.
    psql.status().await.with_context(|| format!("run psql on {file:?}"))?;
    Ok(())
}
