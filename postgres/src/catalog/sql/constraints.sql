-- $1: tables. A foreign key to a partitioned table has one more row for each partition it refers to, with the same
-- referencing table as its parent: those are no constraints of their own.
SELECT c.conrelid AS relation,
       c.conname::text AS name,
       c.contype::text AS kind,
       pg_get_constraintdef(c.oid) AS definition,
       c.confrelid AS references_oid,
       format('%s.%s', rn.nspname, rc.relname) AS references_name,
       c.condeferrable AS deferrable,
       c.convalidated AS validated,
       c.conislocal AS is_local,
       c.connoinherit AS no_inherit,
       c.coninhcount > 0 OR c.conparentid <> 0 AS inherited,
       coalesce(i.indisvalid, true) AS index_valid
FROM pg_constraint AS c
     LEFT JOIN pg_constraint AS above
            ON above.oid = c.conparentid
     LEFT JOIN pg_index AS i
            ON i.indexrelid = c.conindid AND c.contype IN ('p', 'u', 'x')
     LEFT JOIN pg_class AS rc
            ON rc.oid = c.confrelid
     LEFT JOIN pg_namespace AS rn
            ON rn.oid = rc.relnamespace
WHERE c.conrelid = ANY ($1::oid[])
  AND c.contype IN ('p', 'u', 'x', 'c', 'f')
  AND (above.oid IS NULL OR above.conrelid <> c.conrelid)
ORDER BY c.conrelid, position(c.contype::text IN 'puxcf'), c.conname COLLATE "C";
