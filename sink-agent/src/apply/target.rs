//! A table of the destination as its own catalogs describe it: what may be written, and by what a row is
//! found.

use strait_postgres::quote::{identifier, qualified};
use strait_postgres::{Client, Dialect, is_append_optimised};
use strait_proto::v1::TableName;
use tokio_postgres::types::Type;

use crate::error::{Context as _, Error};

/// A table that changes are applied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) oid: u32,
    pub(crate) name: TableName,
    /// Quoted and qualified.
    pub(crate) sql_name: String,
    /// A plain table; false: partitioned, so that its rows lie elsewhere.
    pub(crate) ordinary: bool,
    pub(crate) columns: Vec<TargetColumn>,
    /// Those that ON CONFLICT can name.
    pub(crate) unique: Vec<UniqueIndex>,
    /// How the Greenplum family spreads its rows; none on PostgreSQL.
    pub(crate) distribution: Option<Distribution>,
}

/// How the rows of a table lie on the segments of a server of the Greenplum family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// By these columns, positions in [`Target::columns`].
    Key(Vec<usize>),
    Random,
    /// Each segment has all of them.
    Replicated,
}

/// A column of such a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetColumn {
    pub(crate) name: String,
    /// Quoted.
    pub(crate) sql_name: String,
    /// Its type without the modifier, to which a text is cast. The modifier is left to the assignment, which
    /// raises where a cast would cut the value off.
    pub(crate) sql_type: String,
    /// The server computes it: never written.
    pub(crate) generated: bool,
    /// GENERATED ALWAYS AS IDENTITY: UPDATE cannot set it.
    pub(crate) identity_always: bool,
    /// The equality that its type is sorted by, as `OPERATOR(schema.=)`; none for json and the like.
    pub(crate) equality: Option<String>,
}

/// A unique index that can stand for the rows: immediate, valid, over plain columns, of all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UniqueIndex {
    /// Positions in [`Target::columns`], in the order of the index.
    pub(crate) columns: Vec<usize>,
    /// The index' own equality of each column, as `OPERATOR(schema.=)`: the search path would choose another
    /// one for types of extensions.
    pub(crate) operators: Vec<String>,
    pub(crate) primary: bool,
    /// All its columns are NOT NULL.
    pub(crate) not_null: bool,
    /// UNIQUE NULLS NOT DISTINCT.
    pub(crate) nulls_equal: bool,
}

const TABLE_SQL: &str = "SELECT c.oid, c.relkind::text, coalesce(m.amname::text, '')
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
       LEFT JOIN pg_am AS m ON m.oid = c.relam
 WHERE n.nspname = $1 AND c.relname = $2";

/// Default operator classes are made for the type under a domain, for text instead of varchar, and for all arrays, enums and
/// ranges at once.
const COLUMNS_SQL: &str =
    "SELECT a.attname::text, format_type(a.atttypid, -1), a.attgenerated <> '', a.attidentity = 'a',
       (SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)
          FROM pg_opclass AS p
               JOIN pg_am AS m ON m.oid = p.opcmethod AND m.amname = 'btree'
               JOIN pg_amop AS q
                   ON q.amopfamily = p.opcfamily AND q.amopstrategy = 3
                  AND q.amoplefttype = p.opcintype AND q.amoprighttype = p.opcintype
               JOIN pg_operator AS o ON o.oid = q.amopopr
               JOIN pg_namespace AS s ON s.oid = o.oprnamespace
         WHERE p.opcdefault AND p.opcintype = CASE
                   WHEN b.oid = 'varchar'::regtype THEN 'text'::regtype
                   WHEN b.typtype = 'e' THEN 'anyenum'::regtype
                   WHEN b.typtype = 'r' THEN 'anyrange'::regtype
                   WHEN b.typlen = -1 AND b.typelem <> 0 THEN 'anyarray'::regtype
                   ELSE b.oid END
         LIMIT 1)
  FROM pg_attribute AS a
       JOIN pg_type AS t ON t.oid = a.atttypid
       JOIN pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum";

/// The equality of a btree index' column is strategy 3 of its operator family, for the type that its class
/// takes.
const UNIQUE_SQL: &str = "SELECT i.indisprimary,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       bool_and(a.attnotnull),
       array_agg(a.attname::text ORDER BY k.place),
       array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY k.place)
  FROM pg_index AS i
       JOIN pg_class AS c ON c.oid = i.indexrelid
       JOIN pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
       CROSS JOIN LATERAL unnest(i.indkey::smallint[], i.indclass::oid[])
           WITH ORDINALITY AS k (attnum, opclass, place)
       JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
       JOIN pg_opclass AS p ON p.oid = k.opclass
       JOIN pg_amop AS q
           ON q.amopfamily = p.opcfamily AND q.amopstrategy = 3
          AND q.amoplefttype = p.opcintype AND q.amoprighttype = p.opcintype
       JOIN pg_operator AS o ON o.oid = q.amopopr
       JOIN pg_namespace AS s ON s.oid = o.oprnamespace
 WHERE i.indrelid = $1
   AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
   AND k.place <= i.indnkeyatts
 GROUP BY i.indexrelid, i.indisprimary, to_jsonb(i)
HAVING count(*) = min(i.indnkeyatts)
 ORDER BY i.indisprimary DESC, i.indexrelid";

const DISTRIBUTION_SQL: &str = "SELECT p.policytype::text, ARRAY(
           SELECT a.attname::text
             FROM unnest(p.distkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
                  JOIN pg_attribute AS a ON a.attrelid = p.localoid AND a.attnum = k.attnum
            ORDER BY k.place)
  FROM pg_catalog.gp_distribution_policy AS p WHERE p.localoid = $1";

impl Target {
    /// Reads the table from the catalogs.
    ///
    /// # Errors
    /// A definite one when there is no such table.
    pub(crate) async fn load(client: &Client, name: &TableName) -> Result<Self, Error> {
        let doing = || format!("read the shape of table {name}");
        let key = [(&name.schema as _, Type::TEXT), (&name.name as _, Type::TEXT)];
        let table = client.query_typed_opt(TABLE_SQL, &key).await.context(doing())?;
        let Some(table) = table else { return Err(missing(name)) };
        let (oid, kind, access_method): (u32, &str, &str) = (table.get(0), table.get(1), table.get(2));
        if !matches!(kind, "r" | "p") {
            return Err(Error::refused(
                format!("{name} at the destination is not a table that can be written"),
                format!("Rename what stands there and create table {}.", qualified(&name.schema, &name.name)),
            ));
        }
        let key = [(&oid as _, Type::OID)];
        let columns = client.query_typed(COLUMNS_SQL, &key).await.context(doing())?;
        let columns: Vec<TargetColumn> = columns
            .iter()
            .map(|row| TargetColumn {
                name: row.get(0),
                sql_name: identifier(row.get(0)),
                sql_type: row.get(1),
                generated: row.get(2),
                identity_always: row.get(3),
                equality: row.get(4),
            })
            .collect();
        let position = |name: &String| columns.iter().position(|column| column.name == *name);
        let unique = client.query_typed(UNIQUE_SQL, &key).await.context(doing())?;
        let unique: Vec<UniqueIndex> = unique
            .iter()
            .filter_map(|row| {
                // A column that appeared between the two queries is none that we write yet.
                let index_columns =
                    row.get::<_, Vec<String>>(3).iter().map(position).collect::<Option<_>>()?;
                Some(UniqueIndex {
                    columns: index_columns,
                    operators: row.get(4),
                    primary: row.get(0),
                    not_null: row.get(2),
                    nulls_equal: row.get(1),
                })
            })
            .collect();
        let server = client.server().await.context(doing())?;
        let distribution = match server.dialect {
            Dialect::PostgreSql => None,
            Dialect::Greenplum => {
                let policy = client.query_typed_opt(DISTRIBUTION_SQL, &key).await.context(doing())?;
                Some(policy.map_or(Distribution::Random, |row| distribution(&row, &columns)))
            }
        };
        // ON CONFLICT is refused there even where a version has unique indexes.
        let has_on_conflict = !is_append_optimised(access_method);
        Ok(Self {
            oid,
            name: name.clone(),
            sql_name: qualified(&name.schema, &name.name),
            ordinary: kind == "r",
            columns,
            unique: if has_on_conflict { unique } else { Vec::new() },
            distribution,
        })
    }

    /// Whether rows of a table of the family have to be deleted and inserted to set these columns. UPDATE of a distribution key
    /// is refused where the table has triggers, and one statement cannot do both there.
    pub(crate) fn rewrites(&self, set: &[usize]) -> bool {
        let is_key = |column: &usize| matches!(&self.distribution, Some(Distribution::Key(key)) if key.contains(column));
        self.distribution.is_some()
            && set.iter().any(|column| is_key(column) || self.columns[*column].identity_always)
    }

    /// The table in a FROM, UPDATE or DELETE: children of plain inheritance have their own rows and
    /// relations.
    pub(crate) fn only(&self) -> String {
        if self.ordinary { format!("ONLY {}", self.sql_name) } else { self.sql_name.clone() }
    }
}

fn distribution(row: &tokio_postgres::Row, columns: &[TargetColumn]) -> Distribution {
    let (policy_type, names): (&str, Vec<String>) = (row.get(0), row.get(1));
    let position = |name: &String| columns.iter().position(|column| column.name == *name);
    match names.iter().map(position).collect::<Option<Vec<usize>>>() {
        _ if policy_type == "r" => Distribution::Replicated,
        Some(key) if !key.is_empty() => Distribution::Key(key),
        _ => Distribution::Random,
    }
}

fn missing(name: &TableName) -> Error {
    Error::refused(
        format!("table {name} does not exist at the destination"),
        format!("Create {name} again as it was: the table begins over then."),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn column(name: &str, sql_type: &str) -> TargetColumn {
        TargetColumn {
            name: name.to_owned(),
            sql_name: identifier(name),
            sql_type: sql_type.to_owned(),
            generated: false,
            identity_always: false,
            equality: Some("OPERATOR(pg_catalog.=)".to_owned()),
        }
    }

    /// Table `public.t`, without any index.
    pub(crate) fn target(columns: &[TargetColumn]) -> Target {
        Target {
            oid: 1,
            name: TableName::new("public", "t"),
            sql_name: qualified("public", "t"),
            ordinary: true,
            columns: columns.to_vec(),
            unique: Vec::new(),
            distribution: None,
        }
    }

    /// A unique index over these columns.
    pub(crate) fn unique(columns: &[usize], primary: bool) -> UniqueIndex {
        UniqueIndex {
            columns: columns.to_vec(),
            operators: vec!["OPERATOR(pg_catalog.=)".to_owned(); columns.len()],
            primary,
            not_null: primary,
            nulls_equal: false,
        }
    }
}
