-- What belongs to the database as a whole and is not carried. plpgsql is everywhere, publications of Strait are
-- Strait's.
WITH member AS (
     SELECT d.classid, d.objid
     FROM pg_depend AS d
     -- What an extension brought, and the casts between a range and its multirange.
     WHERE d.deptype IN ('e', 'i')
)
SELECT found.kind, '' AS schema, found.name, found.reason
FROM (
      SELECT 'extension' AS kind, e.extname::text AS name,
             format('extensions are not carried: create it at the destination (version %s in schema %s here) '
                    'before objects that need it', e.extversion, n.nspname) AS reason,
             0::oid AS classid, 0::oid AS oid
      FROM pg_extension AS e
           JOIN pg_namespace AS n
             ON n.oid = e.extnamespace
      WHERE e.extname <> 'plpgsql'
      UNION ALL
      SELECT 'event trigger', t.evtname::text, 'it would fire on what Strait itself does: create it at the destination after the cutover',
             'pg_event_trigger'::regclass, t.oid
      FROM pg_event_trigger AS t
      UNION ALL
      SELECT 'transform', format('FOR %s LANGUAGE %s', format_type(t.trftype, NULL), l.lanname),
             'it needs a library of the server', 'pg_transform'::regclass, t.oid
      FROM pg_transform AS t
           JOIN pg_language AS l
             ON l.oid = t.trflang
      UNION ALL
      SELECT 'language', l.lanname::text, 'it needs a library of the server', 'pg_language'::regclass, l.oid
      FROM pg_language AS l
      WHERE l.oid >= 16384
      UNION ALL
      SELECT 'access method', a.amname::text, 'it needs a library of the server', 'pg_am'::regclass, a.oid
      FROM pg_am AS a
      WHERE a.oid >= 16384
      UNION ALL
      SELECT 'foreign-data wrapper', w.fdwname::text, 'foreign data is not carried',
             'pg_foreign_data_wrapper'::regclass, w.oid
      FROM pg_foreign_data_wrapper AS w
      UNION ALL
      SELECT 'foreign server', s.srvname::text, 'foreign data is not carried', 'pg_foreign_server'::regclass, s.oid
      FROM pg_foreign_server AS s
      UNION ALL
      SELECT 'publication', p.pubname::text, 'replication settings are not carried', 'pg_publication'::regclass, p.oid
      FROM pg_publication AS p
      WHERE p.pubname !~ '^dts_sync_'
      UNION ALL
      SELECT 'subscription', s.subname::text, 'replication settings are not carried', 0, 0
      FROM pg_subscription AS s
           JOIN pg_database AS d
             ON d.oid = s.subdbid AND d.datname = current_database()
      UNION ALL
      SELECT 'default privilege', '', 'grants are not carried', 0, 0
      WHERE EXISTS (SELECT FROM pg_default_acl)
      UNION ALL
      SELECT 'large object', '', 'large objects are not in the change stream: they stay behind', 0, 0
      WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
      UNION ALL
      SELECT 'temporary table', '', 'temporary tables belong to one session', 0, 0
      WHERE EXISTS (SELECT FROM pg_class AS c
                    WHERE c.relpersistence = 't' AND c.relkind IN ('r', 'p'))
     ) AS found
WHERE NOT EXISTS (SELECT FROM member WHERE member.classid = found.classid AND member.objid = found.oid)
ORDER BY found.kind COLLATE "C", found.name COLLATE "C";
