//! Creates schema `strait`, once, whoever comes first, and brings an older one up to date.

use std::borrow::Cow;

use strait_postgres::{Client, Dialect};

use super::{BEGIN, in_transaction};
use crate::error::{Context as _, Error};

/// Where everything of Strait lives at the destination.
pub(crate) const SCHEMA: &str = "strait";

/// The first layout, then what each later version changes: a new schema and an upgraded one are the same.
const LAYOUTS: [&str; 6] = [
    include_str!("layout.sql"),
    include_str!("layout/2.sql"),
    include_str!("layout/3.sql"),
    include_str!("layout/4.sql"),
    include_str!("layout/5.sql"),
    include_str!("layout/6.sql"),
];

/// The newest layout, which this program works with.
const VERSION: i32 = LAYOUTS.len() as i32;

/// Serialises creation and removal of the schema: two tasks may start at once in one database.
pub(super) const LAYOUT_LOCK_SQL: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7453010361412153460)";

/// The heartbeat's table stands where the same database is the source of another task.
const STATE_SQL: &str = "SELECT to_regnamespace('strait') IS NOT NULL,
       to_regclass('strait.layout') IS NOT NULL,
       EXISTS (SELECT FROM pg_class
                WHERE relnamespace = to_regnamespace('strait') AND relname NOT IN ('heartbeat', 'heartbeat_pkey'))";

/// Creates the schema where it is missing and upgrades an older one; refuses one that is not Strait's, or newer
/// than this program.
pub(crate) async fn ensure_layout(client: &Client) -> Result<(), Error> {
    if layout_version(client).await? == Some(VERSION) {
        return Ok(());
    }
    let begin = format!("{BEGIN}; {LAYOUT_LOCK_SQL}");
    in_transaction(client, &begin, async {
        // Somebody else may have made it while we waited for the lock.
        match layout_version(client).await? {
            Some(VERSION) => Ok(()),
            Some(older) => upgrade(client, older).await,
            None => create(client).await,
        }
    })
    .await
}

async fn create(client: &Client) -> Result<(), Error> {
    const DOING: &str = "create the tables of schema strait";
    let row = client.query_one(STATE_SQL, &[]).await.context("look for schema strait")?;
    // CREATE SCHEMA IF NOT EXISTS would ask for the right to create one even where it exists.
    if !row.get::<_, bool>(0) {
        client.batch_execute("CREATE SCHEMA strait").await.context("create schema strait")?;
    }
    let dialect = client.server().await.context(DOING)?.dialect;
    for layout in LAYOUTS {
        client.batch_execute(&in_dialect(layout, dialect)).await.context(DOING)?;
    }
    let version = format!("INSERT INTO strait.layout (version) VALUES ({VERSION})");
    client.batch_execute(&version).await.context(DOING)
}

/// Tasks of the older version that run here go on: what is added has defaults.
async fn upgrade(client: &Client, from: i32) -> Result<(), Error> {
    tracing::info!(from, to = VERSION, "upgrading schema strait");
    let dialect = client.server().await.context("upgrade schema strait")?.dialect;
    for layout in LAYOUTS.iter().skip(from.unsigned_abs() as usize) {
        client.batch_execute(&in_dialect(layout, dialect)).await.context("upgrade schema strait")?;
    }
    let version = format!("UPDATE strait.layout SET version = {VERSION}");
    client.batch_execute(&version).await.context("upgrade schema strait")
}

/// A layout as the server takes it. In the Greenplum family a table says how it is distributed, which the layouts have in a
/// comment, and is a heap whatever the database's default is: its rows are changed one by one.
fn in_dialect(layout: &str, dialect: Dialect) -> Cow<'_, str> {
    match dialect {
        Dialect::PostgreSql => Cow::Borrowed(layout),
        Dialect::Greenplum => {
            let distributed = layout.replace("/* DISTRIBUTED", "DISTRIBUTED").replace(" */;", ";");
            Cow::Owned(format!("SET LOCAL default_table_access_method = heap;\n{distributed}"))
        }
    }
}

/// The version of the layout that stands, this program's or an older one; none where it has not been created
/// yet.
pub(crate) async fn layout_version(client: &Client) -> Result<Option<i32>, Error> {
    let row = client.query_one(STATE_SQL, &[]).await.context("look for schema strait")?;
    let (layout_exists, occupied): (bool, bool) = (row.get(1), row.get(2));
    if !layout_exists {
        if occupied {
            return Err(foreign_schema());
        }
        return Ok(None);
    }
    let versions =
        client.query("SELECT version FROM strait.layout", &[]).await.context("read strait.layout")?;
    match versions.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i32>, _>>() {
        Ok(versions) => match versions[..] {
            [version] if (1..=VERSION).contains(&version) => Ok(Some(version)),
            [version] => Err(Error::refused(
                format!(
                    "schema strait at the destination has layout {version}, this program knows {VERSION}"
                ),
                "Run the version of Strait that created it, or release its tasks with that version first.",
            )),
            _ => Err(foreign_schema()),
        },
        Err(error) => Err(Error::database("read strait.layout", error)),
    }
}

fn foreign_schema() -> Error {
    Error::refused(
        "the destination has a schema named strait that Strait did not create",
        "Rename it: ALTER SCHEMA strait RENAME TO …; Strait keeps its progress in a schema of that name.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_distributed_in_the_family_and_keys_contain_what_it_is_distributed_by() {
        for layout in LAYOUTS {
            let (plain, family) =
                (in_dialect(layout, Dialect::PostgreSql), in_dialect(layout, Dialect::Greenplum));
            assert_eq!(plain, layout);
            for table in family.split("CREATE TABLE strait.").skip(1) {
                let (columns, rest) = table.split_once("\n)").unwrap();
                let clause = rest.split_once("DISTRIBUTED ").unwrap().1.split_once(";\n").unwrap().0;
                let by = clause.trim_start_matches("BY (").trim_end_matches(')');
                let is_key = |line: &str| line.contains("PRIMARY KEY") && line.contains(by);
                assert!(clause == "REPLICATED" || columns.lines().any(is_key), "{clause}: {columns}");
                assert!(!clause.contains("*/"), "{clause}");
            }
        }
    }
}
