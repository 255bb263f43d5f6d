-- Operator families, with the members that belong to no class.
WITH member AS (
     SELECT d.refobjid AS family,
            0 AS of_functions,
            format('OPERATOR %s %s%s', o.amopstrategy, o.amopopr::regoperator,
                   CASE WHEN sort.oid IS NOT NULL
                        THEN format(' FOR ORDER BY %I.%I', sortn.nspname, sort.opfname) END) AS clause,
            o.amopstrategy AS number,
            o.amoplefttype AS left_type,
            o.amoprighttype AS right_type
     FROM pg_depend AS d
          JOIN pg_amop AS o
            ON o.oid = d.objid
          LEFT JOIN pg_opfamily AS sort
                 ON sort.oid = o.amopsortfamily
          LEFT JOIN pg_namespace AS sortn
                 ON sortn.oid = sort.opfnamespace
     WHERE d.classid = 'pg_amop'::regclass AND d.refclassid = 'pg_opfamily'::regclass
       AND d.refobjid = o.amopfamily
     UNION ALL
     SELECT d.refobjid,
            1,
            format('FUNCTION %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, NULL),
                   format_type(p.amprocrighttype, NULL), p.amproc::regprocedure),
            p.amprocnum,
            p.amproclefttype,
            p.amprocrighttype
     FROM pg_depend AS d
          JOIN pg_amproc AS p
            ON p.oid = d.objid
     WHERE d.classid = 'pg_amproc'::regclass AND d.refclassid = 'pg_opfamily'::regclass
)
SELECT 'pg_opfamily'::regclass::oid AS class,
       f.oid,
       'operator family' AS kind,
       n.nspname::text AS schema,
       f.opfname || ' USING ' || a.amname AS name,
       f.opfname::text AS plain_name,
       format('CREATE OPERATOR FAMILY %I.%I USING %I', n.nspname, f.opfname, a.amname)
       || coalesce((SELECT format(E';\nALTER OPERATOR FAMILY %I.%I USING %I ADD ', n.nspname, f.opfname, a.amname)
                           || string_agg(m.clause, ', ' ORDER BY m.of_functions, m.number, m.left_type, m.right_type)
                    FROM member AS m
                    WHERE m.family = f.oid
                    HAVING count(*) > 0), '') AS statements,
       format('OPERATOR FAMILY %I.%I USING %I', n.nspname, f.opfname, a.amname) AS comment_on,
       obj_description(f.oid, 'pg_opfamily') AS comment
FROM pg_opfamily AS f
     JOIN pg_namespace AS n
       ON n.oid = f.opfnamespace
     JOIN pg_am AS a
       ON a.oid = f.opfmethod
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_opfamily'::regclass AND d.objid = f.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", f.opfname COLLATE "C", a.amname COLLATE "C";
