-- Operators. The commutator and the negator need not exist yet: the server keeps a place for them, which their own
-- statement fills.
SELECT 'pg_operator'::regclass::oid AS class,
       o.oid,
       'operator' AS kind,
       n.nspname::text AS schema,
       o.oprname || '(' || coalesce(format_type(nullif(o.oprleft, 0), NULL), 'none') || ','
                 || coalesce(format_type(nullif(o.oprright, 0), NULL), 'none') || ')' AS name,
       o.oprname::text AS plain_name,
       format('CREATE OPERATOR %I.%s (%s)',
              n.nspname,
              o.oprname,
              concat_ws(', ',
                        'FUNCTION = ' || o.oprcode::text,
                        'LEFTARG = ' || format_type(nullif(o.oprleft, 0), NULL),
                        'RIGHTARG = ' || format_type(nullif(o.oprright, 0), NULL),
                        CASE WHEN com.oid IS NOT NULL
                             THEN format('COMMUTATOR = OPERATOR(%I.%s)', comn.nspname, com.oprname) END,
                        CASE WHEN neg.oid IS NOT NULL
                             THEN format('NEGATOR = OPERATOR(%I.%s)', negn.nspname, neg.oprname) END,
                        CASE WHEN o.oprrest <> 0 THEN 'RESTRICT = ' || o.oprrest::text END,
                        CASE WHEN o.oprjoin <> 0 THEN 'JOIN = ' || o.oprjoin::text END,
                        CASE WHEN o.oprcanhash THEN 'HASHES' END,
                        CASE WHEN o.oprcanmerge THEN 'MERGES' END)) AS statements,
       format('OPERATOR %I.%s (%s, %s)',
              n.nspname,
              o.oprname,
              coalesce(format_type(nullif(o.oprleft, 0), NULL), 'NONE'),
              coalesce(format_type(nullif(o.oprright, 0), NULL), 'NONE')) AS comment_on,
       obj_description(o.oid, 'pg_operator') AS comment
FROM pg_operator AS o
     JOIN pg_namespace AS n
       ON n.oid = o.oprnamespace
     LEFT JOIN pg_operator AS com
            ON com.oid = o.oprcom
     LEFT JOIN pg_namespace AS comn
            ON comn.oid = com.oprnamespace
     LEFT JOIN pg_operator AS neg
            ON neg.oid = o.oprnegate
     LEFT JOIN pg_namespace AS negn
            ON negn.oid = neg.oprnamespace
WHERE o.oprcode <> 0
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", o.oprname COLLATE "C",
         format_type(nullif(o.oprleft, 0), NULL) COLLATE "C", format_type(nullif(o.oprright, 0), NULL) COLLATE "C";
