-- Casts that a user made: they belong to no schema.
SELECT 'pg_cast'::regclass::oid AS class,
       c.oid,
       'cast' AS kind,
       '' AS schema,
       format_type(c.castsource, NULL) || ' AS ' || format_type(c.casttarget, NULL) AS name,
       '' AS plain_name,
       format('CREATE CAST (%s AS %s) %s%s',
              format_type(c.castsource, NULL),
              format_type(c.casttarget, NULL),
              CASE c.castmethod WHEN 'b' THEN 'WITHOUT FUNCTION'
                                WHEN 'i' THEN 'WITH INOUT'
                                ELSE format('WITH FUNCTION %s', c.castfunc::regprocedure) END,
              CASE c.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' END) AS statements,
       format('CAST (%s AS %s)', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)) AS comment_on,
       obj_description(c.oid, 'pg_cast') AS comment
FROM pg_cast AS c
WHERE c.oid >= 16384
  -- Of an extension, or between a range and its multirange.
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
ORDER BY format_type(c.castsource, NULL) COLLATE "C", format_type(c.casttarget, NULL) COLLATE "C";
