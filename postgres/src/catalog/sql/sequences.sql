-- Every sequence of a user except those of identity columns and of extensions, with who owns it and whose default
-- calls it: which of them are taken is decided by the caller.
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       format_type(q.seqtypid, NULL) AS data_type,
       q.seqstart,
       q.seqincrement,
       q.seqmin,
       q.seqmax,
       q.seqcache,
       q.seqcycle,
       own.refobjid AS owner_table,
       own_column.attname::text AS owner_column,
       ARRAY(SELECT a.adrelid
             FROM pg_depend AS d
                  JOIN pg_attrdef AS a
                    ON a.oid = d.objid
             WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
               AND d.classid = 'pg_attrdef'::regclass) AS used_by_tables,
       ARRAY(SELECT d.objid
             FROM pg_depend AS d
             WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
               AND d.classid = 'pg_type'::regclass) AS used_by_types
FROM pg_sequence AS q
     JOIN pg_class AS c
       ON c.oid = q.seqrelid
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
     LEFT JOIN pg_depend AS own
            ON own.classid = 'pg_class'::regclass AND own.objid = c.oid AND own.deptype = 'a'
               AND own.refclassid = 'pg_class'::regclass AND own.refobjsubid > 0
     LEFT JOIN pg_attribute AS own_column
            ON own_column.attrelid = own.refobjid AND own_column.attnum = own.refobjsubid
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";
