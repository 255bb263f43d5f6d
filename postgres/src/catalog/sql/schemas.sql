-- Every schema that may hold objects of a user. The caller leaves out those of extensions.
SELECT n.oid,
       n.nspname::text AS schema,
       e.extname::text AS extension
FROM pg_namespace AS n
     LEFT JOIN pg_depend AS d
            ON d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e'
     LEFT JOIN pg_extension AS e
            ON e.oid = d.refobjid
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
ORDER BY n.nspname COLLATE "C";
