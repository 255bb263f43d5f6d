-- $1: domains. NOT NULL, a constraint of its own since PostgreSQL 17, is a property of the domain here.
SELECT c.contypid AS type,
       c.conname::text AS name,
       pg_get_constraintdef(c.oid) AS definition,
       c.convalidated AS validated
FROM pg_constraint AS c
WHERE c.contypid = ANY ($1::oid[])
  AND c.contype = 'c'
ORDER BY c.contypid, c.conname COLLATE "C";
