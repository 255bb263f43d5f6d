-- $1: tables. An identity column has its sequence through an internal dependency of the sequence on the column.
--
-- PostgreSQL 18 marks a column as NOT NULL although rows from before a NOT VALID constraint may hold NULL, and although
-- NO INHERIT lets children hold NULL, which an older server cannot say: such a NOT NULL does not count.
SELECT a.attrelid AS relation,
       a.attname::text AS name,
       format_type(a.atttypid, a.atttypmod) AS type_name,
       a.attislocal AS local,
       a.attnotnull AS not_null,
       EXISTS (SELECT FROM pg_constraint AS nn
               WHERE nn.conrelid = a.attrelid AND nn.contype = 'n' AND nn.conkey[1] = a.attnum
                 AND (NOT nn.convalidated
                      OR nn.connoinherit
                         AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = a.attrelid))) AS not_null_partial,
       a.attidentity::text AS identity,
       a.attgenerated::text AS generated,
       pg_get_expr(d.adbin, d.adrelid) AS expression,
       CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
            THEN format('%I.%I', cn.nspname, co.collname) END AS collation,
       array_remove(ARRAY[
           CASE WHEN a.attstorage <> t.typstorage
                THEN 'SET STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN'
                                                         ELSE 'EXTENDED' END END,
           CASE to_jsonb(a) ->> 'attcompression' WHEN 'p' THEN 'SET COMPRESSION pglz' WHEN 'l' THEN 'SET COMPRESSION lz4' END,
           CASE WHEN a.attstattarget >= 0 THEN 'SET STATISTICS ' || a.attstattarget END,
           -- Some builds keep options of their own there.
           (SELECT 'SET (' || string_agg(option, ', ') || ')' FROM unnest(a.attoptions) AS option
            WHERE option ~ '^n_distinct')], NULL) AS settings,
       s.schema AS sequence_schema,
       s.name AS sequence_name,
       s.data_type,
       s.seqstart,
       s.seqincrement,
       s.seqmin,
       s.seqmax,
       s.seqcache,
       s.seqcycle
FROM pg_attribute AS a
     JOIN pg_type AS t
       ON t.oid = a.atttypid
     LEFT JOIN pg_attrdef AS d
            ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     LEFT JOIN pg_collation AS co
            ON co.oid = a.attcollation
     LEFT JOIN pg_namespace AS cn
            ON cn.oid = co.collnamespace
     LEFT JOIN LATERAL (
            SELECT sn.nspname::text AS schema,
                   sc.relname::text AS name,
                   format_type(q.seqtypid, NULL) AS data_type,
                   q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache, q.seqcycle
            FROM pg_depend AS dep
                 JOIN pg_sequence AS q
                   ON q.seqrelid = dep.objid
                 JOIN pg_class AS sc
                   ON sc.oid = q.seqrelid
                 JOIN pg_namespace AS sn
                   ON sn.oid = sc.relnamespace
            WHERE a.attidentity <> ''
              AND dep.refclassid = 'pg_class'::regclass AND dep.refobjid = a.attrelid AND dep.refobjsubid = a.attnum
              AND dep.classid = 'pg_class'::regclass AND dep.deptype = 'i') AS s
            ON true
WHERE a.attrelid = ANY ($1::oid[])
  AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum;
