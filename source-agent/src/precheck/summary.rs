//! What the destination's precheck has to know of the source: names and sizes, never rows.

use std::time::Duration;

use strait_postgres::{Client, Error, ServerVersion, catalog};
use strait_proto::v1;

use crate::mapping::Mapped;

/// How long the probe lock is held: until the sink-agent has looked for it.
const PROBE_TIME: Duration = Duration::from_secs(60);

/// Types of an extension that the columns use, behind arrays and domains too.
const EXTENSION_TYPES: &str = "
    WITH RECURSIVE used(oid) AS (
        SELECT DISTINCT a.atttypid FROM pg_attribute AS a
        WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
      UNION
        SELECT part.oid
        FROM used JOIN pg_type AS t ON t.oid = used.oid
        CROSS JOIN LATERAL (VALUES (t.typelem), (t.typbasetype)) AS part(oid)
        WHERE part.oid <> 0
    )
    SELECT DISTINCT format_type(t.oid, NULL) AS type_name, e.extname::text AS extension
    FROM used
    JOIN pg_type AS t ON t.oid = used.oid
    JOIN pg_depend AS d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
    JOIN pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
    ORDER BY 1";

/// Summarises the source. The second value has to be run: it holds the probe lock for a while, then lets the connection go.
pub(super) async fn summarise(
    client: Client,
    version: ServerVersion,
    identity: Option<v1::SourceIdentity>,
    model: &v1::SchemaModel,
    mapped: &Mapped,
) -> Result<(v1::SourceSummary, impl Future<Output = ()> + use<>), Error> {
    let tables: Vec<u32> = model.tables.iter().map(|table| table.table_id).collect();
    let extension_types = client.query(EXTENSION_TYPES, &[&tables]).await?;
    let encoding = client.query_one("SELECT current_setting('server_encoding')", &[]).await?;
    let collation = client.query_one(catalog::DATABASE_COLLATION, &[]).await?;
    let summary = v1::SourceSummary {
        identity,
        probe_lock: probe_lock(&client).await?,
        encoding: encoding.try_get(0)?,
        size_bytes: model.tables.iter().map(|table| table.size_bytes).sum(),
        tables: mapped.model.tables.iter().map(v1::Table::table_name).collect(),
        extension_types: extension_types
            .iter()
            .map(|row| {
                Ok(v1::ExtensionType {
                    type_name: row.try_get("type_name")?,
                    extension: row.try_get("extension")?,
                })
            })
            .collect::<Result<_, Error>>()?,
        server_version: version.0,
        requirements: model.requirements.clone(),
        collation: collation.try_get(0)?,
        structures: Vec::new(),
    };
    let hold = async move {
        tokio::time::sleep(PROBE_TIME).await;
        drop(client);
    };
    Ok((summary, hold))
}

/// What a table at the destination has to take.
pub(super) fn structure(table: &v1::Table) -> v1::SourceTable {
    let written = table.columns.iter().filter(|column| column.generated.is_none());
    let column = |column: &v1::Column| v1::SourceColumn {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
    };
    let is_key = |constraint: &v1::Constraint| {
        matches!(constraint.kind(), v1::ConstraintKind::PrimaryKey | v1::ConstraintKind::Unique)
    };
    v1::SourceTable {
        table: Some(table.table_name()),
        columns: written.map(column).collect(),
        has_key: table.constraints.iter().any(is_key),
        partitioned: table.is_structure(),
    }
}

/// Takes a random advisory lock for the session.
async fn probe_lock(client: &Client) -> Result<i64, Error> {
    const RANDOM: &str = "
        SELECT ('x' || substr(md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text), 1, 16))::bit(64)::int8";
    let key: i64 = client.query_one(RANDOM, &[]).await?.try_get(0)?;
    client.query_one("SELECT pg_advisory_lock($1)::text", &[&key]).await?;
    Ok(key)
}
