-- Every table of a user, partitions and foreign tables included: which of them are taken is decided by the caller.
--
-- A key counts as a replica identity only if the server would log it: a deferrable primary key, or an index that was
-- dropped since, identifies nothing.
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       c.reltype AS row_type,
       c.relkind::text AS kind,
       c.relpersistence::text AS persistence,
       c.relispartition AS is_partition,
       c.relreplident::text AS replica_identity,
       EXISTS (SELECT FROM pg_index AS i
               WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid) AS has_primary_key,
       EXISTS (SELECT FROM pg_index AS i
               WHERE i.indrelid = c.oid AND i.indisreplident AND i.indimmediate AND i.indisvalid) AS has_identity_index,
       c.reltuples::float8 AS estimated_rows,
       CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS of_type,
       e.extname::text AS extension,
       ARRAY(SELECT format('%s%I=%L', o.prefix, split_part(o.option, '=', 1), substr(o.option, strpos(o.option, '=') + 1))
             FROM (SELECT '' AS prefix, option, place
                   FROM unnest(c.reloptions) WITH ORDINALITY AS own (option, place)
                   UNION ALL
                   SELECT 'toast.', option, place
                   FROM unnest(toast.reloptions) WITH ORDINALITY AS own (option, place)) AS o
             ORDER BY o.prefix, o.place) AS storage_parameters
FROM pg_class AS c
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
     LEFT JOIN pg_class AS toast
            ON toast.oid = c.reltoastrelid
     LEFT JOIN pg_depend AS d
            ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
     LEFT JOIN pg_extension AS e
            ON e.oid = d.refobjid
WHERE c.relkind IN ('r', 'p', 'f')
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";
