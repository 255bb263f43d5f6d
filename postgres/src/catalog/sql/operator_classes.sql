-- Operator classes, with the members that go with them: those of their family that depend on the class itself.
WITH member AS (
     SELECT d.refobjid AS class,
            1 AS place,
            o.amopstrategy AS number,
            format('OPERATOR %s %s%s', o.amopstrategy, o.amopopr::regoperator,
                   CASE WHEN sort.oid IS NOT NULL
                        THEN format(' FOR ORDER BY %I.%I', sortn.nspname, sort.opfname) END) AS clause
     FROM pg_depend AS d
          JOIN pg_amop AS o
            ON o.oid = d.objid
          LEFT JOIN pg_opfamily AS sort
                 ON sort.oid = o.amopsortfamily
          LEFT JOIN pg_namespace AS sortn
                 ON sortn.oid = sort.opfnamespace
     WHERE d.classid = 'pg_amop'::regclass AND d.refclassid = 'pg_opclass'::regclass
     UNION ALL
     SELECT d.refobjid,
            2,
            p.amprocnum,
            format('FUNCTION %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, NULL),
                   format_type(p.amprocrighttype, NULL), p.amproc::regprocedure)
     FROM pg_depend AS d
          JOIN pg_amproc AS p
            ON p.oid = d.objid
     WHERE d.classid = 'pg_amproc'::regclass AND d.refclassid = 'pg_opclass'::regclass
     UNION ALL
     SELECT c.oid, 0, 0, 'STORAGE ' || format_type(c.opckeytype, NULL)
     FROM pg_opclass AS c
     WHERE c.opckeytype <> 0
)
SELECT 'pg_opclass'::regclass::oid AS class,
       c.oid,
       'operator class' AS kind,
       n.nspname::text AS schema,
       c.opcname || ' USING ' || a.amname AS name,
       c.opcname::text AS plain_name,
       format('CREATE OPERATOR CLASS %I.%I%s FOR TYPE %s USING %I FAMILY %I.%I AS %s',
              n.nspname,
              c.opcname,
              CASE WHEN c.opcdefault THEN ' DEFAULT' END,
              format_type(c.opcintype, NULL),
              a.amname,
              fn.nspname,
              f.opfname,
              coalesce((SELECT string_agg(m.clause, ', ' ORDER BY m.place, m.number, m.clause COLLATE "C")
                        FROM member AS m WHERE m.class = c.oid),
                       -- There is no class without any clause; this one says what holds anyway.
                       'STORAGE ' || format_type(c.opcintype, NULL))) AS statements,
       format('OPERATOR CLASS %I.%I USING %I', n.nspname, c.opcname, a.amname) AS comment_on,
       obj_description(c.oid, 'pg_opclass') AS comment
FROM pg_opclass AS c
     JOIN pg_namespace AS n
       ON n.oid = c.opcnamespace
     JOIN pg_am AS a
       ON a.oid = c.opcmethod
     JOIN pg_opfamily AS f
       ON f.oid = c.opcfamily
     JOIN pg_namespace AS fn
       ON fn.oid = f.opfnamespace
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_opclass'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.opcname COLLATE "C", a.amname COLLATE "C";
