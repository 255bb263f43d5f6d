//! The heartbeat's table: what stands in for logical messages at a source before PostgreSQL 14, which does not stream them.
//!
//! One row a task, in a table that all tasks of the database share and publish. It exists from the first task's beginning
//! to the last one's release, and so does the schema around it, unless somebody else has put something there: schema
//! `strait` is also where a destination keeps its progress, should the database be one.

use strait_postgres::{Client, Error, quote};
use strait_proto::TaskId;

use super::locks::Ddl;
use crate::source::Source;

/// The schema that the catalog of a source leaves out, whatever a task selects.
const SCHEMA: &str = "strait";
const TABLE: &str = "heartbeat";

/// The column that a message's content is written to.
pub(crate) const CONTENT: &str = "content";

/// Qualified, as `ADD TABLE` takes it.
const NAME: &str = "strait.heartbeat";

/// Room on its page keeps the updates HOT: nothing is left to vacuum.
const CREATE_TABLE: &str = "CREATE TABLE strait.heartbeat (task_id text PRIMARY KEY, content text NOT NULL)
    WITH (fillfactor = 10)";

/// Beats once. No row where the task has none, which only somebody else can have removed.
pub(crate) const BEAT: &str = "UPDATE strait.heartbeat SET content = $2 WHERE task_id = $1";

/// Whether a relation of the change stream is the table.
pub(crate) fn is_table(schema: &str, name: &str) -> bool {
    schema == SCHEMA && name == TABLE
}

/// Gives the task its row in the table, which is made where it is missing, and publishes it. Whatever stands already is
/// left as it is.
pub(super) async fn establish(ddl: &Ddl<'_>, source: &Source) -> Result<(), Error> {
    const STATE: &str = "
        SELECT to_regnamespace('strait') IS NOT NULL AS schema_stands, to_regclass('strait.heartbeat') IS NOT NULL AS stands,
               EXISTS (SELECT FROM pg_publication AS p JOIN pg_publication_rel AS r ON r.prpubid = p.oid
                       WHERE p.pubname = $1 AND r.prrelid = to_regclass('strait.heartbeat')) AS published";
    const ROW: &str = "INSERT INTO strait.heartbeat VALUES ($1, '') ON CONFLICT DO NOTHING";
    let state = ddl.client().query_one(STATE, &[&source.publication.as_str()]).await?;
    // CREATE SCHEMA IF NOT EXISTS would ask for the right to create one even where it exists.
    if !state.try_get::<_, bool>("schema_stands")? {
        ddl.execute("CREATE SCHEMA strait").await?;
    }
    if !state.try_get::<_, bool>("stands")? {
        ddl.execute(CREATE_TABLE).await?;
    }
    ddl.client().execute(ROW, &[&source.task_id.as_str()]).await?;
    if !state.try_get::<_, bool>("published")? {
        let publication = quote::identifier(source.publication.as_str());
        ddl.execute(&format!("ALTER PUBLICATION {publication} ADD TABLE ONLY {NAME}")).await?;
    }
    Ok(())
}

/// Whether the task has a row.
pub(crate) async fn stands(client: &Client, task_id: &TaskId) -> Result<bool, Error> {
    const TABLE_STANDS: &str = "SELECT to_regclass('strait.heartbeat') IS NOT NULL";
    const ROW_STANDS: &str = "SELECT EXISTS (SELECT FROM strait.heartbeat WHERE task_id = $1)";
    if !client.query_one(TABLE_STANDS, &[]).await?.try_get(0)? {
        return Ok(false);
    }
    Ok(client.query_one(ROW_STANDS, &[&task_id.as_str()]).await?.try_get(0)?)
}

/// The statement that removes the task's row, the table with the last one, and the schema where nothing else is in it or
/// belongs to it. It does nothing where the task has no row.
pub(crate) fn remove_sql(task_id: &TaskId) -> String {
    let task_id = quote::literal(task_id.as_str());
    format!(
        "DO $$
BEGIN
    IF to_regclass('strait.heartbeat') IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM strait.heartbeat WHERE task_id = {task_id};
    IF NOT FOUND OR EXISTS (SELECT FROM strait.heartbeat) THEN
        RETURN;
    END IF;
    DROP TABLE strait.heartbeat;
    IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'strait')
       AND NOT EXISTS (SELECT FROM pg_depend
                       WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'strait'::regnamespace
                         AND deptype = 'n')
    THEN
        DROP SCHEMA strait;
    END IF;
END $$;"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_known_by_its_whole_name() {
        for (schema, name, expected) in
            [("strait", "heartbeat", true), ("public", "heartbeat", false), ("strait", "checkpoint", false)]
        {
            assert_eq!(is_table(schema, name), expected, "{schema}.{name}");
        }
        assert_eq!(NAME, format!("{SCHEMA}.{TABLE}"));
    }
}
