-- Views and materialised views, with their options and the defaults of their columns. `placeholder` makes a view of the same
-- columns that needs nothing but their types, for views that need each other.
SELECT 'pg_class'::regclass::oid AS class,
       c.oid,
       lower(k.word) AS kind,
       n.nspname::text AS schema,
       c.relname::text AS name,
       c.relname::text AS plain_name,
       format(E'CREATE %s %I.%I%s AS\n%s%s',
              k.word,
              n.nspname,
              c.relname,
              ' WITH (' || options.list || ')',
              rtrim(pg_get_viewdef(c.oid), ';'),
              CASE WHEN c.relkind = 'm' THEN E'\n WITH NO DATA'
                   WHEN 'check_option=local' = ANY (c.reloptions) THEN E'\n WITH LOCAL CHECK OPTION'
                   WHEN 'check_option=cascaded' = ANY (c.reloptions) THEN E'\n WITH CASCADED CHECK OPTION' END)
       || coalesce(defaults.statements, '') || coalesce(settings.statements, '') AS statements,
       CASE WHEN c.relkind = 'v' THEN format('CREATE VIEW %I.%I AS SELECT %s', n.nspname, c.relname, columns.nulls) END
           AS placeholder,
       columns.names AS columns,
       format('%s %I.%I', k.word, n.nspname, c.relname) AS comment_on,
       obj_description(c.oid, 'pg_class') AS comment
FROM pg_class AS c
     JOIN pg_namespace AS n
       ON n.oid = c.relnamespace
     LEFT JOIN pg_class AS toast
            ON toast.oid = c.reltoastrelid
     CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END) AS k (word)
     LEFT JOIN LATERAL (
            SELECT string_agg(format('%s%I=%L', o.prefix, split_part(o.option, '=', 1),
                                     substr(o.option, strpos(o.option, '=') + 1)), ', ' ORDER BY o.prefix, o.place) AS list
            FROM (SELECT '' AS prefix, option, place
                  FROM unnest(c.reloptions) WITH ORDINALITY AS own (option, place)
                  WHERE option !~ '^check_option='
                  UNION ALL
                  SELECT 'toast.', option, place
                  FROM unnest(toast.reloptions) WITH ORDINALITY AS own (option, place)) AS o) AS options
            ON true
     LEFT JOIN LATERAL (
            SELECT string_agg(format(E';\nALTER VIEW %I.%I ALTER COLUMN %I SET DEFAULT %s',
                                     n.nspname, c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid)),
                              '' ORDER BY a.attnum) AS statements
            FROM pg_attrdef AS d
                 JOIN pg_attribute AS a
                   ON a.attrelid = d.adrelid AND a.attnum = d.adnum
            WHERE d.adrelid = c.oid AND c.relkind = 'v') AS defaults
            ON true
     LEFT JOIN LATERAL (
            SELECT string_agg(format(E';\nALTER MATERIALIZED VIEW %I.%I ALTER COLUMN %I SET %s',
                                     n.nspname, c.relname, a.attname, s.setting),
                              '' ORDER BY a.attnum, s.setting) AS statements
            FROM pg_attribute AS a
                 JOIN pg_type AS t
                   ON t.oid = a.atttypid
                 CROSS JOIN LATERAL (
                        VALUES (CASE WHEN a.attstorage <> t.typstorage
                                     THEN 'STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                                                                          WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END),
                               (CASE to_jsonb(a) ->> 'attcompression' WHEN 'p' THEN 'COMPRESSION pglz'
                                                                      WHEN 'l' THEN 'COMPRESSION lz4' END),
                               (CASE WHEN a.attstattarget >= 0 THEN 'STATISTICS ' || a.attstattarget END)) AS s (setting)
            WHERE a.attrelid = c.oid AND c.relkind = 'm' AND a.attnum > 0 AND NOT a.attisdropped
              AND s.setting IS NOT NULL) AS settings
            ON true
     LEFT JOIN LATERAL (
            SELECT string_agg(format('NULL::%s%s AS %I',
                                     format_type(a.atttypid, a.atttypmod),
                                     CASE WHEN a.attcollation <> t.typcollation
                                          THEN format(' COLLATE %I.%I', cn.nspname, co.collname) END,
                                     a.attname), ', ' ORDER BY a.attnum) AS nulls,
                   array_agg(a.attname::text ORDER BY a.attnum) AS names
            FROM pg_attribute AS a
                 JOIN pg_type AS t
                   ON t.oid = a.atttypid
                 LEFT JOIN pg_collation AS co
                        ON co.oid = a.attcollation
                 LEFT JOIN pg_namespace AS cn
                        ON cn.oid = co.collnamespace
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
            ON true
WHERE c.relkind IN ('v', 'm')
  AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'strait', 'gp_toolkit')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";
