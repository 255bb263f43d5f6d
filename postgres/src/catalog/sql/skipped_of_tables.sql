-- $1: the tables taken and their leaves. What belongs to them and is not carried: behaviour one by one, settings as
-- one line a schema. What a column of a catalog says that older servers lack is read through to_jsonb().
WITH taken AS (
     SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relacl, c.reltablespace, a.amname
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
      SELECT 'access method' AS kind, t.schema, t.name, 'access method ' || t.amname || ': the destination''s default is used' AS reason
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
