-- Row security: the policies of tables, then what puts them into force. `FORCE` is an object of its own, because a destination's
-- account that it binds could not apply changes.
SELECT 'pg_policy'::regclass::oid AS class,
       p.oid,
       'policy' AS kind,
       n.nspname::text AS schema,
       c.relname || '.' || p.polname AS name,
       p.polname::text AS plain_name,
       format('CREATE POLICY %I ON %I.%I AS %s FOR %s TO %s%s%s',
              p.polname,
              n.nspname,
              c.relname,
              CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
              CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                            ELSE 'ALL' END,
              (SELECT string_agg(CASE WHEN role = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ' ORDER BY role)
               FROM unnest(p.polroles) AS role),
              ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
              ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS statements,
       format('POLICY %I ON %I.%I', p.polname, n.nspname, c.relname) AS comment_on,
       obj_description(p.oid, 'pg_policy') AS comment,
       c.oid AS relation
FROM pg_policy AS p
     JOIN pg_class AS c
       ON c.oid = p.polrelid
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
UNION ALL
SELECT setting.class::oid,
       c.oid,
       setting.kind,
       n.nspname::text,
       c.relname::text,
       c.relname::text,
       format('ALTER TABLE %I.%I %s ROW LEVEL SECURITY', n.nspname, c.relname, setting.verb),
       NULL,
       NULL,
       c.oid
FROM pg_class AS c
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
     JOIN LATERAL (VALUES (0, 'row security', 'ENABLE', c.relrowsecurity),
                          (1, 'forced row security', 'FORCE', c.relforcerowsecurity))
                       AS setting (class, kind, verb, is_set)
       ON setting.is_set
WHERE c.relkind IN ('r', 'p')
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
-- Policies first: a table without any lets nobody but its owner see a row.
ORDER BY 1 DESC, 4, 5;
