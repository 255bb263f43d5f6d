-- $1: partitions of flattened tables. Settings of theirs that their table does not have, as one line a schema.
WITH leaf AS (
     SELECT c.oid, n.nspname::text AS schema, c.reloptions
     FROM unnest($1::oid[]) AS t (oid)
          JOIN pg_class AS c
            ON c.oid = t.oid
          JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
)
SELECT found.kind, found.schema, '' AS name, found.reason
FROM (
      SELECT 'storage parameter' AS kind, l.schema,
             format('partitions become one table, with the destination''s defaults (partitions: %s)', count(*)) AS reason
      FROM leaf AS l
      WHERE l.reloptions IS NOT NULL
      GROUP BY l.schema
      UNION ALL
      SELECT 'comment', l.schema, format('partitions become one table (partitions: %s)', count(DISTINCT l.oid))
      FROM leaf AS l
           JOIN pg_description AS d
             ON d.classoid = 'pg_class'::regclass AND d.objoid = l.oid
      GROUP BY l.schema
     ) AS found
ORDER BY found.kind COLLATE "C", found.schema COLLATE "C", found.reason COLLATE "C";
