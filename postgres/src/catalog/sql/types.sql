-- Every enum, composite, domain and range type of a user that is not an extension's: which of them are taken is
-- decided by the caller. Multiranges exist from PostgreSQL 14 on.
SELECT t.oid,
       n.nspname::text AS schema,
       t.typname::text AS name,
       t.typtype::text AS kind,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum AS e
             WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels,
       format_type(t.typbasetype, t.typtypmod) AS base_type,
       t.typnotnull AS not_null,
       pg_get_expr(t.typdefaultbin, 'pg_type'::regclass) AS default_expression,
       CASE WHEN t.typtype = 'd' AND t.typcollation <> 0 AND t.typcollation <> b.typcollation
            THEN format('%I.%I', tcn.nspname, tco.collname) END AS collation,
       format_type(r.rngsubtype, NULL) AS subtype,
       CASE WHEN NOT oc.opcdefault THEN format('%I.%I', ocn.nspname, oc.opcname) END AS subtype_opclass,
       CASE WHEN r.rngcollation <> 0 AND r.rngcollation <> st.typcollation
            THEN format('%I.%I', rcn.nspname, rco.collname) END AS subtype_collation,
       CASE WHEN fd.oid IS NOT NULL THEN format('%I.%I', fdn.nspname, fd.proname) END AS subtype_diff,
       coalesce(r.rngcanonical::oid <> 0, false) AS has_canonical,
       CASE WHEN mt.typnamespace = t.typnamespace THEN mt.typname::text END AS multirange_name,
       CASE WHEN mt.typnamespace <> t.typnamespace THEN format_type(mt.oid, NULL) END AS multirange_elsewhere
FROM pg_type AS t
     JOIN pg_namespace AS n
       ON n.oid = t.typnamespace
     LEFT JOIN pg_class AS c
            ON c.oid = t.typrelid
     LEFT JOIN pg_type AS b
            ON b.oid = t.typbasetype
     LEFT JOIN pg_collation AS tco
            ON tco.oid = t.typcollation
     LEFT JOIN pg_namespace AS tcn
            ON tcn.oid = tco.collnamespace
     LEFT JOIN pg_range AS r
            ON r.rngtypid = t.oid
     LEFT JOIN pg_type AS st
            ON st.oid = r.rngsubtype
     LEFT JOIN pg_opclass AS oc
            ON oc.oid = r.rngsubopc
     LEFT JOIN pg_namespace AS ocn
            ON ocn.oid = oc.opcnamespace
     LEFT JOIN pg_collation AS rco
            ON rco.oid = r.rngcollation
     LEFT JOIN pg_namespace AS rcn
            ON rcn.oid = rco.collnamespace
     LEFT JOIN pg_proc AS fd
            ON fd.oid = r.rngsubdiff
     LEFT JOIN pg_namespace AS fdn
            ON fdn.oid = fd.pronamespace
     LEFT JOIN pg_type AS mt
            ON mt.oid = (to_jsonb(r) ->> 'rngmultitypid')::oid
WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", t.typname COLLATE "C";
