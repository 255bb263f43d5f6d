//! The checks themselves.

use std::collections::BTreeSet;

use strait_postgres::catalog::DATABASE_COLLATION;
use strait_postgres::quote::{identifier, literal, qualified};
use strait_proto::v1::TableName;
use tokio_postgres::types::Type;

use super::Checks;
use super::item::{Checked, failed, fine, warning};
use crate::error::Context as _;
use crate::open_task::refuse_recovery;
use crate::store::{self, SCHEMA};

/// Names of a list that a detail or remedy shows; the rest is counted.
const SHOWN_MAX: usize = 50;

const SAME_DATABASE_SQL: &str = "SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1 AND granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (classid::bigint << 32 | objid::bigint) = $1)";

const DATABASE_SQL: &str = "SELECT current_database()::text, current_user::text,
       has_database_privilege(current_database(), 'CREATE')";

/// Of the given schemas those that exist, and whether the user may create objects in them.
const SCHEMAS_SQL: &str = "SELECT n.nspname::text, has_schema_privilege(n.oid, 'CREATE')
  FROM pg_namespace AS n WHERE n.nspname = ANY ($1::text[])";

const TYPES_SQL: &str = "SELECT w.type_name, w.extension, a.name IS NOT NULL
  FROM unnest($1::text[], $2::text[]) AS w (type_name, extension)
       LEFT JOIN pg_available_extensions AS a ON a.name = w.extension
 WHERE to_regtype(w.type_name) IS NULL";

impl Checks<'_> {
    pub(super) async fn version(&self) -> Checked {
        let server = self.client.server().await.context("read the server's version")?;
        server.require_version().context("look at the server's version")?;
        fine(format!("{} {}", server.dialect, server.version))
    }

    pub(super) async fn not_in_recovery(&self) -> Checked {
        refuse_recovery(self.client).await?;
        fine("a primary")
    }

    /// A system identifier would also match a promoted clone, so the source holds a lock for us to find.
    pub(super) async fn same_database(&self) -> Checked {
        let row = self
            .client
            .query_typed_one(SAME_DATABASE_SQL, &[(&self.source.probe_lock, Type::INT8)])
            .await
            .context("look for the source's advisory lock")?;
        if row.get(0) {
            return failed(
                "the lock that the source holds is in this database's pg_locks",
                "source and destination are the same database: changes would come back as changes for ever",
                "Choose another database as the destination: `destination: {endpoint: …, database: …}`.",
            );
        }
        fine("another database than the source")
    }

    pub(super) async fn privileges(&self) -> Checked {
        let row = self.client.query_one(DATABASE_SQL, &[]).await.context("read the user's privileges")?;
        let (database, user, may_create): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        store::layout_version(self.client).await?;
        let mut wanted: BTreeSet<&str> =
            self.source.tables.iter().map(|table| table.schema.as_str()).collect();
        wanted.insert(SCHEMA);
        let names: Vec<&str> = wanted.iter().copied().collect();
        let rows = self.client.query_typed(SCHEMAS_SQL, &[(&names, Type::TEXT_ARRAY)]).await;
        let rows = rows.context("read the user's privileges")?;
        let existing: Vec<(String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();

        let mut grants = Vec::new();
        let user_name = identifier(&user);
        if !may_create && existing.len() < wanted.len() {
            grants.push(format!("GRANT CREATE ON DATABASE {} TO {user_name};", identifier(&database)));
        }
        for (schema, _) in existing.iter().filter(|(_, may_create)| !may_create) {
            grants.push(format!("GRANT USAGE, CREATE ON SCHEMA {} TO {user_name};", identifier(schema)));
        }
        if grants.is_empty() {
            return fine(format!("{user} may create what the task needs in database {database}"));
        }
        failed(
            format!("{user} lacks rights in database {database}"),
            "schemas and tables, among them schema strait with the task's progress, have to be created",
            grants.join(" "),
        )
    }

    pub(super) async fn same_name_tables(&self) -> Checked {
        let existing = store::existing_tables(self.client, &self.source.tables).await?;
        let created = match store::layout_version(self.client).await? {
            Some(_) => store::created_tables(self.client, self.task_id).await?,
            None => Default::default(),
        };
        let is_foreign = |table: &&TableName| !created.contains(*table);
        let foreign: Vec<&TableName> = existing.iter().filter(is_foreign).collect();
        if foreign.is_empty() {
            return fine(format!("none of the {} tables stands in the way", self.source.tables.len()));
        }
        let names = shown(foreign.iter().map(|table| table.to_string()));
        let quoted = shown(foreign.iter().map(|table| qualified(&table.schema, &table.name)));
        failed(
            format!("{} exist already: {names}", foreign.len()),
            "tables of the same names stand at the destination, and this task did not create them: their \
             rows would mix with the source's",
            format!(
                "Drop or rename them at the destination (DROP TABLE {quoted};), or exclude them from the task: \
                 `objects: {{exclude: [{names}]}}`."
            ),
        )
    }

    pub(super) async fn encoding(&self) -> Checked {
        let row = self.client.query_one("SELECT current_setting('server_encoding')", &[]).await;
        let destination: String = row.context("read the server's encoding")?.get(0);
        let source = &self.source.encoding;
        if destination == *source || destination == "UTF8" || source.is_empty() {
            return fine(destination);
        }
        warning(
            format!("{destination}, the source has {source}"),
            "a character that the destination's encoding does not have stops the task when it arrives",
            "Use a destination database with ENCODING 'UTF8', unless the texts are known to fit.",
        )
    }

    pub(super) async fn collation(&self) -> Checked {
        let row = self.client.query_one(DATABASE_COLLATION, &[]).await;
        let destination: String = row.context("read the database's collation")?.get(0);
        let source = &self.source.collation;
        if destination == *source || source.is_empty() {
            return fine(destination);
        }
        warning(
            format!("{destination}, the source has {source}"),
            "texts sort in another order: queries with ORDER BY answer otherwise, and CHECKs that compare texts may fail",
            format!(
                "Use a destination database made like the source's ({source}), unless the order does not matter."
            ),
        )
    }

    /// PostgreSQL tells nobody how much is free; what is needed can be said.
    pub(super) async fn free_space(&self) -> Checked {
        const SQL: &str = "SELECT pg_size_pretty($1::bigint), pg_size_pretty(pg_database_size(current_database())),
                                  (SELECT spcname::text FROM pg_tablespace AS t JOIN pg_database AS d ON d.dattablespace = t.oid
                                    WHERE d.datname = current_database())";
        let needed = i64::try_from(self.source.size_bytes).unwrap_or(i64::MAX);
        let row = self.client.query_typed_one(SQL, &[(&needed, Type::INT8)]).await;
        let row = row.context("read the database's size")?;
        let (needed, taken, tablespace): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        fine(format!(
            "about {needed} come in addition to {taken}, and log for it, in tablespace {tablespace}; PostgreSQL does not tell how \
             much is free"
        ))
    }

    pub(super) async fn extensions(&self) -> Checked {
        let wanted = &self.source.extension_types;
        let types: Vec<&str> = wanted.iter().map(|wanted| wanted.type_name.as_str()).collect();
        let extensions: Vec<&str> = wanted.iter().map(|wanted| wanted.extension.as_str()).collect();
        let missing = self
            .client
            .query_typed(TYPES_SQL, &[(&types, Type::TEXT_ARRAY), (&extensions, Type::TEXT_ARRAY)])
            .await
            .context("look for the types of extensions")?;
        if missing.is_empty() {
            return fine(format!("the {} types of extensions that columns use are there", types.len()));
        }
        let names = shown(missing.iter().map(|row| row.get::<_, String>(0)));
        let mut remedies = BTreeSet::new();
        for row in &missing {
            remedies.insert(install(row.get(0), row.get(1), row.get(2)));
        }
        failed(
            format!("missing: {names}"),
            "columns have types of extensions that the destination's database does not have",
            remedies.into_iter().collect::<Vec<_>>().join(" "),
        )
    }

    pub(super) async fn replica_role(&self) -> Checked {
        const SET: &str = "BEGIN; SET LOCAL session_replication_role = replica";
        let set = self.client.batch_execute(SET).await.context("set session_replication_role");
        self.client.batch_execute("ROLLBACK").await.context("end the check of session_replication_role")?;
        match set {
            Ok(()) => fine("the user may set session_replication_role"),
            Err(error) if error.sqlstate() == Some("42501") => {
                let row =
                    self.client.query_one("SELECT current_user::text", &[]).await.context("read the user")?;
                let user = identifier(row.get(0));
                warning(
                    "the user may not set session_replication_role",
                    "foreign keys would be enforced and triggers fire while changes are applied: foreign \
                     keys are left out",
                    format!(
                        "GRANT SET ON PARAMETER session_replication_role TO {user}; (PostgreSQL 15 and later)"
                    ),
                )
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// How a type of an extension comes into the database, in the schema where the source has it.
fn install(type_name: &str, extension: &str, available: bool) -> String {
    if extension.is_empty() {
        return format!("Create the type {type_name}.");
    }
    let schema =
        type_name.rsplit_once('.').map(|(schema, _)| format!(" SCHEMA {schema}")).unwrap_or_default();
    let create = format!("CREATE EXTENSION {}{schema};", identifier(extension));
    if available {
        create
    } else {
        format!(
            "Install the package of extension {} on the destination's server, then {create}",
            literal(extension)
        )
    }
}

/// A list for people, cut to a length that can be read.
pub(super) fn shown(names: impl ExactSizeIterator<Item = String>) -> String {
    let further = names.len().saturating_sub(SHOWN_MAX);
    let mut list = names.take(SHOWN_MAX).collect::<Vec<_>>().join(", ");
    if further > 0 {
        list.push_str(&format!(" and {further} more"));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_created_where_the_source_has_it() {
        assert_eq!(install("public.citext", "citext", true), "CREATE EXTENSION \"citext\" SCHEMA public;");
        assert!(install("public.geometry", "postgis", false).starts_with("Install the package"));
    }

    #[test]
    fn long_lists_are_cut() {
        let names = (0..60).map(|number| number.to_string());
        assert!(shown(names.collect::<Vec<_>>().into_iter()).ends_with("49 and 10 more"));
    }
}
