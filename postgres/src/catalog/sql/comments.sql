-- $1: schemas, tables, views, sequences, composite types of columns, types: by oid, whichever catalog. Comments on them and on
-- their parts. The one on schema public that every database has is not a user's.
SELECT 'schema' AS kind, '' AS schema, n.nspname::text AS name, '' AS part, d.description AS text
FROM pg_description AS d
     JOIN pg_namespace AS n
       ON n.oid = d.objoid
WHERE d.classoid = 'pg_namespace'::regclass
  AND n.oid = ANY ($1::oid[])
  AND NOT (n.nspname = 'public' AND d.description = 'standard public schema')
UNION ALL
SELECT CASE WHEN d.objsubid > 0 THEN 'column'
            ELSE CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END END,
       n.nspname::text,
       c.relname::text,
       coalesce(a.attname::text, ''),
       d.description
FROM pg_description AS d
     JOIN pg_class AS c
       ON c.oid = d.objoid
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
     LEFT JOIN pg_attribute AS a
            ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass
  AND (c.oid = ANY ($1::oid[]) OR c.reltype = ANY ($1::oid[]) AND d.objsubid > 0)
  -- A view's own comes with it.
  AND NOT (c.relkind IN ('v', 'm') AND d.objsubid = 0)
UNION ALL
SELECT 'index', n.nspname::text, t.relname::text, c.relname::text, d.description
FROM pg_description AS d
     JOIN pg_index AS i
       ON i.indexrelid = d.objoid
     JOIN pg_class AS c
       ON c.oid = i.indexrelid
     JOIN pg_class AS t
       ON t.oid = i.indrelid AND t.relkind IN ('r', 'p')
     JOIN pg_namespace AS n
       ON n.oid = t.relnamespace
WHERE d.classoid = 'pg_class'::regclass
  AND t.oid = ANY ($1::oid[])
UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, n.nspname::text, t.typname::text, '', d.description
FROM pg_description AS d
     JOIN pg_type AS t
       ON t.oid = d.objoid
     JOIN pg_namespace AS n
       ON n.oid = t.typnamespace
WHERE d.classoid = 'pg_type'::regclass
  AND t.oid = ANY ($1::oid[])
UNION ALL
SELECT CASE WHEN c.contypid <> 0 THEN 'domain constraint' ELSE 'constraint' END,
       coalesce(tn.nspname, yn.nspname)::text,
       coalesce(t.relname, y.typname)::text,
       c.conname::text,
       d.description
FROM pg_description AS d
     JOIN pg_constraint AS c
       ON c.oid = d.objoid AND c.contype <> 'n'
     LEFT JOIN pg_class AS t
            ON t.oid = c.conrelid
     LEFT JOIN pg_namespace AS tn
            ON tn.oid = t.relnamespace
     LEFT JOIN pg_type AS y
            ON y.oid = c.contypid
     LEFT JOIN pg_namespace AS yn
            ON yn.oid = y.typnamespace
WHERE d.classoid = 'pg_constraint'::regclass
  AND (c.conrelid = ANY ($1::oid[]) OR c.contypid = ANY ($1::oid[]))
ORDER BY 1, 2, 3, 4;
