//! How a table is split into chunks.
//!
//! By ranges of heap pages, so that a chunk is a TID range scan and costs what it reads; before PostgreSQL 14, which has no
//! such scan and would read the whole table for each, and in the Greenplum family, where each segment has pages of its own, a
//! relation is one chunk. The last chunk of a relation is
//! open-ended, so rows on pages that were added after the plan was made are not left out. A plan belongs to one
//! generation of its table: the numbers in the ledger mean its ranges.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_postgres::{Client, quote};
use strait_proto::v1;

use crate::error::{During, RunError};
use crate::mapping::{Mapped, inputs};
use crate::rows::{Filter, ROW_ALIAS, RowRules};
use crate::transform::{Input, TransformText};

/// What a chunk should hold: much more than its overhead, much less than a person would want to repeat.
const CHUNK_BYTES: u64 = 64 << 20;
/// Even where nearly all of a table is TOAST, a chunk has some pages.
const CHUNK_PAGES_MIN: u64 = 64;

/// The chunks of one generation of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TablePlan {
    pub(crate) generation: u32,
    /// What is copied, in this order: all columns that are carried but the generated ones.
    pub(crate) columns: Vec<CopiedColumn>,
    /// The table, or the leaves that it is made of.
    pub(crate) relations: Vec<PlannedRelation>,
    /// Chunk numbers are positions in this.
    pub(crate) chunks: Vec<Chunk>,
    /// The rows that are copied; None: all.
    pub(crate) filter: Option<Arc<Filter>>,
    /// What becomes of them; None: they stay as they are.
    pub(crate) transform: Option<CopyRules>,
}

/// The rules for rows that are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyRules {
    pub(crate) text: Arc<TransformText>,
    /// The columns that are read for them, whether they are carried or not.
    pub(crate) inputs: Vec<Input>,
}

/// A column that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopiedColumn {
    pub(crate) source: String,
    /// Its name at the destination.
    pub(crate) target: String,
}

/// A relation with rows of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedRelation {
    pub(crate) relation_id: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
}

/// A range of heap pages of one relation; None is the beginning or the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Position in the plan's relations.
    pub(crate) relation: usize,
    pub(crate) from_page: Option<u64>,
    pub(crate) to_page: Option<u64>,
}

/// A relation's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    pages: u64,
    /// Heap and TOAST.
    bytes: u64,
    /// Whether a range of pages can be read without reading the rest.
    by_page: bool,
}

impl TablePlan {
    /// Stands for the plan of a table whose rows are all copied; its chunks are not needed any more.
    pub(crate) fn unknown(generation: u32) -> Self {
        Self {
            generation,
            columns: Vec::new(),
            relations: Vec::new(),
            chunks: Vec::new(),
            filter: None,
            transform: None,
        }
    }

    /// Takes over the names of the table as it stands now. False where the plan does not describe it any more: other columns,
    /// or other relations.
    pub(crate) fn refit(&mut self, table: &v1::Table, mapped: &Mapped) -> bool {
        let mut current = relations(table);
        let position = |oid| self.relations.iter().position(|planned| planned.relation_id == oid);
        // Chunks refer to relations by position, so the order stays that of the plan.
        current.sort_by_key(|relation| position(relation.relation_id));
        let oids =
            |relations: &[PlannedRelation]| relations.iter().map(|it| it.relation_id).collect::<Vec<_>>();
        let reads_alike =
            self.transform.as_ref().is_none_or(|rules| rules.inputs == rule_inputs(table, mapped));
        let fits = reads_alike
            && self.columns == copied_columns(table, mapped)
            && oids(&self.relations) == oids(&current);
        if fits {
            self.relations = current;
        }
        fits
    }

    /// What reads a chunk. A whole relation without a query: nothing plans it, so that functions of its indexes which find what
    /// they call by the application's own search path do not matter, as to `pg_dump`.
    pub(crate) fn copy_sql(&self, chunk: Chunk) -> String {
        let relation = &self.relations[chunk.relation];
        let columns: Vec<String> = match &self.transform {
            Some(rules) => rules.inputs.iter().map(|it| quote::identifier(&it.name)).collect(),
            None => self.columns.iter().map(|it| quote::identifier(&it.source)).collect(),
        };
        let from = chunk.from_page.map(|page| format!("ctid >= '({page},0)'"));
        let to = chunk.to_page.map(|page| format!("ctid < '({page},0)'"));
        let filter = self.filter.as_ref().map(|filter| filter.sql());
        let alias = if filter.is_some() { format!(" AS {ROW_ALIAS}") } else { String::new() };
        let conditions: Vec<String> = from.into_iter().chain(to).chain(filter).collect();
        let (columns, relation) = (columns.join(", "), relation.sql());
        if conditions.is_empty() && !columns.is_empty() {
            return format!("COPY {relation} ({columns}) TO STDOUT");
        }
        let condition = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        format!("COPY (SELECT {columns} FROM ONLY {relation}{alias}{condition}) TO STDOUT")
    }
}

impl PlannedRelation {
    /// Qualified and quoted.
    pub(crate) fn sql(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }
}

/// Plans tables that were just begun, under the snapshot that they are copied from or later.
pub(crate) async fn plan_tables(
    client: &Client,
    tables: &[&v1::Table],
    mapped: &Mapped,
    generations: &BTreeMap<u32, u32>,
    rules: &RowRules,
) -> Result<BTreeMap<u32, TablePlan>, RunError> {
    let oids: Vec<u32> =
        tables.iter().flat_map(|table| relations(table)).map(|relation| relation.relation_id).collect();
    let (sizes, page_bytes) = sizes(client, &oids).await?;
    let plan = |table: &v1::Table| {
        let relations = relations(table);
        let chunks = relations.iter().enumerate().flat_map(|(relation, planned)| {
            let size = sizes.get(&planned.relation_id).copied().unwrap_or_default();
            split(relation, size, page_bytes)
        });
        TablePlan {
            generation: generations.get(&table.table_id).copied().unwrap_or_default(),
            columns: copied_columns(table, mapped),
            chunks: chunks.collect(),
            filter: rules.filter(table.table_id).cloned(),
            transform: rules
                .transform(table.table_id)
                .map(|text| CopyRules { text: Arc::clone(text), inputs: rule_inputs(table, mapped) }),
            relations,
        }
    };
    Ok(tables.iter().map(|table| (table.table_id, plan(table))).collect())
}

/// The columns of a table whose values are copied.
pub(crate) fn copied_columns(table: &v1::Table, mapped: &Mapped) -> Vec<CopiedColumn> {
    let written = table.columns.iter().filter(|column| column.generated.is_none());
    let target = |name: &str| match mapped.table(table.table_id) {
        Some(map) => map.columns.target(name),
        None => Some(name.to_owned()),
    };
    let copied = |column: &v1::Column| {
        Some(CopiedColumn { target: target(&column.name)?, source: column.name.clone() })
    };
    let added = mapped.table(table.table_id).into_iter().flat_map(|map| {
        map.added.iter().filter_map(|added| {
            Some(CopiedColumn { target: map.columns.target(&added.name)?, source: added.name.clone() })
        })
    });
    written.filter_map(copied).chain(added).collect()
}

fn rule_inputs(table: &v1::Table, mapped: &Mapped) -> Vec<Input> {
    mapped.table(table.table_id).map(|map| inputs(table, &map.columns)).unwrap_or_default()
}

fn relations(table: &v1::Table) -> Vec<PlannedRelation> {
    let planned = |relation_id, schema: &str, name: &str| PlannedRelation {
        relation_id,
        schema: schema.to_owned(),
        name: name.to_owned(),
    };
    if table.partitioned {
        table.leaves.iter().map(|leaf| planned(leaf.relation_id, &leaf.schema, &leaf.name)).collect()
    } else {
        vec![planned(table.table_id, &table.schema, &table.name)]
    }
}

async fn sizes(client: &Client, oids: &[u32]) -> Result<(BTreeMap<u32, Size>, u64), RunError> {
    const DOING: &str = "measure the tables";
    // NULL for a table that is dropped meanwhile.
    const SQL: &str = "
        SELECT c.oid, coalesce(pg_relation_size(c.oid), 0) AS heap, coalesce(pg_table_size(c.oid), 0) AS bytes,
               coalesce(a.amname = 'heap', false) AND current_setting('server_version_num')::int >= 140000
                   AND to_regclass('pg_catalog.gp_distribution_policy') IS NULL AS by_page,
               current_setting('block_size')::int8 AS page
        FROM pg_class AS c LEFT JOIN pg_am AS a ON a.oid = c.relam
        WHERE c.oid = ANY ($1::oid[])";
    let mut sizes = BTreeMap::new();
    let mut page_bytes = 8192;
    for row in client.query(SQL, &[&oids]).await.during(DOING)? {
        let number = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs).during(DOING);
        page_bytes = number("page")?.max(1);
        let size = Size {
            pages: number("heap")?.div_ceil(page_bytes),
            bytes: number("bytes")?,
            by_page: row.try_get("by_page").during(DOING)?,
        };
        sizes.insert(row.try_get("oid").during(DOING)?, size);
    }
    Ok((sizes, page_bytes))
}

/// Splits one relation. There is always one chunk, because pages may have come since it was measured.
fn split(relation: usize, size: Size, page_bytes: u64) -> Vec<Chunk> {
    if !size.by_page {
        return vec![Chunk { relation, from_page: None, to_page: None }];
    }
    let pages = chunk_pages(size, page_bytes);
    let count = size.pages.div_ceil(pages).max(1);
    (0..count)
        .map(|number| Chunk {
            relation,
            from_page: (number > 0).then_some(number * pages),
            to_page: (number + 1 < count).then_some((number + 1) * pages),
        })
        .collect()
}

/// Pages of one chunk: fewer where rows have much of their size in TOAST.
fn chunk_pages(size: Size, page_bytes: u64) -> u64 {
    let pages = CHUNK_BYTES / page_bytes;
    let heap_bytes = (size.pages * page_bytes).max(1);
    let scaled = u128::from(pages) * u128::from(heap_bytes) / u128::from(size.bytes.max(heap_bytes));
    u64::try_from(scaled).unwrap_or(pages).max(CHUNK_PAGES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 8192;

    fn heap(pages: u64, bytes: u64) -> Size {
        Size { pages, bytes, by_page: true }
    }

    #[test]
    fn chunks_cover_every_page_once_and_the_last_one_is_open() {
        for pages in [0, 1, 8191, 8192, 8193, 16_384, 16_385, 1_000_000] {
            let chunks = split(0, heap(pages, pages * PAGE), PAGE);
            let (first, last) = (chunks[0], chunks[chunks.len() - 1]);
            assert_eq!((first.from_page, last.to_page), (None, None), "{pages}");
            for pair in chunks.windows(2) {
                assert!(pair[0].to_page.is_some());
                assert_eq!(pair[0].to_page, pair[1].from_page, "{pages}");
            }
        }
    }

    #[test]
    fn the_number_of_chunks_follows_heap_and_toast() {
        for (pages, bytes, chunks) in [
            (0, 0, 1),
            (8192, 8192 * PAGE, 1),
            (8193, 8193 * PAGE, 2),
            (81_920, 81_920 * PAGE, 10),
            // As much again in TOAST: half the pages a chunk.
            (81_920, 2 * 81_920 * PAGE, 20),
            // Nearly everything is TOAST: never fewer than 64 pages a chunk.
            (128, 1 << 40, 2),
        ] {
            assert_eq!(split(0, heap(pages, bytes), PAGE).len(), chunks, "{pages} pages");
        }
        assert_eq!(split(0, Size { pages: 1 << 20, bytes: 1 << 33, by_page: false }, PAGE).len(), 1);
    }

    fn column(name: &str, generated: bool) -> v1::Column {
        let generated = generated.then(v1::GeneratedColumn::default);
        v1::Column { name: name.into(), generated, ..Default::default() }
    }

    fn table() -> v1::Table {
        v1::Table {
            table_id: 7,
            schema: "s".into(),
            name: "T".into(),
            columns: vec![column("a", false), column("g", true), column("b \"x\"", false)],
            ..Default::default()
        }
    }

    fn plan(table: &v1::Table) -> TablePlan {
        let columns = copied_columns(table, &Mapped::default());
        TablePlan { columns, relations: relations(table), ..TablePlan::unknown(1) }
    }

    #[test]
    fn chunks_are_read_without_generated_columns_and_without_children() {
        let copy = plan(&table());
        for (from_page, to_page, sql) in [
            (None, None, r#"COPY "s"."T" ("a", "b ""x""") TO STDOUT"#),
            (
                Some(5),
                Some(9),
                r#"COPY (SELECT "a", "b ""x""" FROM ONLY "s"."T" WHERE ctid >= '(5,0)' AND ctid < '(9,0)') TO STDOUT"#,
            ),
            (
                Some(9),
                None,
                r#"COPY (SELECT "a", "b ""x""" FROM ONLY "s"."T" WHERE ctid >= '(9,0)') TO STDOUT"#,
            ),
        ] {
            assert_eq!(copy.copy_sql(Chunk { relation: 0, from_page, to_page }), sql);
        }
    }

    #[test]
    fn only_the_rows_that_match_are_read() {
        let filter = Some(Arc::new(Filter::new("a > 0 OR a IS NULL".into())));
        let copy = TablePlan { filter, ..plan(&table()) };
        let sql = copy.copy_sql(Chunk { relation: 0, from_page: Some(5), to_page: None });
        let end = "FROM ONLY \"s\".\"T\" AS strait_row WHERE ctid >= '(5,0)' AND (\na > 0 OR a IS NULL\n)) TO STDOUT";
        assert!(sql.ends_with(end), "{sql}");
    }

    #[test]
    fn a_plan_fits_until_columns_or_partitions_change() {
        let leaf = |relation_id| v1::Leaf { relation_id, ..Default::default() };
        let flat = v1::Table { partitioned: true, leaves: vec![leaf(1), leaf(2)], ..table() };
        let mut copy = plan(&flat);
        assert!(
            copy.refit(&v1::Table { leaves: vec![leaf(2), leaf(1)], ..flat.clone() }, &Mapped::default())
        );
        assert_eq!(copy.relations.iter().map(|it| it.relation_id).collect::<Vec<_>>(), [1, 2]);
        for leaves in [vec![leaf(1)], vec![leaf(1), leaf(3)], vec![leaf(1), leaf(2), leaf(3)]] {
            assert!(!copy.refit(&v1::Table { leaves, ..flat.clone() }, &Mapped::default()));
        }

        let mut copy = plan(&table());
        assert!(copy.refit(&v1::Table { name: "renamed".into(), ..table() }, &Mapped::default()));
        assert_eq!(copy.relations[0].name, "renamed");
        let mut wider = table();
        wider.columns.push(column("c", false));
        assert!(!copy.refit(&wider, &Mapped::default()));
    }
}
