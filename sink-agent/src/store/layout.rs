//! Creates schema `strait`, once, whoever comes first.

use strait_postgres::Client;

use super::{BEGIN, in_transaction};
use crate::error::{Context as _, Error};

/// Where everything of Strait lives at the destination.
pub(crate) const SCHEMA: &str = "strait";

/// Of `layout.sql`.
const VERSION: i32 = 2;

/// Serialises creation and removal of the schema: two tasks may start at once in one database.
pub(super) const LAYOUT_LOCK_SQL: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7453010361412153460)";

const LAYOUT_SQL: &str = include_str!("layout.sql");

const STATE_SQL: &str = "SELECT to_regnamespace('strait') IS NOT NULL,
       to_regclass('strait.layout') IS NOT NULL,
       EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('strait'))";

/// Creates the schema where it is missing; refuses one that is not Strait's, or newer than this program.
pub(crate) async fn ensure_layout(client: &Client) -> Result<(), Error> {
    if layout_version(client).await?.is_some() {
        return Ok(());
    }
    let begin = format!("{BEGIN}; {LAYOUT_LOCK_SQL}");
    in_transaction(client, &begin, async {
        // Somebody else may have made it while we waited for the lock.
        if layout_version(client).await?.is_some() {
            return Ok(());
        }
        let row = client.query_one(STATE_SQL, &[]).await.context("look for schema strait")?;
        // CREATE SCHEMA IF NOT EXISTS would ask for the right to create one even where it exists.
        if !row.get::<_, bool>(0) {
            client.batch_execute("CREATE SCHEMA strait").await.context("create schema strait")?;
        }
        client.batch_execute(LAYOUT_SQL).await.context("create the tables of schema strait")?;
        client
            .batch_execute(&format!("INSERT INTO strait.layout (version) VALUES ({VERSION})"))
            .await
            .context("create the tables of schema strait")
    })
    .await
}

/// The version of the layout that stands; none where it has not been created yet.
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
        Ok(versions) if versions == [VERSION] => Ok(Some(VERSION)),
        Ok(versions) if versions.len() == 1 => Err(Error::refused(
            format!(
                "schema strait at the destination has layout {}, this program knows {VERSION}",
                versions[0]
            ),
            "Run the version of Strait that created it, or release its tasks with that version first.",
        )),
        Ok(_) => Err(foreign_schema()),
        Err(error) => Err(Error::database("read strait.layout", error)),
    }
}

fn foreign_schema() -> Error {
    Error::refused(
        "the destination has a schema named strait that Strait did not create",
        "Rename it: ALTER SCHEMA strait RENAME TO …; Strait keeps its progress in a schema of that name.",
    )
}
