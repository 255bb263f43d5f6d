-- What belongs to extensions, of the kinds that objects of users refer to.
SELECT d.classid::oid AS class,
       d.objid AS oid,
       e.extname::text AS extension,
       e.extversion AS version,
       n.nspname::text AS schema
FROM pg_depend AS d
     JOIN pg_extension AS e
       ON e.oid = d.refobjid
     JOIN pg_namespace AS n
       ON n.oid = e.extnamespace
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.deptype = 'e'
  AND d.classid <> 'pg_language'::regclass
ORDER BY e.extname COLLATE "C", d.classid, d.objid;
