-- $1: partitioned tables and partitions that keep their structure.
SELECT c.oid,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS key,
       CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS bound
FROM pg_class AS c
WHERE c.oid = ANY ($1::oid[]);
