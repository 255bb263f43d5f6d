-- $1: tables. Indexes that no constraint owns. `head` is what pg_get_indexdef() prints before USING: taking exactly
-- that away is safe whatever the names contain.
SELECT i.indrelid AS relation,
       ic.relname::text AS name,
       i.indisunique AS is_unique,
       i.indisvalid AS valid,
       i.indisreplident AS replica_identity,
       i.indisclustered AS clustered,
       ARRAY(SELECT format('ALTER COLUMN %s SET STATISTICS %s', a.attnum, a.attstattarget)
             FROM pg_attribute AS a
             WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0
             ORDER BY a.attnum) AS settings,
       ic.relispartition AS inherited,
       (SELECT pc.relname::text
        FROM pg_inherits AS pi
             JOIN pg_class AS pc
               ON pc.oid = pi.inhparent
        WHERE pi.inhrelid = i.indexrelid) AS part_of,
       pg_get_indexdef(i.indexrelid) AS definition,
       format('CREATE %sINDEX %I ON %s%I.%I ',
              CASE WHEN i.indisunique THEN 'UNIQUE ' END,
              ic.relname,
              CASE WHEN ic.relkind = 'I' THEN 'ONLY ' END,
              tn.nspname,
              tc.relname) AS head
FROM pg_index AS i
     JOIN pg_class AS ic
       ON ic.oid = i.indexrelid
     JOIN pg_class AS tc
       ON tc.oid = i.indrelid
     JOIN pg_namespace AS tn
       ON tn.oid = tc.relnamespace
WHERE i.indrelid = ANY ($1::oid[])
  AND NOT EXISTS (SELECT FROM pg_constraint AS c
                  WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x'))
ORDER BY i.indrelid, ic.relname COLLATE "C";
