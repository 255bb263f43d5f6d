-- Indexes of materialised views.
SELECT 'pg_index'::regclass::oid AS class,
       i.indexrelid AS oid,
       'index' AS kind,
       n.nspname::text AS schema,
       m.relname || '.' || c.relname AS name,
       c.relname::text AS plain_name,
       pg_get_indexdef(i.indexrelid)
       || CASE WHEN i.indisclustered
               THEN format(E';\nALTER MATERIALIZED VIEW %I.%I CLUSTER ON %I', n.nspname, m.relname, c.relname)
               ELSE '' END AS statements,
       format('INDEX %I.%I', n.nspname, c.relname) AS comment_on,
       obj_description(c.oid, 'pg_class') AS comment,
       m.oid AS relation
FROM pg_index AS i
     JOIN pg_class AS c
       ON c.oid = i.indexrelid
     JOIN pg_class AS m
       ON m.oid = i.indrelid AND m.relkind = 'm'
     JOIN pg_namespace AS n
       ON n.oid = m.relnamespace
WHERE i.indisvalid
  AND n.nspname !~ '^pg_'
ORDER BY n.nspname COLLATE "C", m.relname COLLATE "C", c.relname COLLATE "C";
