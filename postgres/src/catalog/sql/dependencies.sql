-- Which object needs which, parts counted for the whole that they are created with: the query of a view for the view, a
-- default, a key or an index for its table, a row type for its table or view, an array for its element. System objects need not
-- be mentioned.
--
-- late: the table stands before it needs this, which is for a default, a constraint or an index. needs_key: what is needed is
-- the table with its keys, because a query groups by one.
WITH whole AS (
     SELECT 'pg_type'::regclass::oid AS classid,
            t.oid AS objid,
            CASE WHEN c.oid IS NULL THEN 'pg_type'::regclass::oid ELSE 'pg_class'::regclass::oid END AS class,
            coalesce(c.oid, b.oid) AS object,
            false AS late
     FROM pg_type AS t
          LEFT JOIN pg_type AS e
                 ON e.typarray = t.oid
          LEFT JOIN pg_range AS r
                 ON (to_jsonb(r) ->> 'rngmultitypid')::oid = coalesce(e.oid, t.oid)
          JOIN pg_type AS b
            ON b.oid = coalesce(r.rngtypid, e.oid, t.oid)
          LEFT JOIN pg_class AS c
                 ON c.oid = b.typrelid AND c.relkind <> 'c'
     WHERE t.oid >= 16384
     UNION ALL
     SELECT 'pg_class'::regclass, c.oid, 'pg_type'::regclass, c.reltype, false
     FROM pg_class AS c
     WHERE c.relkind = 'c' AND c.oid >= 16384
     UNION ALL
     SELECT 'pg_class'::regclass, i.indexrelid, 'pg_class'::regclass, i.indrelid, true
     FROM pg_index AS i
     WHERE i.indexrelid >= 16384
     UNION ALL
     SELECT 'pg_rewrite'::regclass, r.oid, 'pg_class'::regclass, r.ev_class, false
     FROM pg_rewrite AS r
     WHERE r.rulename = '_RETURN' AND r.oid >= 16384
     UNION ALL
     SELECT 'pg_attrdef'::regclass, d.oid, 'pg_class'::regclass, d.adrelid, a.attgenerated = '' AND c.relkind <> 'v'
     FROM pg_attrdef AS d
          JOIN pg_class AS c
            ON c.oid = d.adrelid
          JOIN pg_attribute AS a
            ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     UNION ALL
     SELECT 'pg_constraint'::regclass,
            c.oid,
            CASE WHEN c.contypid <> 0 THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END,
            CASE WHEN c.contypid <> 0 THEN c.contypid ELSE c.conrelid END,
            c.contypid = 0
     FROM pg_constraint AS c
     WHERE c.oid >= 16384
     UNION ALL
     -- Members of operator classes and families.
     SELECT DISTINCT d.classid, d.objid, d.refclassid, d.refobjid, false
     FROM pg_depend AS d
     WHERE d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass)
       AND d.refclassid IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass)
)
SELECT DISTINCT edge.class, edge.object, edge.needs_class, edge.needs, edge.late, edge.needs_key
FROM (SELECT coalesce(p.class, d.classid) AS class,
             coalesce(p.object, d.objid) AS object,
             coalesce(w.class, d.refclassid) AS needs_class,
             coalesce(w.object, d.refobjid) AS needs,
             coalesce(p.late, false) AS late,
             d.refclassid = 'pg_constraint'::regclass AND d.classid = 'pg_rewrite'::regclass AS needs_key
      FROM pg_depend AS d
           LEFT JOIN whole AS p
                  ON p.classid = d.classid AND p.objid = d.objid
           LEFT JOIN whole AS w
                  ON w.classid = d.refclassid AND w.objid = d.refobjid
      WHERE d.refobjid >= 16384
        AND d.deptype <> 'e'
        AND d.refclassid NOT IN ('pg_namespace'::regclass, 'pg_extension'::regclass)
        -- A sequence goes with the column that owns it, which does not mean that it needs it.
        AND NOT (d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                 AND EXISTS (SELECT FROM pg_sequence AS s WHERE s.seqrelid = d.objid))) AS edge
WHERE (edge.class, edge.object) <> (edge.needs_class, edge.needs)
ORDER BY edge.class, edge.object, edge.needs_class, edge.needs, edge.late, edge.needs_key;
