//! The other ways to copy a database, each as its users run it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use strait_tests::database::Database;
use strait_tests::debian;
use strait_tests::wait::{eventually, patience};

use super::{CONNECTIONS, Copier, Load, shell};

const SCHEMA_BEFORE_ROWS: &str = "pg_dump --section=pre-data \"$1\" | psql -XqAt -v ON_ERROR_STOP=1 \"$2\"";
const SCHEMA_AFTER_ROWS: &str = "pg_dump --section=post-data \"$1\" | psql -XqAt -v ON_ERROR_STOP=1 \"$2\"";

/// Debian's package, unpacked. None, said on standard error, where it cannot be had.
pub(super) async fn pgcopydb() -> Result<Option<PathBuf>> {
    Ok(debian::package("pgcopydb").await?.map(|package| package.join("usr/bin/pgcopydb")))
}

/// Copies everything; keys and indexes stand afterwards.
pub(super) async fn copy(
    rival: Copier,
    load: &Load,
    source: &Database,
    destination: &Database,
) -> Result<()> {
    match rival {
        Copier::Pipe => shell(&pipe(load), source, destination).await,
        Copier::DumpRestore => {
            let script =
                "pg_dump --format=custom --compress=0 \"$1\" | pg_restore --exit-on-error --dbname=\"$2\"";
            shell(script, source, destination).await
        }
        Copier::Pgcopydb => {
            let program = pgcopydb().await?.context("find pgcopydb")?;
            let program = program.display();
            let script = format!(
                "directory=$(mktemp -d); trap 'rm -rf \"$directory\"' EXIT
                 {program} clone --source \"$1\" --target \"$2\" --dir \"$directory/work\" \
                     --table-jobs {CONNECTIONS} --index-jobs {CONNECTIONS} --no-owner --no-acl >&2"
            );
            shell(&script, source, destination).await
        }
        Copier::Native => subscribe(source, destination).await,
        Copier::Strait => unreachable!("not a rival"),
    }
}

fn pipe(load: &Load) -> String {
    let mut script = format!("{SCHEMA_BEFORE_ROWS}\n");
    for table in load.tables {
        // Writing to a string does not fail.
        let _ = writeln!(
            script,
            "psql -Xqc 'COPY bench.{table} TO STDOUT' \"$1\" | psql -Xqc 'COPY bench.{table} FROM STDIN' \"$2\""
        );
    }
    script + SCHEMA_AFTER_ROWS
}

/// The rows come into tables that have their keys, as a subscription needs them; the other indexes follow.
async fn subscribe(source: &Database, destination: &Database) -> Result<()> {
    source.run("CREATE PUBLICATION bench FOR ALL TABLES").await?;
    shell(
        "pg_dump --schema-only --no-publications \"$1\" | psql -Xq -v ON_ERROR_STOP=1 \"$2\"",
        source,
        destination,
    )
    .await?;
    let (port, name) = (source.server().port(), source.name());
    let connection = format!("host=127.0.0.1 port={port} user=postgres dbname={name}");
    destination
        .run(&format!(
            "CREATE SUBSCRIPTION bench CONNECTION '{connection}' PUBLICATION bench WITH (slot_name = {name})"
        ))
        .await?;
    let copying = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
    eventually("the subscription is ready", patience() * 30, async || {
        Ok((destination.number(copying).await? == 0).then_some(()))
    })
    .await
}

/// Removes what the measurement does not count and the next copier must not meet.
pub(super) async fn clean_up(rival: Copier, source: &Database, destination: &Database) -> Result<()> {
    if rival == Copier::Native {
        destination.run_each(&["ALTER SUBSCRIPTION bench DISABLE", "DROP SUBSCRIPTION bench"]).await?;
        source.run("DROP PUBLICATION bench").await?;
    }
    Ok(())
}
