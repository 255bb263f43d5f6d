-- Rules of tables and views; that of a view which makes it a view aside. While changes are applied none of them may fire,
-- so one that fires even then at the source becomes an ordinary one, and one that fires only then is disabled.
SELECT 'pg_rewrite'::regclass::oid AS class,
       r.oid,
       'rule' AS kind,
       n.nspname::text AS schema,
       c.relname || '.' || r.rulename AS name,
       r.rulename::text AS plain_name,
       rtrim(pg_get_ruledef(r.oid), ';')
       || CASE WHEN r.ev_enabled IN ('D', 'R')
               THEN format(E';\nALTER TABLE %I.%I DISABLE RULE %I', n.nspname, c.relname, r.rulename)
               ELSE '' END AS statements,
       format('RULE %I ON %I.%I', r.rulename, n.nspname, c.relname) AS comment_on,
       obj_description(r.oid, 'pg_rewrite') AS comment,
       c.oid AS relation,
       -- The server refuses INSERT … ON CONFLICT on such a table, even where the rule would not fire (rewriteHandler.c).
       CASE WHEN r.ev_type = '2' AND c.relkind IN ('r', 'p')
            THEN 'with a rule ON UPDATE the table could not take every change: create it at the destination after the cutover'
            END AS held_back,
       CASE r.ev_enabled WHEN 'A' THEN format('ENABLE ALWAYS at the source, an ordinary rule here: ALTER TABLE %I.%I ENABLE ALWAYS RULE %I '
                                              'after the cutover', n.nspname, c.relname, r.rulename)
                         WHEN 'R' THEN format('ENABLE REPLICA at the source, disabled here: ALTER TABLE %I.%I ENABLE REPLICA RULE %I '
                                              'after the cutover', n.nspname, c.relname, r.rulename) END AS note
FROM pg_rewrite AS r
     JOIN pg_class AS c
       ON c.oid = r.ev_class
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN'
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", r.rulename COLLATE "C";
