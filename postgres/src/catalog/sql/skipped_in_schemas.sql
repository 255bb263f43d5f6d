-- $1: schemas of which everything was asked for. What they hold and this version does not carry, extensions' objects
-- aside: those come with the extension.
WITH member AS (
     SELECT d.classid, d.objid
     FROM pg_depend AS d
     WHERE d.deptype = 'e'
)
SELECT found.kind, n.nspname::text AS schema, found.name, found.reason
FROM (
      SELECT 'foreign table' AS kind,
             c.relnamespace AS namespace,
             c.relname::text AS name,
             'its rows are not in this database' AS reason,
             'pg_class'::regclass AS classid,
             c.oid
      FROM pg_class AS c
      WHERE c.relkind = 'f'
      UNION ALL
      SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
             p.pronamespace,
             p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
             CASE l.lanname WHEN 'c' THEN 'it needs a library of the server' ELSE 'it stands for a part of the server itself' END,
             'pg_proc'::regclass,
             p.oid
      FROM pg_proc AS p
           JOIN pg_language AS l
             ON l.oid = p.prolang
      WHERE l.lanname IN ('c', 'internal')
        AND p.prokind <> 'a'
        -- The constructors of range types come with the type.
        AND NOT EXISTS (SELECT FROM pg_depend AS d
                        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
      UNION ALL
      SELECT 'type', t.typnamespace, t.typname::text,
             CASE WHEN t.typisdefined THEN 'a base type needs a library of the server' ELSE 'it is only a shell' END,
             'pg_type'::regclass, t.oid
      FROM pg_type AS t
      WHERE (t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid))
         OR (t.typtype = 'p' AND NOT t.typisdefined)
      UNION ALL
      SELECT 'collation', c.collnamespace, c.collname::text,
             'it is of another encoding than the database', 'pg_collation'::regclass, c.oid
      FROM pg_collation AS c
      WHERE c.collencoding NOT IN (-1, pg_char_to_encoding(getdatabaseencoding()))
      UNION ALL
      SELECT 'conversion', c.connamespace, c.conname::text,
             'it needs a library of the server', 'pg_conversion'::regclass, c.oid
      FROM pg_conversion AS c
      UNION ALL
      SELECT 'text search parser', p.prsnamespace, p.prsname::text,
             'it needs a library of the server', 'pg_ts_parser'::regclass, p.oid
      FROM pg_ts_parser AS p
      UNION ALL
      SELECT 'text search template', t.tmplnamespace, t.tmplname::text,
             'it needs a library of the server', 'pg_ts_template'::regclass, t.oid
      FROM pg_ts_template AS t
     ) AS found
     JOIN pg_namespace AS n
       ON n.oid = found.namespace
WHERE found.namespace = ANY ($1::oid[])
  AND NOT EXISTS (SELECT FROM member WHERE member.classid = found.classid AND member.objid = found.oid)
ORDER BY found.kind COLLATE "C", n.nspname COLLATE "C", found.name COLLATE "C";
