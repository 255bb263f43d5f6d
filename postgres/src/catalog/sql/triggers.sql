-- Triggers of tables and views, those of foreign keys and the copies on partitions aside. While changes are applied none of
-- them may fire, so one that fires even then at the source becomes an ordinary one, and one that fires only then is disabled.
SELECT 'pg_trigger'::regclass::oid AS class,
       g.oid,
       'trigger' AS kind,
       n.nspname::text AS schema,
       c.relname || '.' || g.tgname AS name,
       g.tgname::text AS plain_name,
       pg_get_triggerdef(g.oid)
       || CASE WHEN g.tgenabled IN ('D', 'R')
               THEN format(E';\nALTER TABLE %I.%I DISABLE TRIGGER %I', n.nspname, c.relname, g.tgname)
               ELSE '' END AS statements,
       format('TRIGGER %I ON %I.%I', g.tgname, n.nspname, c.relname) AS comment_on,
       obj_description(g.oid, 'pg_trigger') AS comment,
       c.oid AS relation,
       CASE g.tgenabled WHEN 'A' THEN format('ENABLE ALWAYS at the source, an ordinary trigger here: ALTER TABLE %I.%I ENABLE ALWAYS '
                                             'TRIGGER %I after the cutover', n.nspname, c.relname, g.tgname)
                        WHEN 'R' THEN format('ENABLE REPLICA at the source, disabled here: ALTER TABLE %I.%I ENABLE REPLICA '
                                             'TRIGGER %I after the cutover', n.nspname, c.relname, g.tgname) END AS note
FROM pg_trigger AS g
     JOIN pg_class AS c
       ON c.oid = g.tgrelid
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal
  AND coalesce(to_jsonb(g) ->> 'tgparentid', '0') = '0'
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_trigger'::regclass AND d.objid = g.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", g.tgname COLLATE "C";
