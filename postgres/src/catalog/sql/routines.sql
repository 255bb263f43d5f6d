-- Functions and procedures that need no library of the server, as pg_get_functiondef() prints them, which always says
-- OR REPLACE: what stands under that name at the destination must stay.
SELECT 'pg_proc'::regclass::oid AS class,
       p.oid,
       lower(k.word) AS kind,
       n.nspname::text AS schema,
       p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
       p.proname::text AS plain_name,
       'CREATE ' || substr(pg_get_functiondef(p.oid), length('CREATE OR REPLACE ') + 1) AS statements,
       format('%s %I.%I(%s)', k.word, n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS comment_on,
       obj_description(p.oid, 'pg_proc') AS comment,
       l.lanname::text AS language
FROM pg_proc AS p
     JOIN pg_namespace AS n
       ON n.oid = p.pronamespace
     JOIN pg_language AS l
       ON l.oid = p.prolang
     CROSS JOIN LATERAL (SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END) AS k (word)
WHERE p.prokind IN ('f', 'p', 'w')
  AND l.lanname NOT IN ('c', 'internal')
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  -- Of an extension, or the constructor of a range type.
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
ORDER BY n.nspname COLLATE "C", p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C";
