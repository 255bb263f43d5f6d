-- Who inherits from whom: plain inheritance and partitions alike, indexes left out. A partition is detached in two steps
-- from PostgreSQL 14 on.
SELECT i.inhrelid AS child,
       i.inhparent AS parent,
       p.relkind = 'p' AS by_partition,
       coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false) AS detaching
FROM pg_inherits AS i
     JOIN pg_class AS p
       ON p.oid = i.inhparent AND p.relkind IN ('r', 'p', 'f')
ORDER BY i.inhrelid, i.inhseqno;
