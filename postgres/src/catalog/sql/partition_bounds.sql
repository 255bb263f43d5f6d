-- $1: leaves. The bounds of all levels above are part of the text. NULL: the only partition of its table, a default
-- one.
SELECT t.oid,
       pg_get_partition_constraintdef(t.oid) AS bounds
FROM unnest($1::oid[]) AS t (oid);
