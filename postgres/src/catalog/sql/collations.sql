-- Collations that fit the encoding of the database. The version of the library is not carried: the destination's own
-- counts. The columns differ between versions (colliculocale from 15 to 16, colllocale since 17, collicurules since 16),
-- so they are read through to_jsonb().
SELECT 'pg_collation'::regclass::oid AS class,
       c.oid,
       'collation' AS kind,
       n.nspname::text AS schema,
       c.collname::text AS name,
       c.collname::text AS plain_name,
       format('CREATE COLLATION %I.%I (%s)',
              n.nspname,
              c.collname,
              concat_ws(', ',
                        'PROVIDER = ' || CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
                        CASE WHEN NOT c.collisdeterministic THEN 'DETERMINISTIC = false' END,
                        CASE WHEN l.locale IS NOT NULL THEN 'LOCALE = ' || quote_literal(l.locale)
                             ELSE format('LC_COLLATE = %L, LC_CTYPE = %L', l.collate, l.ctype) END,
                        'RULES = ' || quote_literal(to_jsonb(c) ->> 'collicurules'))) AS statements,
       format('COLLATION %I.%I', n.nspname, c.collname) AS comment_on,
       obj_description(c.oid, 'pg_collation') AS comment
FROM pg_collation AS c
     JOIN pg_namespace AS n
       ON n.oid = c.collnamespace
     CROSS JOIN LATERAL (
            SELECT coalesce(to_jsonb(c) ->> 'colllocale',
                            to_jsonb(c) ->> 'colliculocale',
                            CASE WHEN c.collprovider = 'i' OR to_jsonb(c) ->> 'collcollate' = to_jsonb(c) ->> 'collctype'
                                 THEN to_jsonb(c) ->> 'collcollate' END) AS locale,
                   to_jsonb(c) ->> 'collcollate' AS collate,
                   to_jsonb(c) ->> 'collctype' AS ctype) AS l
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND c.collencoding IN (-1, pg_char_to_encoding(getdatabaseencoding()))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_collation'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.collname COLLATE "C";
