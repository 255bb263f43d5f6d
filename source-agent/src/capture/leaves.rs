//! Partitions that come and go under the flattened tables.
//!
//! Attaching a table sends nothing: the rows that it held before never reach the stream. So a leaf that the task does not
//! know counts as part of its table only if it was created there, and so began empty; any other ends the run, because
//! rows are missing at the destination. Leaves that go are kept in the record: older changes of theirs may still come.
//!
//! `pg_class` does not tell one from the other, because ATTACH updates that row too. `pg_attribute` does: the entries of
//! the system columns are written when a table is created and never again.

use std::collections::{BTreeMap, HashSet};

use strait_postgres::{Client, Error, catalog, quote};
use strait_proto::v1;

use super::locks::{Ddl, with_retry};
use super::record::{LeafRecord, Record};
use crate::error::{During, RunError};
use crate::reporter::Reporter;
use crate::source::Source;

/// The leaves of the given partitioned tables as they stand now.
const PRESENT: &str = "
    SELECT root.oid AS root, leaf.relid::oid AS oid
    FROM unnest($1::oid[]) AS root(oid)
    JOIN pg_class AS r ON r.oid = root.oid AND r.relkind = 'p'
    CROSS JOIN LATERAL pg_partition_tree(root.oid) AS leaf
    JOIN pg_class AS c ON c.oid = leaf.relid
    WHERE leaf.isleaf AND c.relkind = 'r'";

/// Whether a leaf, and everything between it and the given root, was created in its place: the transaction that wrote
/// the table's first catalog entries is the one that made it a partition.
const CREATED_IN_PLACE: &str = "
    SELECT coalesce(bool_and(a.xmin = i.xmin), false) AS created
    FROM pg_partition_ancestors($1::oid) AS path
    JOIN pg_inherits AS i ON i.inhrelid = path.relid
    JOIN pg_attribute AS a ON a.attrelid = path.relid AND a.attnum = -1
    WHERE path.relid <> $2::oid";

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
        }
    }

    /// The flattened tables and their leaves, those that went included.
    pub(crate) fn known(&self) -> &BTreeMap<u32, Vec<LeafRecord>> {
        &self.known
    }

    /// The flattened tables.
    pub(crate) fn roots(&self) -> Vec<u32> {
        self.known.keys().copied().collect()
    }

    /// The table that a relation is a leaf of, if it is one of these.
    pub(crate) fn table_of(&self, relation_id: u32) -> Option<(u32, &LeafRecord)> {
        self.known.iter().find_map(|(table, leaves)| {
            let leaf = leaves.iter().find(|leaf| leaf.relation_id == relation_id)?;
            Some((*table, leaf))
        })
    }

    /// Compares what is known with what there is: adopts leaves that were created, marks those that went, and fails where
    /// one was attached. Changes are recorded and told.
    pub(crate) async fn refresh(&mut self, client: &Client, reporter: &Reporter) -> Result<(), RunError> {
        if self.known.is_empty() {
            return Ok(());
        }
        let present = self.present(client, &self.roots()).await?;
        let adopted = self.adopt(client, &present).await?;
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
        let mut present = self.present(client, &[table]).await?.remove(&table).unwrap_or_default();
        present.retain(|oid| !self.excluded.contains(oid));
        let known = self.known.get(&table).map_or(&[][..], Vec::as_slice);
        let same = present.len() == known.len()
            && known.iter().all(|leaf| !leaf.gone && present.contains(&leaf.relation_id));
        Ok(same)
    }

    async fn present(&self, client: &Client, tables: &[u32]) -> Result<BTreeMap<u32, Vec<u32>>, RunError> {
        const DOING: &str = "look at the partitions";
        let mut present: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for row in client.query(PRESENT, &[&tables]).await.during(DOING)? {
            let (root, oid) = (row.try_get("root").during(DOING)?, row.try_get("oid").during(DOING)?);
            present.entry(root).or_default().push(oid);
        }
        Ok(present)
    }

    /// Adopts the leaves that are new, and says their names.
    async fn adopt(
        &mut self,
        client: &Client,
        present: &BTreeMap<u32, Vec<u32>>,
    ) -> Result<Vec<String>, RunError> {
        let is_new = |oid: &u32| !self.excluded.contains(oid) && self.table_of(*oid).is_none();
        let new: Vec<(u32, u32)> = present
            .iter()
            .flat_map(|(table, oids)| oids.iter().filter(|oid| is_new(oid)).map(|oid| (*table, *oid)))
            .collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        // The model knows what the selection excludes, and the bounds.
        let model = catalog::load(client, &self.selection).await.during("read the catalog")?;
        let mut names = Vec::new();
        for (table, oid) in new {
            let in_model = model.tables.iter().filter(|it| it.table_id == table).flat_map(|it| &it.leaves);
            let Some(leaf) = in_model.into_iter().find(|leaf| leaf.relation_id == oid) else {
                self.excluded.insert(oid);
                continue;
            };
            let leaf = LeafRecord::from(leaf);
            require_created_in_place(client, &leaf, table).await?;
            names.push(format!("{}.{}", leaf.schema, leaf.name));
            self.known.entry(table).or_default().push(leaf);
        }
        Ok(names)
    }

    /// Marks the leaves that went, and says their names.
    fn mark_gone(&mut self, present: &BTreeMap<u32, Vec<u32>>) -> Vec<String> {
        let mut names = Vec::new();
        for (table, leaves) in &mut self.known {
            let oids = present.get(table).map_or(&[][..], Vec::as_slice);
            for leaf in leaves.iter_mut().filter(|leaf| !leaf.gone && !oids.contains(&leaf.relation_id)) {
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

/// Records the leaves of tables that begin: from here on they are known. `client` is for DDL alone.
pub(crate) async fn begin(client: &Client, source: &Source, tables: &[&v1::Table]) -> Result<(), RunError> {
    if tables.iter().all(|table| !table.partitioned) {
        return Ok(());
    }
    update(client, source, |record| tables.iter().for_each(|table| record.set_leaves(table))).await
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
    if created && !holds_older_rows(client, leaf).await.during(DOING)? {
        return Ok(());
    }
    let cause = format!(
        "table {}.{} was attached as a partition while the task ran: rows that it held before are not at the destination",
        leaf.schema, leaf.name
    );
    let remedy = "Release the task and start it again: it copies the table with all its partitions. A partition made by \
                  CREATE TABLE … PARTITION OF … joins in without that.";
    Err(RunError::definite(cause, remedy))
}

/// Whether the transaction that created the table also filled it before it attached it.
async fn holds_older_rows(client: &Client, leaf: &LeafRecord) -> Result<bool, Error> {
    let table = quote::qualified(&leaf.schema, &leaf.name);
    let sql = format!(
        "SELECT EXISTS (SELECT FROM ONLY {table} AS r, pg_inherits AS i
                        WHERE i.inhrelid = $1 AND r.xmin = i.xmin AND r.cmin::text::int8 < i.cmin::text::int8)"
    );
    Ok(client.query_one(&sql, &[&leaf.relation_id]).await?.try_get(0)?)
}
