//! Partitions that come and go under the flattened tables.
//!
//! Attaching a table sends nothing: the rows that it held before never reach the stream. So a leaf that the task does not
//! know counts as part of its table only if it was created there, and so began empty; with any other the table begins
//! over, because rows are missing at the destination. Leaves that go are kept in the record: older changes of theirs may still come.
//!
//! `pg_class` does not tell one from the other, because ATTACH updates that row too. `pg_attribute` does: the entries of
//! the system columns are written when a table is created and never again.

use std::collections::{BTreeMap, HashSet};

use strait_postgres::{Client, Error, catalog, quote};
use strait_proto::v1;

use super::locks::{Ddl, with_retry};
use super::publication;
use super::record::{LeafRecord, Record};
use crate::error::{During, RunError};
use crate::reporter::Reporter;
use crate::rows::RowRules;
use crate::source::Source;

/// The leaves of the given partitioned tables as they stand now, with the transactions that made each, and everything
/// between it and its table, a partition.
const PRESENT: &str = "
    SELECT root.oid AS root, leaf.relid::oid AS oid,
           (SELECT string_agg(i.xmin::text, ',' ORDER BY path.position)
            FROM pg_partition_ancestors(leaf.relid) WITH ORDINALITY AS path(relid, position)
            JOIN pg_inherits AS i ON i.inhrelid = path.relid
            WHERE path.relid IN (SELECT relid FROM pg_partition_tree(root.oid)) AND path.relid <> root.oid) AS attached_by
    FROM unnest($1::oid[]) AS root(oid)
    JOIN pg_class AS r ON r.oid = root.oid AND r.relkind = 'p'
    CROSS JOIN LATERAL pg_partition_tree(root.oid) AS leaf
    JOIN pg_class AS c ON c.oid = leaf.relid
    WHERE leaf.isleaf AND c.relkind = 'r'";

/// Whether a leaf, and everything between it and the given table, was created in its place, and whether it has never held a
/// row since it got its storage.
///
/// CREATE TABLE … PARTITION OF writes the relation's first catalog entries and makes it a partition within one transaction,
/// two or three commands apart (PostgreSQL 12 to 18); CREATE TABLE and ATTACH are at least five apart, so that rows may have
/// come in between. They have not where the first place of the first page holds a row of that transaction that is younger than
/// the attachment. Other rows do not tell: one that was updated since looks like a later one.
const CREATED_IN_PLACE: &str = "
    SELECT coalesce(bool_and(a.xmin = i.xmin AND i.cmin::text::int8 - a.cmin::text::int8 BETWEEN 0 AND 3), false) AS created,
           coalesce(pg_relation_size($1::oid), 0) = 0 AS empty
    FROM pg_partition_ancestors($1::oid) AS path
    JOIN pg_inherits AS i ON i.inhrelid = path.relid
    JOIN pg_attribute AS a ON a.attrelid = path.relid AND a.attnum = -1
    WHERE path.relid IN (SELECT relid FROM pg_partition_tree($2::oid)) AND path.relid <> $2::oid";

/// Whether a leaf holds what no other partition takes, so that its bounds change with every new partition.
const IS_DEFAULT: &str = "
    SELECT coalesce(bool_or(pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'), true) AS is_default
    FROM pg_partition_ancestors($1::oid) AS path JOIN pg_class AS c ON c.oid = path.relid
    WHERE c.relispartition";

/// What a task knows of the leaves of its flattened tables, as the record at the source has it.
pub(crate) struct Leaves {
    source: Source,
    selection: v1::ObjectSelection,
    known: BTreeMap<u32, Vec<LeafRecord>>,
    /// Leaves that the selection leaves out.
    excluded: HashSet<u32>,
    rules: RowRules,
}

impl Leaves {
    /// The leaves of the tables with the given oids; a table without any in the record has none yet.
    pub(crate) fn new(
        source: &Source,
        selection: &v1::ObjectSelection,
        tables: impl Iterator<Item = u32>,
        record: &Record,
    ) -> Self {
        let known = tables.map(|table| (table, record.leaves.get(&table).cloned().unwrap_or_default()));
        Self {
            source: source.clone(),
            selection: selection.clone(),
            known: known.collect(),
            excluded: HashSet::new(),
            rules: RowRules::recorded(record),
        }
    }

    /// The flattened tables and their leaves, those that went included.
    pub(crate) fn known(&self) -> &BTreeMap<u32, Vec<LeafRecord>> {
        &self.known
    }

    /// Whether the selection leaves a leaf out.
    pub(crate) fn is_excluded(&self, relation_id: u32) -> bool {
        self.excluded.contains(&relation_id)
    }

    /// The table that a relation is a leaf of, if it is one of these.
    pub(crate) fn table_of(&self, relation_id: u32) -> Option<(u32, &LeafRecord)> {
        self.known.iter().find_map(|(table, leaves)| {
            let leaf = leaves.iter().find(|leaf| leaf.relation_id == relation_id)?;
            Some((*table, leaf))
        })
    }

    /// Whether a relation is published for this task and belongs to none of its tables: then it is one that joins it, or a
    /// leaf of one.
    pub(crate) async fn is_joining(&self, client: &Client, relation_id: u32) -> Result<bool, RunError> {
        const DOING: &str = "look whether a table joins the task";
        const SQL: &str = "
            SELECT EXISTS (
                SELECT FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
                WHERE p.pubname = $1 AND r.prrelid <> ALL ($3::oid[])
                  AND (r.prrelid = $2 OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors($2::oid))))";
        if self.table_of(relation_id).is_some() {
            return Ok(false);
        }
        let flattened: Vec<u32> = self.known.keys().copied().collect();
        let publication = self.source.publication.as_str();
        let row = client.query_one(SQL, &[&publication, &relation_id, &flattened]).await.during(DOING)?;
        row.try_get(0).during(DOING)
    }

    /// Compares what is known with what there is: adopts leaves that were created, marks those that went, and fails with
    /// [`RunError::BeginOver`] where one was attached. Changes are recorded and told.
    pub(crate) async fn refresh(&mut self, client: &Client, reporter: &Reporter) -> Result<(), RunError> {
        if self.known.is_empty() {
            return Ok(());
        }
        let tables: Vec<u32> = self.known.keys().copied().collect();
        let present = present(client, &tables).await?;
        self.require_never_detached(&present)?;
        let adopted = self.adopt(client, &present, reporter).await?;
        let gone = self.mark_gone(&present);
        if adopted.is_empty() && gone.is_empty() {
            return Ok(());
        }
        self.save().await?;
        for name in adopted {
            reporter.notice(format!("new partition {name} joins in")).await;
        }
        for name in gone {
            let went = "was detached or dropped at the source: its rows stay at the destination";
            reporter.notice(format!("partition {name} {went}")).await;
        }
        Ok(())
    }

    /// Whether a truncated leaf's recorded bounds are those of that moment: a default partition's shrink with every new
    /// partition, so they are certain only while the set of leaves is the recorded one.
    pub(crate) async fn bounds_are_certain(
        &self,
        client: &Client,
        table: u32,
        relation_id: u32,
    ) -> Result<bool, RunError> {
        const DOING: &str = "check a partition's bounds";
        let row = client.query_one(IS_DEFAULT, &[&relation_id]).await.during(DOING)?;
        if !row.try_get::<_, bool>("is_default").during(DOING)? {
            return Ok(true);
        }
        let mut present = present(client, &[table]).await?;
        present.retain(|leaf| !self.excluded.contains(&leaf.oid));
        let known = self.known.get(&table).map_or(&[][..], Vec::as_slice);
        let is_present =
            |leaf: &LeafRecord| !leaf.gone && present.iter().any(|it| it.oid == leaf.relation_id);
        Ok(present.len() == known.len() && known.iter().all(is_present))
    }

    /// A leaf that was detached and attached again has changed unseen meanwhile.
    fn require_never_detached(&self, present: &[PresentLeaf]) -> Result<(), RunError> {
        for leaf in present {
            if let Some((table, known)) = self.table_of(leaf.oid)
                && (known.gone || known.attached_by != leaf.attached_by)
            {
                return Err(attached(table, known));
            }
        }
        Ok(())
    }

    /// Adopts the leaves that are new, and says their names.
    async fn adopt(
        &mut self,
        client: &Client,
        present: &[PresentLeaf],
        reporter: &Reporter,
    ) -> Result<Vec<String>, RunError> {
        let is_new = |leaf: &&PresentLeaf| !self.is_excluded(leaf.oid) && self.table_of(leaf.oid).is_none();
        let new: Vec<PresentLeaf> = present.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        // The model knows what the selection excludes, and the bounds. Its transaction is rolled back in the end: on the shared
        // connection that would take heartbeats back that are written meanwhile.
        let own = self.source.connect().await.during("connect to read the catalog")?;
        let model = catalog::load(&own, &self.selection).await.during("read the catalog")?;
        let mut names = Vec::new();
        for found in new {
            let table = model.tables.iter().find(|table| table.table_id == found.table);
            let leaf = table.and_then(|table| table.leaves.iter().find(|leaf| leaf.relation_id == found.oid));
            let Some(leaf) = leaf else {
                self.excluded.insert(found.oid);
                continue;
            };
            let leaf = LeafRecord { attached_by: found.attached_by, ..LeafRecord::from(leaf) };
            require_created_in_place(client, &leaf, found.table).await?;
            let rules = self.rules.of_leaf(found.table, leaf.relation_id);
            if !publication::add_leaf(client, &self.source, &leaf, &rules, reporter).await? {
                return Err(filled(found.table, &leaf));
            }
            names.push(format!("{}.{}", leaf.schema, leaf.name));
            self.known.entry(found.table).or_default().push(leaf);
        }
        Ok(names)
    }

    /// Marks the leaves that went, and says their names.
    fn mark_gone(&mut self, present: &[PresentLeaf]) -> Vec<String> {
        let present: HashSet<u32> = present.iter().map(|leaf| leaf.oid).collect();
        let mut names = Vec::new();
        for leaf in self.known.values_mut().flatten() {
            if !leaf.gone && !present.contains(&leaf.relation_id) {
                leaf.gone = true;
                names.push(format!("{}.{}", leaf.schema, leaf.name));
            }
        }
        names
    }

    /// Writes what is known into the publication's comment, on a connection of its own.
    async fn save(&self) -> Result<(), RunError> {
        const DOING: &str = "record the partitions";
        let client = self.source.connect().await.during(DOING)?;
        update(&client, &self.source, |record| record.leaves.extend(self.known.clone())).await
    }
}

/// A leaf of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PresentLeaf {
    table: u32,
    oid: u32,
    attached_by: String,
}

/// The leaves of partitioned tables as they stand now.
pub(crate) async fn present(client: &Client, tables: &[u32]) -> Result<Vec<PresentLeaf>, RunError> {
    const DOING: &str = "look at the partitions";
    let rows = client.query(PRESENT, &[&tables]).await.during(DOING)?;
    let leaf = |row: &tokio_postgres::Row| {
        Ok(PresentLeaf {
            table: row.try_get("root")?,
            oid: row.try_get("oid")?,
            attached_by: row.try_get::<_, Option<String>>("attached_by")?.unwrap_or_default(),
        })
    };
    let mut leaves: Vec<PresentLeaf> = rows.iter().map(leaf).collect::<Result<_, Error>>().during(DOING)?;
    leaves.sort();
    Ok(leaves)
}

/// Records the leaves and the conditions of tables that begin: from here on they are known. `before` is what was present before the slot was
/// created; where it differs from now, something was attached in between. `client` is for DDL alone.
pub(crate) async fn begin(
    client: &Client,
    source: &Source,
    tables: &[&v1::Table],
    before: &[PresentLeaf],
    rules: &RowRules,
) -> Result<(), RunError> {
    let oids: Vec<u32> = tables.iter().map(|table| table.table_id).collect();
    if present(client, &oids).await? != before {
        return Err(RunError::transient("partitions changed while the tables began: starting over"));
    }
    let record = |leaf: &v1::Leaf| {
        let present = before.iter().find(|present| present.oid == leaf.relation_id);
        let attached_by = present.map(|present| present.attached_by.clone()).unwrap_or_default();
        LeafRecord { attached_by, ..LeafRecord::from(leaf) }
    };
    let partitioned = tables.iter().filter(|table| table.is_flattened());
    let leaves: BTreeMap<u32, Vec<LeafRecord>> =
        partitioned.map(|table| (table.table_id, table.leaves.iter().map(record).collect())).collect();
    let filters = tables.iter().filter_map(|table| Some((table.table_id, rules.filter(table.table_id)?)));
    let filters: BTreeMap<u32, String> =
        filters.map(|(table_id, filter)| (table_id, filter.condition().to_owned())).collect();
    let transforms = tables
        .iter()
        .filter_map(|table| Some((table.table_id, rules.transform(table.table_id)?.as_ref().clone())));
    extend(client, source, Record::of_rows(leaves, filters, transforms.collect())).await
}

/// Copies what one source's record says of partitions and rows into that of another.
pub(crate) async fn hand_over(client: &Client, from: &Source, to: &Source) -> Result<(), RunError> {
    let record = Record::read(client, &from.publication).await.during("read the record of the partitions")?;
    extend(client, to, record.unwrap_or_default().0).await
}

/// Adds what a record says of partitions and rows to a source's own.
async fn extend(client: &Client, source: &Source, with: Record) -> Result<(), RunError> {
    let Record { leaves, filters, transforms, .. } = with;
    if leaves.is_empty() && filters.is_empty() && transforms.is_empty() {
        return Ok(());
    }
    update(client, source, |record| {
        record.leaves.extend(leaves.clone());
        record.filters.extend(filters.clone());
        record.transforms.extend(transforms.clone());
    })
    .await
}

async fn update(client: &Client, source: &Source, change: impl Fn(&mut Record)) -> Result<(), RunError> {
    with_retry(client, "record the partitions", || async {
        let ddl = Ddl::begin(client).await?;
        let (mut record, _) = Record::read(ddl.client(), &source.publication).await?.unwrap_or_default();
        change(&mut record);
        ddl.execute(&record.write_sql(&source.publication)?).await?;
        ddl.commit().await
    })
    .await
}

async fn require_created_in_place(client: &Client, leaf: &LeafRecord, root: u32) -> Result<(), RunError> {
    const DOING: &str = "check how a partition came about";
    let row = client.query_one(CREATED_IN_PLACE, &[&leaf.relation_id, &root]).await.during(DOING)?;
    let created: bool = row.try_get("created").during(DOING)?;
    if created || row.try_get("empty").during(DOING)? {
        return Ok(());
    }
    let table = quote::qualified(&leaf.schema, &leaf.name);
    let first_came_later = format!(
        "SELECT EXISTS (
             SELECT FROM ONLY {table} AS r
             WHERE r.ctid = '(0,1)' AND NOT EXISTS (
                 SELECT FROM pg_partition_ancestors($1::oid) AS path JOIN pg_inherits AS i ON i.inhrelid = path.relid
                 WHERE path.relid IN (SELECT relid FROM pg_partition_tree($2::oid)) AND path.relid <> $2::oid
                   AND NOT (i.xmin = r.xmin AND i.cmin::text::int8 <= r.cmin::text::int8)))"
    );
    let row = client.query_one(&first_came_later, &[&leaf.relation_id, &root]).await.during(DOING)?;
    if row.try_get(0).during(DOING)? {
        return Ok(());
    }
    Err(attached(root, leaf))
}

fn attached(table_id: u32, leaf: &LeafRecord) -> RunError {
    let reason = format!(
        "table {}.{} was attached as a partition while the task ran, and the rows that it had before do not come as changes",
        leaf.schema, leaf.name
    );
    RunError::BeginOver { table_id, reason }
}

fn filled(table_id: u32, leaf: &LeafRecord) -> RunError {
    let reason = format!(
        "partition {}.{} was filled before it could be published, and PostgreSQL 12 captures a partition's changes only \
         from then on",
        leaf.schema, leaf.name
    );
    RunError::BeginOver { table_id, reason }
}
