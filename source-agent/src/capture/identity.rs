//! Replica identities: which tables lack one that serves, and giving them FULL.
//!
//! Everything is decided by what the catalog says at that moment, under the lock of [`super::locks`]: identities change,
//! and leaves come, while a task is set up.

use strait_postgres::{Client, Error, PublicationName, quote};
use strait_proto::v1::TableName;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::locks::{Ddl, with_retry};
use super::record::{Identity, IdentityRecord, Record};
use crate::error::{During, RunError};
use crate::reporter::Reporter;
use crate::rows::RowRules;
use crate::source::Source;

/// A relation at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) relation_id: u32,
    pub(crate) name: TableName,
}

impl Relation {
    /// From a row with `oid`, `nspname`, `relname`.
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        let name = TableName::new(row.try_get::<_, String>("nspname")?, row.try_get::<_, String>("relname")?);
        Ok(Self { relation_id: row.try_get("oid")?, name })
    }

    /// Qualified and quoted.
    pub(crate) fn sql(&self) -> String {
        quote::qualified(&self.name.schema, &self.name.name)
    }
}

/// Of the given tables, and of all leaves of the partitioned ones, those whose rows the stream could not identify, and those
/// whose changes could not be filtered ($2, $3: tables and their conditions), which takes the old row where the key lacks
/// a column that the condition may use (its text contains the name), or where there are values that an update leaves out; or not
/// transformed ($4, $5, $6: tables, columns, and whether the key has to hold them), for the same reasons.
///
/// PostgreSQL refuses the updates and deletes of such tables once they are published, by what `RelationGetReplicaIndex`
/// does: a key has to be unique, immediate, valid and whole. A generated column in a key does not count here: before 18
/// PostgreSQL takes such a key and then does not send its value, and the destination computes it for itself. From 18 on FULL
/// does not serve where there are virtual columns, which are never sent.
const UNIDENTIFIED: &str = r#"
    SELECT c.oid, n.nspname, c.relname, pg_has_role(c.relowner, 'USAGE') AS owned, has_virtual,
           has_key AND c.relreplident <> 'f' AS for_filter
    FROM (
        SELECT c.oid, c.oid AS root FROM pg_class AS c WHERE c.oid = ANY ($1::oid[]) AND c.relkind = 'r'
        UNION
        SELECT leaf.relid, c.oid
        FROM pg_class AS c, pg_partition_tree(c.oid) AS leaf
        WHERE c.oid = ANY ($1::oid[]) AND c.relkind = 'p' AND leaf.isleaf
    ) AS published
    JOIN pg_class AS c ON c.oid = published.oid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM pg_attribute AS a
                       WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped) AS has_virtual
    ) AS columns
    LEFT JOIN LATERAL (
        SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns
        FROM pg_index AS i
        WHERE i.indrelid = c.oid AND c.relreplident <> 'n'
          AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
          AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
          AND NOT EXISTS (
            SELECT FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attgenerated <> ''
              AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
        LIMIT 1
    ) AS key ON true
    CROSS JOIN LATERAL (SELECT key.columns IS NOT NULL AS has_key) AS keys
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM unnest($2::oid[], $3::text[]) AS filter(table_id, condition), pg_attribute AS a
            WHERE filter.table_id = published.root AND a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND (a.attlen = -1 AND a.attstorage <> 'p'
                   OR position(lower(replace(a.attname::text COLLATE "default", '"', '""')) IN lower(filter.condition)) > 0
                      AND a.attnum <> ALL (key.columns)))
            OR EXISTS (
            SELECT FROM unnest($4::oid[], $5::text[], $6::boolean[]) AS need(table_id, name, in_key), pg_attribute AS a
            WHERE need.table_id = published.root AND a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND (need.name = '' OR need.name = a.attname)
              AND (a.attlen = -1 AND a.attstorage <> 'p' OR need.in_key AND a.attnum <> ALL (key.columns))) AS needs_old_row
    ) AS filters
    WHERE c.relkind = 'r' AND c.relpersistence = 'p'
      AND CASE c.relreplident WHEN 'f' THEN has_virtual ELSE NOT has_key OR needs_old_row END
    ORDER BY n.nspname, c.relname"#;

/// A table, or a leaf, without an identity that serves.
pub(crate) struct Lacking {
    pub(crate) relation: Relation,
    /// Whether this role owns it, and so may change it.
    pub(crate) owned: bool,
    /// It has virtual generated columns, so that FULL does not serve either: it needs a key.
    pub(crate) needs_key: bool,
    /// A key identifies its rows, but its condition or its rules need the old row.
    pub(crate) for_filter: bool,
}

/// The tables, or leaves of them, that need another identity before they can be published.
pub(crate) async fn lacking(
    client: &Client,
    tables: &[u32],
    rules: &RowRules,
) -> Result<Vec<Lacking>, Error> {
    let (filtered, conditions) = rules.conditions();
    let lacking = |row: &Row| {
        Ok(Lacking {
            relation: Relation::from_row(row)?,
            owned: row.try_get("owned")?,
            needs_key: row.try_get("has_virtual")?,
            for_filter: row.try_get("for_filter")?,
        })
    };
    let (transformed, columns, in_key) = rules.needs();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&tables, &filtered, &conditions, &transformed, &columns, &in_key];
    client.query(UNIDENTIFIED, &parameters).await?.iter().map(lacking).collect()
}

/// Gives REPLICA IDENTITY FULL to every given table, or leaf of one, that lacks an identity, and says so. `client` is for
/// DDL alone.
pub(crate) async fn complete(
    client: &Client,
    source: &Source,
    tables: &[u32],
    rules: &RowRules,
    reporter: &Reporter,
) -> Result<(), RunError> {
    let lacking =
        lacking(client, tables, rules).await.during("look for tables without a replica identity")?;
    give_full(client, source, lacking, reporter).await
}

/// Gives REPLICA IDENTITY FULL to the given tables, and says so. `client` is for DDL alone.
pub(crate) async fn give_full(
    client: &Client,
    source: &Source,
    tables: Vec<Lacking>,
    reporter: &Reporter,
) -> Result<(), RunError> {
    for table in tables {
        let relation = table.relation;
        if table.needs_key && table.for_filter {
            return Err(RunError::definite(
                format!(
                    "{}: its condition (`where`) or its rules (`transform`) need the old row of a change, and with a virtual \
                     generated column REPLICA IDENTITY FULL cannot be set: once published, PostgreSQL would refuse to update \
                     the table",
                    relation.name
                ),
                "Leave them out, or the table.",
            ));
        }
        if table.needs_key {
            return Err(RunError::definite(
                format!(
                    "{}: no key identifies its rows, and with a virtual generated column REPLICA IDENTITY FULL cannot: \
                     once published, PostgreSQL would refuse to update it",
                    relation.name
                ),
                format!(
                    "ALTER TABLE {} ADD PRIMARY KEY (…); or exclude the table from the task.",
                    relation.sql()
                ),
            ));
        }
        let doing = format!("set REPLICA IDENTITY FULL on {}", relation.name);
        let changed =
            with_retry(client, &doing, || make_full(client, &source.publication, &relation)).await?;
        if let Some(before) = changed {
            let reason = if table.for_filter {
                "what the task does with its rows needs old rows"
            } else {
                "no key identifies its rows"
            };
            reporter
                .notice(format!(
                    "{}: {reason}, so REPLICA IDENTITY was changed from {} to FULL; release restores it",
                    relation.name,
                    before.sql()
                ))
                .await;
        }
    }
    Ok(())
}

/// One transaction: the identity and its record. None where it is FULL, or gone, by now.
async fn make_full(
    client: &Client,
    publication: &PublicationName,
    relation: &Relation,
) -> Result<Option<Identity>, Error> {
    let ddl = Ddl::begin(client).await?;
    let before = match current(ddl.client(), relation.relation_id).await? {
        None | Some((_, Identity::Full)) => {
            ddl.roll_back().await?;
            return Ok(None);
        }
        Some((relation, identity)) => IdentityRecord {
            relation_id: relation.relation_id,
            schema: relation.name.schema,
            name: relation.name.name,
            identity,
        },
    };
    let (mut record, _) = Record::read(ddl.client(), publication).await?.unwrap_or_default();
    let identity = before.identity.clone();
    let table = quote::qualified(&before.schema, &before.name);
    // What was recorded first is the original, whoever changed it since.
    if record.identity(relation.relation_id).is_none() {
        record.identities.push(before);
    }
    ddl.execute(&format!("ALTER TABLE ONLY {table} REPLICA IDENTITY FULL")).await?;
    ddl.execute(&record.write_sql(publication)?).await?;
    ddl.commit().await?;
    Ok(Some(identity))
}

/// A table's name and replica identity now; None where it does not exist.
pub(crate) async fn current(
    client: &Client,
    relation_id: u32,
) -> Result<Option<(Relation, Identity)>, Error> {
    const SQL: &str = "
        SELECT c.oid, n.nspname, c.relname, c.relreplident::text AS identity,
               (SELECT x.relname FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
                WHERE i.indrelid = c.oid AND i.indisreplident) AS index
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = $1";
    let Some(row) = client.query_opt(SQL, &[&relation_id]).await? else {
        return Ok(None);
    };
    let identity: String = row.try_get("identity")?;
    let index: Option<String> = row.try_get("index")?;
    let identity = match (identity.as_str(), index) {
        ("d", _) => Identity::Default,
        ("f", _) => Identity::Full,
        ("i", Some(index)) => Identity::Index(index),
        // 'i' without its index, which was dropped, is NOTHING.
        _ => Identity::Nothing,
    };
    Ok(Some((Relation::from_row(&row)?, identity)))
}
