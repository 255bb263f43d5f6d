-- Text search configurations: a parser, and the dictionaries for each type of token.
SELECT 'pg_ts_config'::regclass::oid AS class,
       c.oid,
       'text search configuration' AS kind,
       n.nspname::text AS schema,
       c.cfgname::text AS name,
       c.cfgname::text AS plain_name,
       format('CREATE TEXT SEARCH CONFIGURATION %I.%I (PARSER = %I.%I)', n.nspname, c.cfgname, pn.nspname, p.prsname)
       || coalesce(mapping.statements, '') AS statements,
       format('TEXT SEARCH CONFIGURATION %I.%I', n.nspname, c.cfgname) AS comment_on,
       obj_description(c.oid, 'pg_ts_config') AS comment
FROM pg_ts_config AS c
     JOIN pg_namespace AS n
       ON n.oid = c.cfgnamespace
     JOIN pg_ts_parser AS p
       ON p.oid = c.cfgparser
     JOIN pg_namespace AS pn
       ON pn.oid = p.prsnamespace
     LEFT JOIN LATERAL (
            SELECT string_agg(format(E';\nALTER TEXT SEARCH CONFIGURATION %I.%I ADD MAPPING FOR %I WITH %s',
                                     n.nspname, c.cfgname, token.alias, token.dictionaries),
                              '' ORDER BY token.tokid) AS statements
            FROM (SELECT t.tokid, t.alias, string_agg(m.mapdict::regdictionary::text, ', ' ORDER BY m.mapseqno) AS dictionaries
                  FROM pg_ts_config_map AS m
                       JOIN ts_token_type(c.cfgparser) AS t
                         ON t.tokid = m.maptokentype
                  WHERE m.mapcfg = c.oid
                  GROUP BY t.tokid, t.alias) AS token) AS mapping
            ON true
WHERE n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_ts_config'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.cfgname COLLATE "C";
