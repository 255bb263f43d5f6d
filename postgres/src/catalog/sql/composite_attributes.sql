-- $1: composite types.
SELECT t.oid AS type,
       a.attname::text AS name,
       format_type(a.atttypid, a.atttypmod) AS type_name,
       CASE WHEN a.attcollation <> 0 AND a.attcollation <> at.typcollation
            THEN format('%I.%I', cn.nspname, co.collname) END AS collation
FROM pg_type AS t
     JOIN pg_attribute AS a
       ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
     JOIN pg_type AS at
       ON at.oid = a.atttypid
     LEFT JOIN pg_collation AS co
            ON co.oid = a.attcollation
     LEFT JOIN pg_namespace AS cn
            ON cn.oid = co.collnamespace
WHERE t.oid = ANY ($1::oid[])
ORDER BY t.oid, a.attnum;
