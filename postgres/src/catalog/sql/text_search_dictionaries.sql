-- Text search dictionaries: a template with options.
SELECT 'pg_ts_dict'::regclass::oid AS class,
       d.oid,
       'text search dictionary' AS kind,
       n.nspname::text AS schema,
       d.dictname::text AS name,
       d.dictname::text AS plain_name,
       format('CREATE TEXT SEARCH DICTIONARY %I.%I (TEMPLATE = %I.%I%s)',
              n.nspname,
              d.dictname,
              tn.nspname,
              t.tmplname,
              -- The server keeps them as they are written here.
              ', ' || nullif(d.dictinitoption, '')) AS statements,
       format('TEXT SEARCH DICTIONARY %I.%I', n.nspname, d.dictname) AS comment_on,
       obj_description(d.oid, 'pg_ts_dict') AS comment
FROM pg_ts_dict AS d
     JOIN pg_namespace AS n
       ON n.oid = d.dictnamespace
     JOIN pg_ts_template AS t
       ON t.oid = d.dicttemplate
     JOIN pg_namespace AS tn
       ON tn.oid = t.tmplnamespace
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS e
                  WHERE e.classid = 'pg_ts_dict'::regclass AND e.objid = d.oid AND e.deptype = 'e')
ORDER BY n.nspname COLLATE "C", d.dictname COLLATE "C";
