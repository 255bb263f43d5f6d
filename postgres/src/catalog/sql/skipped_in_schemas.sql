-- $1: schemas of which everything was asked for. What they hold and this version does not carry, extensions' objects
-- aside: those come with the extension.
WITH member AS (
     SELECT d.classid, d.objid
     FROM pg_depend AS d
     WHERE d.deptype = 'e'
)
SELECT found.kind, n.nspname::text AS schema, found.name, found.reason
FROM (
      SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END AS kind,
             c.relnamespace AS namespace,
             c.relname::text AS name,
             CASE c.relkind WHEN 'f' THEN 'its rows are not in this database'
                            ELSE 'this version does not carry it: create it at the destination' END AS reason,
             'pg_class'::regclass AS classid,
             c.oid
      FROM pg_class AS c
      WHERE c.relkind IN ('v', 'm', 'f')
      UNION ALL
      SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
             p.pronamespace,
             p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
             CASE WHEN l.lanname IN ('c', 'internal') AND p.prokind <> 'a' THEN 'it needs a library of the server'
                  ELSE 'this version does not carry it: create it at the destination' END,
             'pg_proc'::regclass,
             p.oid
      FROM pg_proc AS p
           JOIN pg_language AS l
             ON l.oid = p.prolang
      -- The constructors of range types come with the type.
      WHERE NOT EXISTS (SELECT FROM pg_depend AS d
                        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
      UNION ALL
      SELECT 'operator',
             o.oprnamespace,
             o.oprname || '(' || coalesce(format_type(nullif(o.oprleft, 0), NULL), 'none') || ','
                       || coalesce(format_type(nullif(o.oprright, 0), NULL), 'none') || ')',
             'this version does not carry it: create it at the destination',
             'pg_operator'::regclass,
             o.oid
      FROM pg_operator AS o
      UNION ALL
      SELECT 'operator class', c.opcnamespace, c.opcname::text,
             'this version does not carry it: create it at the destination', 'pg_opclass'::regclass, c.oid
      FROM pg_opclass AS c
      UNION ALL
      SELECT 'operator family', f.opfnamespace, f.opfname::text,
             'this version does not carry it: create it at the destination', 'pg_opfamily'::regclass, f.oid
      FROM pg_opfamily AS f
      UNION ALL
      SELECT 'type', t.typnamespace, t.typname::text,
             CASE WHEN t.typisdefined THEN 'a base type needs a library of the server' ELSE 'it is only a shell' END,
             'pg_type'::regclass, t.oid
      FROM pg_type AS t
      WHERE (t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid))
         OR (t.typtype = 'p' AND NOT t.typisdefined)
      UNION ALL
      SELECT 'collation', c.collnamespace, c.collname::text,
             'this version does not carry it: create it at the destination', 'pg_collation'::regclass, c.oid
      FROM pg_collation AS c
      UNION ALL
      SELECT 'conversion', c.connamespace, c.conname::text,
             'it needs a library of the server', 'pg_conversion'::regclass, c.oid
      FROM pg_conversion AS c
      UNION ALL
      SELECT 'text search configuration', c.cfgnamespace, c.cfgname::text,
             'this version does not carry it: create it at the destination', 'pg_ts_config'::regclass, c.oid
      FROM pg_ts_config AS c
      UNION ALL
      SELECT 'text search dictionary', d.dictnamespace, d.dictname::text,
             'this version does not carry it: create it at the destination', 'pg_ts_dict'::regclass, d.oid
      FROM pg_ts_dict AS d
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
