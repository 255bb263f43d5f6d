//! What ties rows of the destination together: unique values, and foreign keys to them.
//!
//! Two texts stand for one value only where the destination's type says so (1.0 and 1.00, citext, a collation of its own).
//! Rows of a table with such a key cannot be told apart by bytes: the table is *serial*, all of it goes one way.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use strait_postgres::Client;
use strait_proto::v1::TableName;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::target::Target;
use super::fingerprint::Fnv;
use crate::error::{Context as _, Error};

/// What is known of the tables that the stream has named.
#[derive(Debug, Default)]
pub(super) struct Keys {
    tables: HashMap<TableName, TableKeys>,
}

/// The keys of one table.
#[derive(Debug)]
pub(super) struct TableKeys {
    /// Whose columns the positions mean.
    pub(super) target: Arc<Target>,
    /// A key of it cannot be told by its bytes.
    pub(super) serial: bool,
    /// Of every unique index that there is.
    pub(super) unique: Vec<Key>,
    pub(super) references: Vec<Reference>,
}

/// Columns whose values together name something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Of the table and columns that are named: the same for a unique key and for a foreign key to it.
    pub(super) id: u64,
    /// Positions in the target's columns, in the order of the names of the columns that are named.
    pub(super) columns: Vec<usize>,
    /// NULL is a value like others: UNIQUE NULLS NOT DISTINCT.
    pub(super) nulls_equal: bool,
}

/// A foreign key, from the side of the table that has it.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) parent: TableName,
    pub(super) key: Key,
    /// Its values cannot be told by their bytes: neither can the parent's.
    pub(super) serial: bool,
}

/// Whether equal values of column `a` have equal bytes as text; `t` is its type, `b` the type under its domain.
const BY_BYTES_SQL: &str = "(coalesce(b.oid, t.oid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype,
            'uuid'::regtype, 'bool'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype,
            'bytea'::regtype, 'text'::regtype, 'varchar'::regtype, 'name'::regtype)
         OR coalesce(b.typtype, t.typtype) = 'e')
        AND coalesce((SELECT c.collisdeterministic FROM pg_collation AS c WHERE c.oid = a.attcollation), true)";

/// Every unique index, partial and deferrable ones too, and exclusion constraints: whether its rows can be told apart by
/// the bytes of plain columns, and which. An index may have a collation and an equality of its own.
const UNIQUE_SQL: &str = "SELECT i.indexprs IS NULL AND NOT i.indisexclusion AND bool_and(coalesce(
               p.opcnamespace = 'pg_catalog'::regnamespace
           AND coalesce((SELECT c.collisdeterministic FROM pg_collation AS c WHERE c.oid = k.collated), true)
           AND {by_bytes}, false)),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       coalesce(array_agg(a.attname::text ORDER BY a.attname) FILTER (WHERE a.attname IS NOT NULL), '{}')
  FROM pg_index AS i
       JOIN pg_class AS r ON r.oid = i.indrelid
       JOIN pg_namespace AS n ON n.oid = r.relnamespace
       CROSS JOIN LATERAL unnest(i.indkey::smallint[], i.indclass::oid[], i.indcollation::oid[])
           WITH ORDINALITY AS k (attnum, opclass, collated, place)
       LEFT JOIN pg_opclass AS p ON p.oid = k.opclass
       LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
       LEFT JOIN pg_type AS t ON t.oid = a.atttypid
       LEFT JOIN pg_type AS b ON b.oid = t.typbasetype
 WHERE n.nspname = $1 AND r.relname = $2
   AND (i.indisunique OR i.indisexclusion) AND k.place <= i.indnkeyatts
 GROUP BY i.indexrelid, i.indexprs IS NULL, i.indisexclusion, to_jsonb(i)
 ORDER BY i.indexrelid";

const REFERENCES_SQL: &str = "SELECT pn.nspname::text, p.relname::text, bool_and({by_bytes}),
       array_agg(a.attname::text ORDER BY o.attname), array_agg(o.attname::text ORDER BY o.attname)
  FROM pg_constraint AS f
       JOIN pg_class AS r ON r.oid = f.conrelid
       JOIN pg_namespace AS n ON n.oid = r.relnamespace
       JOIN pg_class AS p ON p.oid = f.confrelid
       JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
       CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS k (own, other)
       JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.own
       JOIN pg_attribute AS o ON o.attrelid = f.confrelid AND o.attnum = k.other
       JOIN pg_type AS t ON t.oid = a.atttypid
       LEFT JOIN pg_type AS b ON b.oid = t.typbasetype
 WHERE f.contype = 'f' AND n.nspname = $1 AND r.relname = $2
 GROUP BY f.oid, pn.nspname, p.relname
 ORDER BY f.oid";

impl Keys {
    /// Reads the keys of a table, or reads them again.
    pub(super) async fn learn(&mut self, client: &Client, target: &Arc<Target>) -> Result<(), Error> {
        let name = &target.name;
        let doing = || format!("read the keys of table {name}");
        let parameters = [(&name.schema as _, Type::TEXT), (&name.name as _, Type::TEXT)];
        let unique_sql = UNIQUE_SQL.replace("{by_bytes}", BY_BYTES_SQL);
        let unique = client.query_typed(&unique_sql, &parameters).await.context(doing())?;
        let references_sql = REFERENCES_SQL.replace("{by_bytes}", BY_BYTES_SQL);
        let references = client.query_typed(&references_sql, &parameters).await.context(doing())?;
        let mut keys = TableKeys::without_keys(target);
        for row in &unique {
            keys.add_unique(row.get(0), row.get(1), &row.get::<_, Vec<String>>(2));
        }
        for row in &references {
            keys.add_reference(row);
        }
        self.insert(keys);
        Ok(())
    }

    pub(super) fn insert(&mut self, keys: TableKeys) {
        self.tables.insert(keys.target.name.clone(), keys);
    }

    /// Those of a table whose shape is that of `target`; none where it had another shape when they were read.
    pub(super) fn of(&self, target: &Arc<Target>) -> Option<&TableKeys> {
        let keys = self.tables.get(&target.name)?;
        (Arc::ptr_eq(&keys.target, target) || keys.target == *target).then_some(keys)
    }

    /// The tables that cannot be told apart row by row.
    pub(super) fn serial(&self) -> HashSet<TableName> {
        let own = self.tables.iter().filter(|(_, keys)| keys.serial).map(|(name, _)| name.clone());
        let parents = self.tables.values().flat_map(|keys| &keys.references);
        own.chain(parents.filter(|reference| reference.serial).map(|reference| reference.parent.clone()))
            .collect()
    }
}

impl TableKeys {
    pub(super) fn without_keys(target: &Arc<Target>) -> Self {
        Self { target: Arc::clone(target), serial: false, unique: Vec::new(), references: Vec::new() }
    }

    fn add_unique(&mut self, by_bytes: bool, nulls_equal: bool, columns: &[String]) {
        let name = self.target.name.clone();
        match self.positions(columns).filter(|_| by_bytes) {
            Some(positions) => {
                self.unique.push(Key { id: key_id(&name, columns), columns: positions, nulls_equal });
            }
            None => self.serial = true,
        }
    }

    fn add_reference(&mut self, row: &Row) {
        let parent = TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1));
        let own: Vec<String> = row.get(3);
        let others: Vec<String> = row.get(4);
        // A column that appeared after the table's shape was read is none that we write yet.
        let Some(columns) = self.positions(&own) else { return };
        let key = Key { id: key_id(&parent, &others), columns, nulls_equal: false };
        self.references.push(Reference { parent, key, serial: !row.get::<_, bool>(2) });
    }

    fn positions(&self, names: &[String]) -> Option<Vec<usize>> {
        let position = |name: &String| self.target.columns.iter().position(|column| column.name == *name);
        names.iter().map(position).collect()
    }
}

/// Of a table and some of its columns, which are in the order of their names.
pub(super) fn key_id(table: &TableName, columns: &[String]) -> u64 {
    let mut hash = Fnv::default();
    hash.part(table.schema.as_bytes());
    hash.part(table.name.as_bytes());
    for column in columns {
        hash.part(column.as_bytes());
    }
    hash.finish()
}
