-- How the rows of tables are spread over the segments of the Greenplum family (from Greenplum 6 on), and their access methods.
-- $1: tables. policytype: p is partitioned over the segments, by a key or randomly; r is replicated.
SELECT p.localoid AS oid,
       p.policytype::text AS policy_type,
       ARRAY(SELECT a.attname::text
             FROM unnest(p.distkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
                  JOIN pg_attribute AS a
                    ON a.attrelid = p.localoid AND a.attnum = k.attnum
             ORDER BY k.place) AS columns,
       coalesce(m.amname::text, '') AS access_method
FROM gp_distribution_policy AS p
     JOIN pg_class AS c
       ON c.oid = p.localoid
     LEFT JOIN pg_am AS m
            ON m.oid = c.relam
WHERE p.localoid = ANY ($1::oid[]);
