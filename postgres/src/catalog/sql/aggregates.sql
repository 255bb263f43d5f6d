-- Aggregates. What an option says is left out where it is the default, as pg_dump does.
SELECT 'pg_proc'::regclass::oid AS class,
       p.oid,
       'aggregate' AS kind,
       n.nspname::text AS schema,
       p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
       p.proname::text AS plain_name,
       format('CREATE AGGREGATE %I.%I(%s) (%s)',
              n.nspname,
              p.proname,
              coalesce(nullif(pg_get_function_arguments(p.oid), ''), '*'),
              concat_ws(', ',
                        'SFUNC = ' || a.aggtransfn::text,
                        'STYPE = ' || format_type(a.aggtranstype, NULL),
                        'SSPACE = ' || nullif(a.aggtransspace, 0),
                        CASE WHEN a.aggfinalfn <> 0 THEN 'FINALFUNC = ' || a.aggfinalfn::text END,
                        CASE WHEN a.aggfinalextra THEN 'FINALFUNC_EXTRA' END,
                        CASE WHEN a.aggfinalmodify <> usual.modify THEN 'FINALFUNC_MODIFY = ' || modify.final END,
                        CASE WHEN a.aggcombinefn <> 0 THEN 'COMBINEFUNC = ' || a.aggcombinefn::text END,
                        CASE WHEN a.aggserialfn <> 0 THEN 'SERIALFUNC = ' || a.aggserialfn::text END,
                        CASE WHEN a.aggdeserialfn <> 0 THEN 'DESERIALFUNC = ' || a.aggdeserialfn::text END,
                        'INITCOND = ' || quote_literal(a.agginitval),
                        CASE WHEN a.aggmtransfn <> 0 THEN 'MSFUNC = ' || a.aggmtransfn::text END,
                        CASE WHEN a.aggminvtransfn <> 0 THEN 'MINVFUNC = ' || a.aggminvtransfn::text END,
                        CASE WHEN a.aggmtranstype <> 0 THEN 'MSTYPE = ' || format_type(a.aggmtranstype, NULL) END,
                        'MSSPACE = ' || nullif(a.aggmtransspace, 0),
                        CASE WHEN a.aggmfinalfn <> 0 THEN 'MFINALFUNC = ' || a.aggmfinalfn::text END,
                        CASE WHEN a.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END,
                        CASE WHEN a.aggmtransfn <> 0 AND a.aggmfinalmodify <> usual.modify
                             THEN 'MFINALFUNC_MODIFY = ' || modify.moving END,
                        'MINITCOND = ' || quote_literal(a.aggminitval),
                        CASE WHEN o.oid IS NOT NULL THEN format('SORTOP = OPERATOR(%I.%s)', onn.nspname, o.oprname) END,
                        CASE p.proparallel WHEN 's' THEN 'PARALLEL = SAFE' WHEN 'r' THEN 'PARALLEL = RESTRICTED' END,
                        CASE WHEN a.aggkind = 'h' THEN 'HYPOTHETICAL' END)) AS statements,
       format('AGGREGATE %I.%I(%s)',
              n.nspname,
              p.proname,
              coalesce(nullif(pg_get_function_identity_arguments(p.oid), ''), '*')) AS comment_on,
       obj_description(p.oid, 'pg_proc') AS comment
FROM pg_aggregate AS a
     JOIN pg_proc AS p
       ON p.oid = a.aggfnoid
     JOIN pg_namespace AS n
       ON n.oid = p.pronamespace
     LEFT JOIN pg_operator AS o
            ON o.oid = a.aggsortop
     LEFT JOIN pg_namespace AS onn
            ON onn.oid = o.oprnamespace
     CROSS JOIN LATERAL (SELECT CASE a.aggkind WHEN 'n' THEN 'r' ELSE 'w' END) AS usual (modify)
     CROSS JOIN LATERAL (
            SELECT CASE a.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END,
                   CASE a.aggmfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END)
            AS modify (final, moving)
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C";
