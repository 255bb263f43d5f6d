-- What PostgreSQL 14 brought.

CREATE FUNCTION k.early(n integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN k.twice(n) + 1;
CREATE FUNCTION k.reads() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM k.people; SELECT count(*) FROM k.adults; END;
CREATE PROCEDURE k.writes(n integer) LANGUAGE sql BEGIN ATOMIC INSERT INTO k.log VALUES (now(), 'atomic', NULL, n); END;
CREATE TYPE k.day_range AS RANGE (SUBTYPE = date, MULTIRANGE_TYPE_NAME = k.day_ranges);
CREATE TABLE k.shifts (id integer PRIMARY KEY, days k.day_ranges, early integer GENERATED ALWAYS AS (k.early(id)) STORED,
                       compressed text COMPRESSION pglz);
CREATE STATISTICS k.of_expressions ON (code || 'x'), (id % 7) FROM k.people;
