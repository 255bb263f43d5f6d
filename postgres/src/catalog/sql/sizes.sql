-- $1: tables and leaves. A table that was dropped a moment ago has no size.
SELECT t.oid,
       coalesce(pg_table_size(t.oid::regclass), 0) AS size_bytes
FROM unnest($1::oid[]) AS t (oid);
