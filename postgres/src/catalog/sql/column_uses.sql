-- The columns that queries, conditions and bodies name, of whichever object; the query of a view counted for the view.
SELECT CASE WHEN r.rulename = '_RETURN' THEN 'pg_class'::regclass ELSE d.classid END::oid AS class,
       CASE WHEN r.rulename = '_RETURN' THEN r.ev_class ELSE d.objid END AS object,
       d.refobjid AS relation,
       a.attname::text AS column
FROM pg_depend AS d
     JOIN pg_attribute AS a
       ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     LEFT JOIN pg_rewrite AS r
            ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
WHERE d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass,
                    'pg_statistic_ext'::regclass)
  AND d.refclassid = 'pg_class'::regclass
  AND d.refobjsubid > 0
  AND d.refobjid >= 16384
ORDER BY 1, 2, 3, a.attnum;
