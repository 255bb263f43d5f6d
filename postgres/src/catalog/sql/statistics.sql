-- Extended statistics. A target of its own is -1 where there is none up to PostgreSQL 16, NULL since.
SELECT 'pg_statistic_ext'::regclass::oid AS class,
       s.oid,
       'statistics object' AS kind,
       n.nspname::text AS schema,
       s.stxname::text AS name,
       s.stxname::text AS plain_name,
       pg_get_statisticsobjdef(s.oid)
       || CASE WHEN (to_jsonb(s) ->> 'stxstattarget')::integer >= 0
               THEN format(E';\nALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, s.stxname, to_jsonb(s) ->> 'stxstattarget')
               ELSE '' END AS statements,
       format('STATISTICS %I.%I', n.nspname, s.stxname) AS comment_on,
       obj_description(s.oid, 'pg_statistic_ext') AS comment,
       s.stxrelid AS relation
FROM pg_statistic_ext AS s
     JOIN pg_namespace AS n
       ON n.oid = s.stxnamespace
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
ORDER BY n.nspname COLLATE "C", s.stxname COLLATE "C";
