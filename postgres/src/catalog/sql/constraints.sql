-- $1: tables. A foreign key to a partitioned table has one more row for each partition it refers to, with the same
-- referencing table as its parent: those are no constraints of their own.
SELECT c.conrelid AS relation,
       c.conname::text AS name,
       c.contype::text AS kind,
       CASE WHEN c.contype IN ('p', 'u') AND parameters.list IS NOT NULL
            -- The server prints what an exclusion's index has of them, but not a key's; they stand before the rest.
            THEN left(d.definition, length(d.definition) - length(d.rest)) || ' WITH (' || parameters.list || ')' || d.rest
            ELSE d.definition END AS definition,
       c.confrelid AS references_oid,
       format('%s.%s', rn.nspname, rc.relname) AS references_name,
       c.condeferrable AS deferrable,
       c.convalidated AS validated,
       c.conislocal AS is_local,
       c.connoinherit AS no_inherit,
       c.coninhcount > 0 OR c.conparentid <> 0 AS inherited,
       coalesce(i.indisvalid, true) AS index_valid,
       coalesce(i.indisclustered, false) AS clustered,
       (SELECT pc.relname::text
        FROM pg_inherits AS pi
             JOIN pg_class AS pc
               ON pc.oid = pi.inhparent
        WHERE pi.inhrelid = i.indexrelid) AS part_of
FROM pg_constraint AS c
     CROSS JOIN LATERAL (
            SELECT pg_get_constraintdef(c.oid) AS definition,
                   concat(CASE WHEN c.condeferrable THEN ' DEFERRABLE' END,
                          CASE WHEN c.condeferred THEN ' INITIALLY DEFERRED' END) AS rest) AS d
     LEFT JOIN LATERAL (
            SELECT string_agg(format('%I=%L', split_part(option, '=', 1), substr(option, strpos(option, '=') + 1)),
                              ', ' ORDER BY place) AS list
            FROM pg_class AS ic
                 CROSS JOIN LATERAL unnest(ic.reloptions) WITH ORDINALITY AS o (option, place)
            WHERE ic.oid = c.conindid) AS parameters
            ON true
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
