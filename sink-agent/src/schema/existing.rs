//! What stands at the destination already, read with one query, whatever the number of objects.

use std::collections::HashSet;

use strait_postgres::{Client, Error};
use tokio_postgres::types::Type;

/// $1: schemas. Kind, schema, name, and for a part of an object the part's name.
const EXISTING_SQL: &str = "
WITH wanted AS (
     SELECT n.oid, n.nspname::text AS schema
     FROM pg_namespace AS n
     WHERE n.nspname = ANY ($1::text[])
)
SELECT 'schema' AS kind, n.schema, '' AS name, '' AS part
FROM wanted AS n
UNION ALL
SELECT 'type', n.schema, t.typname::text, ''
FROM wanted AS n
     JOIN pg_type AS t
       ON t.typnamespace = n.oid AND t.typtype IN ('e', 'c', 'd', 'r')
     LEFT JOIN pg_class AS c
            ON c.oid = t.typrelid
WHERE t.typtype <> 'c' OR c.relkind = 'c'
UNION ALL
SELECT 'domain default', n.schema, t.typname::text, ''
FROM wanted AS n
     JOIN pg_type AS t
       ON t.typnamespace = n.oid AND t.typtype = 'd' AND t.typdefaultbin IS NOT NULL
UNION ALL
SELECT 'domain constraint', n.schema, t.typname::text, c.conname::text
FROM wanted AS n
     JOIN pg_type AS t
       ON t.typnamespace = n.oid AND t.typtype = 'd'
     JOIN pg_constraint AS c
       ON c.contypid = t.oid
UNION ALL
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.schema, c.relname::text, ''
FROM wanted AS n
     JOIN pg_class AS c
       ON c.relnamespace = n.oid AND c.relkind IN ('S', 'r', 'p')
UNION ALL
SELECT 'sequence owner', n.schema, c.relname::text, ''
FROM wanted AS n
     JOIN pg_class AS c
       ON c.relnamespace = n.oid AND c.relkind = 'S'
     JOIN pg_depend AS d
       ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a' AND d.refobjsubid > 0
UNION ALL
SELECT 'default', n.schema, c.relname::text, a.attname::text
FROM wanted AS n
     JOIN pg_class AS c
       ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
     JOIN pg_attribute AS a
       ON a.attrelid = c.oid AND a.atthasdef AND NOT a.attisdropped";

/// $1, $2: a table. The names of its constraints and indexes. A check constraint that a child of
/// plain inheritance only inherits is not its own yet: adding it makes it so, without reading the table again. Those of a
/// partition never are.
const OF_TABLE_SQL: &str = "
WITH this AS (
     SELECT c.oid, c.relispartition
     FROM pg_class AS c
          JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2
)
SELECT 'constraint' AS kind, c.conname::text AS name
FROM this
     JOIN pg_constraint AS c
       ON c.conrelid = this.oid AND (c.conislocal OR this.relispartition)
UNION ALL
SELECT 'index', c.relname::text
FROM this
     JOIN pg_index AS i
       ON i.indrelid = this.oid
     JOIN pg_class AS c
       ON c.oid = i.indexrelid";

/// $1: a qualified and quoted name. Whether a function has it.
const FUNCTION_SQL: &str = "
SELECT EXISTS (SELECT FROM parse_ident($1::text) AS part
                    JOIN pg_namespace AS n
                      ON n.nspname = part[1]
                    JOIN pg_proc AS p
                      ON p.pronamespace = n.oid AND p.proname = part[2])";

/// The objects in the schemas of a model.
pub(super) struct Existing {
    objects: HashSet<(String, String, String, String)>,
}

impl Existing {
    pub(super) async fn read(client: &Client, schemas: &[String]) -> Result<Self, Error> {
        let mut objects = HashSet::new();
        for row in client.query(EXISTING_SQL, &[&schemas]).await? {
            objects.insert((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        }
        Ok(Self { objects })
    }

    pub(super) fn has(&self, kind: &str, schema: &str, name: &str) -> bool {
        self.has_part(kind, schema, name, "")
    }

    pub(super) fn has_part(&self, kind: &str, schema: &str, name: &str, part: &str) -> bool {
        self.objects.contains(&(kind.to_owned(), schema.to_owned(), name.to_owned(), part.to_owned()))
    }
}

/// The constraints and indexes of one table.
pub(super) struct OfTable {
    pub(super) constraints: HashSet<String>,
    pub(super) indexes: HashSet<String>,
}

impl OfTable {
    pub(super) async fn read(client: &Client, schema: &str, name: &str) -> Result<Self, Error> {
        let mut of_table = Self { constraints: HashSet::new(), indexes: HashSet::new() };
        for row in client.query_typed(OF_TABLE_SQL, &[(&schema, Type::TEXT), (&name, Type::TEXT)]).await? {
            let of_kind = match row.try_get(0)? {
                "constraint" => &mut of_table.constraints,
                _ => &mut of_table.indexes,
            };
            of_kind.insert(row.try_get(1)?);
        }
        Ok(of_table)
    }
}

/// Whether the destination has a function of that name.
pub(super) async fn has_function(client: &Client, name: &str) -> Result<bool, Error> {
    Ok(client.query_one(FUNCTION_SQL, &[&name]).await?.try_get(0)?)
}
