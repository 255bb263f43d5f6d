-- What PostgreSQL 15 brought.

CREATE VIEW k.invoker WITH (security_invoker = true) AS SELECT id FROM k.people;
CREATE TABLE k.nulls (id integer PRIMARY KEY, a integer, UNIQUE NULLS NOT DISTINCT (a));
