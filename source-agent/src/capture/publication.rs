//! The publication: which tables' changes the slot decodes.
//!
//! It lists tables explicitly, each with `ONLY`, and leaves under their own ids (`publish_via_partition_root = false`),
//! because a leaf's TRUNCATE is not sent under its root. A table is added only in a transaction that has seen its identity.
//!
//! PostgreSQL 12 publishes no partitioned tables: there the leaves themselves are listed, and each new one is added, while
//! it is empty, by [`add_leaf`].

use std::collections::HashSet;

use strait_postgres::{Client, Error, ServerVersion, quote};
use strait_proto::v1;

use super::heartbeat;
use super::identity::{self, Relation};
use super::locks::{Ddl, with_retry};
use super::record::{LeafRecord, Record};
use crate::error::{During, RunError};
use crate::reporter::Reporter;
use crate::rows::RowRules;
use crate::source::Source;

/// Tables that one transaction adds or removes: each of them is locked until its end.
const BATCH: usize = 100;
/// How often identities may turn out to be missing again, because somebody changes them or adds partitions.
const ROUNDS_MAX: u32 = 10;

const OPTIONS_FROM_13: &str = ", publish_via_partition_root = false";
/// From PostgreSQL 18 on, an identity with a generated column counts only if the column is published. The sink knows which
/// columns it has to leave alone.
const OPTIONS_FROM_18: &str = ", publish_generated_columns = stored";

/// The tables of a model whose changes can be captured: an unlogged table leaves nothing in the log. A partitioned table that
/// keeps its structure has no rows; its partitions are published each for itself, so that none is before it has begun.
pub(crate) fn published(model: &v1::SchemaModel) -> impl Iterator<Item = &v1::Table> {
    model.tables.iter().filter(|table| !table.unlogged && !table.is_structure())
}

/// Makes the publication list exactly the model's tables, with identities that serve. `client` is for DDL alone.
pub(crate) async fn establish(
    client: &Client,
    source: &Source,
    model: &v1::SchemaModel,
    rules: &RowRules,
    reporter: &Reporter,
) -> Result<(), RunError> {
    let version = client.server().await.during("read the source's version")?.version;
    with_retry(client, "create the publication", || create(client, source, version)).await?;
    remove_others(client, source, &members_of(model, version)).await?;
    add(client, source, model, rules, reporter).await
}

/// Adds what the publication lacks of the model's tables, which are all about to begin. `client` is for DDL alone.
pub(crate) async fn add(
    client: &Client,
    source: &Source,
    model: &v1::SchemaModel,
    rules: &RowRules,
    reporter: &Reporter,
) -> Result<(), RunError> {
    let version = client.server().await.during("read the source's version")?.version;
    let name = quote::identifier(source.publication.as_str());
    let oids = members_of(model, version);
    // The members may be the leaves themselves.
    let rules = &rules.with_leaves(model);
    for _ in 0..ROUNDS_MAX {
        identity::complete(client, source, &oids, rules, reporter).await?;
        if add_missing(client, source, &oids, rules, &name).await? {
            return Ok(());
        }
    }
    Err(RunError::transient("replica identities change faster than the tables can be published"))
}

/// Adds a leaf that has come, where the publication does not take its table with all its leaves. False where it holds
/// rows: what wrote them was not captured.
///
/// Nobody writes to the leaf between the look at it and the end of the transaction, and whoever writes to it afterwards is
/// decoded with the publication as it is then.
pub(crate) async fn add_leaf(
    client: &Client,
    source: &Source,
    leaf: &LeafRecord,
    rules: &RowRules,
    reporter: &Reporter,
) -> Result<bool, RunError> {
    const DOING: &str = "add a partition to the publication";
    if client.server().await.during(DOING)?.version.publishes_partitioned_tables() {
        return Ok(true);
    }
    if members(client, source).await.during(DOING)?.iter().any(|it| it.relation_id == leaf.relation_id) {
        return Ok(true);
    }
    let client = source.connect().await.during(DOING)?;
    identity::complete(&client, source, &[leaf.relation_id], rules, reporter).await?;
    let name = quote::qualified(&leaf.schema, &leaf.name);
    let publication = quote::identifier(source.publication.as_str());
    with_retry(&client, DOING, || async {
        let ddl = Ddl::begin(&client).await?;
        ddl.execute(&format!("LOCK TABLE ONLY {name} IN SHARE ROW EXCLUSIVE MODE")).await?;
        let holds_rows = format!("SELECT EXISTS (SELECT FROM ONLY {name})");
        if ddl.client().query_one(&holds_rows, &[]).await?.try_get(0)? {
            ddl.roll_back().await?;
            return Ok(false);
        }
        ddl.execute(&format!("ALTER PUBLICATION {publication} ADD TABLE ONLY {name}")).await?;
        ddl.commit().await?;
        Ok(true)
    })
    .await
}

/// What the publication has to list for the model's tables.
fn members_of(model: &v1::SchemaModel, version: ServerVersion) -> Vec<u32> {
    let members = |table: &v1::Table| {
        if table.is_flattened() && !version.publishes_partitioned_tables() {
            table.leaves.iter().map(|leaf| leaf.relation_id).collect()
        } else {
            vec![table.table_id]
        }
    };
    published(model).flat_map(members).collect()
}

async fn create(client: &Client, source: &Source, version: ServerVersion) -> Result<(), Error> {
    let name = quote::identifier(source.publication.as_str());
    let mut options = format!("publish = '{}'", source.carried.by_any().published(version).join(", "));
    if version.publishes_partitioned_tables() {
        options.push_str(OPTIONS_FROM_13);
    }
    if version.publishes_generated_columns() {
        options.push_str(OPTIONS_FROM_18);
    }
    let ddl = Ddl::begin(client).await?;
    let exists = "SELECT FROM pg_publication WHERE pubname = $1";
    let exists = ddl.client().query_opt(exists, &[&source.publication.as_str()]).await?.is_some();
    let sql = if exists {
        format!("ALTER PUBLICATION {name} SET ({options})")
    } else {
        format!("CREATE PUBLICATION {name} WITH ({options})")
    };
    ddl.execute(&sql).await?;
    if !version.streams_messages() {
        heartbeat::establish(&ddl, source).await?;
    }
    ddl.commit().await
}

/// The tables that the publication lists.
async fn members(client: &Client, source: &Source) -> Result<Vec<Relation>, Error> {
    const SQL: &str = "
        SELECT c.oid, n.nspname, c.relname
        FROM pg_publication AS p
        JOIN pg_publication_rel AS r ON r.prpubid = p.oid
        JOIN pg_class AS c ON c.oid = r.prrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE p.pubname = $1
        ORDER BY n.nspname, c.relname";
    let rows = client.query(SQL, &[&source.publication.as_str()]).await?;
    rows.iter().map(Relation::from_row).collect()
}

/// What an earlier attempt published under another selection.
async fn remove_others(client: &Client, source: &Source, oids: &[u32]) -> Result<(), RunError> {
    const DOING: &str = "remove tables from the publication";
    let mut others = members(client, source).await.during(DOING)?;
    others.retain(|relation| {
        !oids.contains(&relation.relation_id)
            && !heartbeat::is_table(&relation.name.schema, &relation.name.name)
    });
    for batch in others.chunks(BATCH) {
        let sql = format!(
            "ALTER PUBLICATION {} DROP TABLE {}",
            quote::identifier(source.publication.as_str()),
            list(batch)
        );
        with_retry(client, DOING, || async {
            let ddl = Ddl::begin(client).await?;
            ddl.execute(&sql).await?;
            ddl.commit().await
        })
        .await?;
    }
    Ok(())
}

/// Adds what is missing. False where a table turned out to lack an identity.
async fn add_missing(
    client: &Client,
    source: &Source,
    oids: &[u32],
    rules: &RowRules,
    name: &str,
) -> Result<bool, RunError> {
    const DOING: &str = "add tables to the publication";
    const NAMES: &str = "
        SELECT c.oid, n.nspname, c.relname
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = ANY ($1::oid[])
          AND NOT EXISTS (SELECT FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
                          WHERE r.prrelid = c.oid AND p.pubname = $2)
        ORDER BY n.nspname, c.relname";
    let rows = client.query(NAMES, &[&oids, &source.publication.as_str()]).await.during(DOING)?;
    let missing: Vec<Relation> =
        rows.iter().map(Relation::from_row).collect::<Result<_, _>>().during(DOING)?;
    for batch in missing.chunks(BATCH) {
        let sql = format!("ALTER PUBLICATION {name} ADD TABLE {}", list(batch));
        let members: &[u32] = &batch.iter().map(|relation| relation.relation_id).collect::<Vec<u32>>();
        let added = with_retry(client, DOING, || async {
            let ddl = Ddl::begin(client).await?;
            // The tables are locked by this; whether each can be identified is looked at afterwards.
            ddl.execute(&sql).await?;
            if !identity::lacking(ddl.client(), members, rules).await?.is_empty() {
                ddl.roll_back().await?;
                return Ok(false);
            }
            ddl.commit().await?;
            Ok(true)
        })
        .await?;
        if !added {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Each with ONLY: without it, children by inheritance come along.
fn list(relations: &[Relation]) -> String {
    let tables: Vec<String> = relations.iter().map(|relation| format!("ONLY {}", relation.sql())).collect();
    tables.join(", ")
}

/// Checks that the publication still says what the task relies on. `oids` are the tables that exist and are begun.
///
/// A table that was taken out has lost the changes since: putting it back would hide that.
pub(crate) async fn verify(client: &Client, source: &Source, oids: &[u32]) -> Result<(), RunError> {
    const DOING: &str = "check the publication";
    const SQL: &str = "
        SELECT (NOT 'insert' = ANY ($2::text[]) OR pubinsert) AND (NOT 'update' = ANY ($2::text[]) OR pubupdate)
               AND (NOT 'delete' = ANY ($2::text[]) OR pubdelete)
               AND (NOT 'truncate' = ANY ($2::text[]) OR pubtruncate) AND NOT puballtables
               AND coalesce(to_jsonb(p) ->> 'pubviaroot', 'false') = 'false'
               AND coalesce(to_jsonb(p) ->> 'pubgencols', 's') = 's' AS intact
        FROM pg_publication AS p WHERE pubname = $1";
    const REMEDY: &str = "Changes in between were not captured. Release the task and start it again.";
    let publication = &source.publication;
    let version = client.server().await.during(DOING)?.version;
    let operations = source.carried.by_any().published(version);
    let row = client.query_opt(SQL, &[&publication.as_str(), &operations]).await.during(DOING)?;
    let Some(row) = row else {
        return Err(RunError::definite(format!("the publication {publication} was dropped"), REMEDY));
    };
    if !row.try_get::<_, bool>("intact").during(DOING)? {
        return Err(RunError::definite(
            format!("the options of publication {publication} were changed"),
            REMEDY,
        ));
    }
    let members = members(client, source).await.during(DOING)?;
    let members: HashSet<u32> = members.iter().map(|member| member.relation_id).collect();
    let structure = structure(client, source, oids).await.during(DOING)?;
    let missing = |oid: &&u32| !members.contains(oid) && !structure.contains(oid);
    for missing in listed(client, source, oids).await?.iter().filter(missing) {
        // Otherwise it was dropped.
        if let Some((relation, _)) = identity::current(client, *missing).await.during(DOING)? {
            let cause = format!("table {} was removed from publication {publication}", relation.name);
            return Err(RunError::definite(cause, REMEDY));
        }
    }
    Ok(())
}

/// Those of the tables that are never listed: partitioned tables that keep their structure.
async fn structure(client: &Client, source: &Source, oids: &[u32]) -> Result<HashSet<u32>, Error> {
    const SQL: &str = "SELECT oid FROM pg_class WHERE relkind = 'p' AND oid = ANY ($1::oid[])";
    if !source.keeps_partitions {
        return Ok(HashSet::new());
    }
    client.query(SQL, &[&oids]).await?.iter().map(|row| Ok(row.try_get("oid")?)).collect()
}

/// What the publication lists of these tables: themselves, or the leaves that the record has of them.
async fn listed(client: &Client, source: &Source, oids: &[u32]) -> Result<Vec<u32>, RunError> {
    const DOING: &str = "check the publication";
    if client.server().await.during(DOING)?.version.publishes_partitioned_tables() {
        return Ok(oids.to_vec());
    }
    let record = Record::read(client, &source.publication).await.during(DOING)?;
    let (record, _) = record.unwrap_or_default();
    let present = |leaves: &[LeafRecord]| {
        leaves.iter().filter(|leaf| !leaf.gone).map(|leaf| leaf.relation_id).collect()
    };
    let listed = |oid: &u32| record.leaves.get(oid).map_or(vec![*oid], |leaves| present(leaves));
    Ok(oids.iter().flat_map(listed).collect())
}
