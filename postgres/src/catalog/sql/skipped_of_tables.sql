-- $1: the tables taken and their leaves. What belongs to them and is not carried: behaviour one by one, settings as
-- one line a schema. What a column of a catalog says that older servers lack is read through to_jsonb().
WITH taken AS (
     SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relacl, c.reloptions, c.reltablespace,
            c.relrowsecurity, a.amname
     FROM unnest($1::oid[]) AS t (oid)
          JOIN pg_class AS c
            ON c.oid = t.oid
          JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
          LEFT JOIN pg_am AS a
                 ON a.oid = c.relam
)
SELECT found.kind, found.schema, found.name, found.reason
FROM (
      SELECT 'trigger' AS kind, t.schema, t.name || '.' || g.tgname AS name,
             'this version does not carry it: create it at the destination after the cutover' AS reason
      FROM taken AS t
           JOIN pg_trigger AS g
             ON g.tgrelid = t.oid AND NOT g.tgisinternal AND coalesce(to_jsonb(g) ->> 'tgparentid', '0') = '0'
      UNION ALL
      SELECT 'rule', t.schema, t.name || '.' || r.rulename,
             'this version does not carry it: create it at the destination after the cutover'
      FROM taken AS t
           JOIN pg_rewrite AS r
             ON r.ev_class = t.oid AND r.rulename <> '_RETURN'
      UNION ALL
      SELECT 'policy', t.schema, t.name || '.' || p.polname,
             'row security is not carried: create it at the destination after the cutover'
      FROM taken AS t
           JOIN pg_policy AS p
             ON p.polrelid = t.oid
      UNION ALL
      SELECT 'row security', t.schema, t.name,
             'row security is not carried: enable it at the destination after the cutover'
      FROM taken AS t
      WHERE t.relrowsecurity
      UNION ALL
      SELECT 'statistics object', n.nspname::text, s.stxname::text,
             'this version does not carry it: create it at the destination'
      FROM taken AS t
           JOIN pg_statistic_ext AS s
             ON s.stxrelid = t.oid
           JOIN pg_namespace AS n
             ON n.oid = s.stxnamespace
      UNION ALL
      SELECT 'access method', t.schema, t.name, 'access method ' || t.amname || ': the destination''s default is used'
      FROM taken AS t
      WHERE t.amname <> 'heap'
      UNION ALL
      SELECT 'constraint', t.schema, t.name || '.' || c.conname,
             CASE WHEN c.convalidated THEN 'its children may hold NULL: the column becomes nullable'
                  ELSE 'it is not validated at the source: rows may hold NULL, so the column becomes nullable' END
      FROM taken AS t
           JOIN pg_constraint AS c
             ON c.conrelid = t.oid AND c.contype = 'n'
      WHERE NOT c.convalidated
         OR c.connoinherit AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = t.oid)
      UNION ALL
      SELECT 'constraint', t.schema, '',
             format('the columns are NOT NULL, the names of these constraints are not carried (columns: %s)', count(*))
      FROM taken AS t
           JOIN pg_constraint AS c
             ON c.conrelid = t.oid AND c.contype = 'n' AND c.convalidated AND c.conislocal
           JOIN pg_attribute AS a
             ON a.attrelid = t.oid AND a.attnum = c.conkey[1]
      WHERE c.conname <> t.name || '_' || a.attname || '_not_null'
        -- A name that had to be cut is the server's too.
        AND octet_length(t.name || '_' || a.attname || '_not_null') < 64
      GROUP BY t.schema
      UNION ALL
      SELECT 'storage parameter', t.schema, '',
             format('the destination''s defaults are used for tables and the indexes of their keys (tables: %s)', count(*))
      FROM taken AS t
      WHERE t.reloptions IS NOT NULL
         OR EXISTS (SELECT FROM pg_constraint AS c
                         JOIN pg_class AS i
                           ON i.oid = c.conindid
                    WHERE c.conrelid = t.oid AND c.contype IN ('p', 'u', 'x') AND i.reloptions IS NOT NULL)
      GROUP BY t.schema
      UNION ALL
      SELECT 'tablespace', t.schema, '',
             format('the destination''s default is used (tables: %s)', count(*))
      FROM taken AS t
      WHERE t.reltablespace <> 0
         OR EXISTS (SELECT FROM pg_index AS x
                         JOIN pg_class AS i
                           ON i.oid = x.indexrelid
                    WHERE x.indrelid = t.oid AND i.reltablespace <> 0)
      GROUP BY t.schema
      UNION ALL
      SELECT 'column', t.schema, '',
             format('the destination''s storage, compression and statistics settings are used (columns: %s)', count(*))
      FROM taken AS t
           JOIN pg_attribute AS a
             ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
           JOIN pg_type AS ty
             ON ty.oid = a.atttypid
      WHERE a.attstorage <> ty.typstorage
         OR a.attstattarget >= 0
         -- Some builds keep options of their own there.
         OR EXISTS (SELECT FROM unnest(a.attoptions) AS option WHERE option ~ '^n_distinct')
         OR to_jsonb(a) ->> 'attcompression' <> ''
      GROUP BY t.schema
      UNION ALL
      SELECT 'index', t.schema, '', format('the mark for CLUSTER is not carried (tables: %s)', count(*))
      FROM taken AS t
           JOIN pg_index AS x
             ON x.indrelid = t.oid AND x.indisclustered
      GROUP BY t.schema
      UNION ALL
      SELECT 'comment', t.schema, '',
             format('comments on tables and columns are not carried (tables: %s)', count(DISTINCT t.oid))
      FROM taken AS t
           JOIN pg_description AS d
             ON d.classoid = 'pg_class'::regclass AND d.objoid = t.oid
      GROUP BY t.schema
      UNION ALL
      SELECT 'security label', t.schema, '', format('security labels are not carried (labels: %s)', count(*))
      FROM taken AS t
           JOIN pg_seclabel AS l
             ON l.classoid = 'pg_class'::regclass AND l.objoid = t.oid
      GROUP BY t.schema
      UNION ALL
      SELECT 'grant', t.schema, '',
             format('privileges on tables and columns are not carried (tables: %s)', count(*))
      FROM taken AS t
      WHERE t.relacl IS NOT NULL
         OR EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.oid AND a.attacl IS NOT NULL)
      GROUP BY t.schema
     ) AS found
ORDER BY found.kind COLLATE "C", found.schema COLLATE "C", found.name COLLATE "C", found.reason COLLATE "C";
