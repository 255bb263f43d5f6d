-- One schema with every kind of object that Strait carries, odd names among them. What only newer servers know stands in
-- kinds_14.sql and kinds_15.sql.

CREATE SCHEMA k;
CREATE SCHEMA "odd ""schema"".select";
COMMENT ON SCHEMA k IS 'every kind, it''s said';

-- Types, and functions that they need.
CREATE TYPE k.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE k.point3 AS (x double precision, y double precision, "z ""axis""" text COLLATE "C");
COMMENT ON TYPE k.mood IS 'of people';
COMMENT ON COLUMN k.point3.x IS 'to the right';
CREATE FUNCTION k.is_even(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT n % 2 = 0';
CREATE DOMAIN k.even AS integer DEFAULT 2 CONSTRAINT "is ""even""" CHECK (k.is_even(VALUE));
COMMENT ON DOMAIN k.even IS 'halves';
COMMENT ON CONSTRAINT "is ""even""" ON DOMAIN k.even IS 'checked by a function';
CREATE FUNCTION k.time_diff(a time, b time) RETURNS double precision LANGUAGE sql IMMUTABLE STRICT AS
    'SELECT extract(epoch FROM a - b)::double precision';
CREATE TYPE k.time_range AS RANGE (SUBTYPE = time, SUBTYPE_DIFF = k.time_diff);
CREATE TYPE "odd ""schema"".select"."Type Δ" AS ENUM ('a b', '');

-- Tables whose columns call functions, and functions that take their rows.
CREATE FUNCTION k.next_code() RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN 'c' || nextval('k.codes'); END$$;
CREATE SEQUENCE k.codes AS integer INCREMENT 5 START 10 MINVALUE 10 MAXVALUE 1000 CACHE 3 CYCLE;
COMMENT ON SEQUENCE k.codes IS 'of things';
CREATE FUNCTION k.twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE TABLE k.people (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL DEFAULT k.next_code(),
    mood k.mood DEFAULT 'ok',
    age k.even,
    twice integer GENERATED ALWAYS AS (k.twice(id)) STORED,
    "odd ""column""" text,
    big text,
    CONSTRAINT "code is ""long""" CHECK (length(code) > 1),
    UNIQUE (code) WITH (fillfactor = 70)
) WITH (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 99);
ALTER TABLE k.people ALTER COLUMN big SET STORAGE EXTERNAL;
ALTER TABLE k.people ALTER COLUMN code SET STATISTICS 250;
ALTER TABLE k.people ALTER COLUMN mood SET (n_distinct = 3);
COMMENT ON TABLE k.people IS 'who they are; "quoted" and \escaped';
COMMENT ON COLUMN k.people."odd ""column""" IS 'odd';
CREATE INDEX by_age ON k.people (age DESC, (twice + 1)) INCLUDE (code) WITH (fillfactor = 60) WHERE id > 0;
ALTER INDEX k.by_age ALTER COLUMN 2 SET STATISTICS 77;
CREATE INDEX "by ""odd""" ON k.people (lower("odd ""column""") COLLATE "C" text_pattern_ops);
ALTER TABLE k.people CLUSTER ON "by ""odd""";
COMMENT ON INDEX k.by_age IS 'an index';
COMMENT ON CONSTRAINT people_pkey ON k.people IS 'the key';
COMMENT ON CONSTRAINT "code is ""long""" ON k.people IS 'a check';
CREATE TABLE k.log (at timestamptz DEFAULT now(), what text, who integer REFERENCES k.people, n integer PRIMARY KEY);
COMMENT ON CONSTRAINT log_who_fkey ON k.log IS 'a foreign key';
CREATE TABLE "odd ""schema"".select"."Table 'x'" ("Id" integer PRIMARY KEY, "order" "odd ""schema"".select"."Type Δ");

CREATE FUNCTION k.greet(p k.people, greeting text DEFAULT 'hello, "') RETURNS text LANGUAGE sql STABLE AS
    $$SELECT greeting || p.code$$;
COMMENT ON FUNCTION k.greet IS 'takes a row';
CREATE FUNCTION k.all_people() RETURNS SETOF k.people LANGUAGE sql ROWS 10 AS 'SELECT * FROM k.people';
CREATE FUNCTION k.variadic(VARIADIC n integer[], OUT total bigint) LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = k, pg_temp SET work_mem = '1MB' COST 7 AS
    $body$BEGIN SELECT sum(x) INTO total FROM unnest(n) AS x; -- $$ and 'quotes'
END$body$;
CREATE FUNCTION "odd ""schema"".select"."Func Δ"("Arg 'x'" "odd ""schema"".select"."Type Δ") RETURNS TABLE ("A" integer, "b c" text)
    LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT 1, ''x''; END';
CREATE PROCEDURE k.clear(INOUT n integer) LANGUAGE plpgsql AS $$BEGIN DELETE FROM k.log; n := 0; COMMIT; END$$;
COMMENT ON PROCEDURE k.clear IS 'empties the log';
-- Nobody knows what its text refers to.
CREATE FUNCTION k.later() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM k.people';

-- Aggregates, operators, classes, casts.
CREATE FUNCTION k.add_up(state bigint, value integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT state + coalesce(value, 0)';
CREATE FUNCTION k.take_away(state bigint, value integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT state - coalesce(value, 0)';
CREATE FUNCTION k.half(state bigint) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT state / 2.0';
CREATE AGGREGATE k.half_sum(integer) (SFUNC = k.add_up, STYPE = bigint, FINALFUNC = k.half, INITCOND = '0', COMBINEFUNC = int8pl,
    MSFUNC = k.add_up, MINVFUNC = k.take_away, MSTYPE = bigint, MFINALFUNC = k.half, MINITCOND = '0', PARALLEL = SAFE);
COMMENT ON AGGREGATE k.half_sum(integer) IS 'half of it';
CREATE FUNCTION k.count_up(state bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT state + 1';
CREATE AGGREGATE k.my_count(*) (SFUNC = k.count_up, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE k.my_percentile(double precision ORDER BY double precision) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_cont_float8_final);
CREATE FUNCTION k.same(a k.point3, b k.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a.x = b.x AND a.y = b.y';
CREATE FUNCTION k.not_same(a k.point3, b k.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT NOT k.same(a, b)';
CREATE OPERATOR k.=== (FUNCTION = k.same, LEFTARG = k.point3, RIGHTARG = k.point3, COMMUTATOR = OPERATOR(k.===), NEGATOR = OPERATOR(k.<!>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR k.<!> (FUNCTION = k.not_same, LEFTARG = k.point3, RIGHTARG = k.point3, COMMUTATOR = OPERATOR(k.<!>), NEGATOR = OPERATOR(k.===));
CREATE OPERATOR k.@#@ (FUNCTION = k.twice, RIGHTARG = integer);
COMMENT ON OPERATOR k.=== (k.point3, k.point3) IS 'of two axes';
CREATE FUNCTION k.mood_lt(a k.mood, b k.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a::text < b::text';
CREATE FUNCTION k.mood_le(a k.mood, b k.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a::text <= b::text';
CREATE FUNCTION k.mood_eq(a k.mood, b k.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a::text = b::text';
CREATE FUNCTION k.mood_ge(a k.mood, b k.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a::text >= b::text';
CREATE FUNCTION k.mood_gt(a k.mood, b k.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a::text > b::text';
CREATE FUNCTION k.mood_cmp(a k.mood, b k.mood) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT btarraycmp(ARRAY[a::text], ARRAY[b::text])';
CREATE OPERATOR k.<# (FUNCTION = k.mood_lt, LEFTARG = k.mood, RIGHTARG = k.mood);
CREATE OPERATOR k.<=# (FUNCTION = k.mood_le, LEFTARG = k.mood, RIGHTARG = k.mood);
CREATE OPERATOR k.=# (FUNCTION = k.mood_eq, LEFTARG = k.mood, RIGHTARG = k.mood);
CREATE OPERATOR k.>=# (FUNCTION = k.mood_ge, LEFTARG = k.mood, RIGHTARG = k.mood);
CREATE OPERATOR k.># (FUNCTION = k.mood_gt, LEFTARG = k.mood, RIGHTARG = k.mood);
CREATE OPERATOR FAMILY k.alphabetical USING btree;
CREATE OPERATOR CLASS k.mood_by_name FOR TYPE k.mood USING btree FAMILY k.alphabetical AS
    OPERATOR 1 k.<# , OPERATOR 2 k.<=# , OPERATOR 3 k.=# , OPERATOR 4 k.>=# , OPERATOR 5 k.># , FUNCTION 1 k.mood_cmp(k.mood, k.mood);
COMMENT ON OPERATOR CLASS k.mood_by_name USING btree IS 'by its label';
CREATE INDEX by_mood_name ON k.people (mood k.mood_by_name);
CREATE FUNCTION k.to_point(t text) RETURNS k.point3 LANGUAGE sql IMMUTABLE AS 'SELECT ROW(t::float8, 0, t)::k.point3';
CREATE CAST (text AS k.point3) WITH FUNCTION k.to_point(text) AS ASSIGNMENT;
CREATE CAST (k.mood AS json) WITH INOUT;
COMMENT ON CAST (text AS k.point3) IS 'one number';

-- Collations and text search.
CREATE COLLATION k.plain (LOCALE = 'C');
COMMENT ON COLLATION k.plain IS 'bytes';
CREATE TABLE k.texts (id integer PRIMARY KEY, t text COLLATE k.plain, v tsvector);
CREATE TEXT SEARCH DICTIONARY k.words (TEMPLATE = simple, accept = false, stopwords = 'english');
CREATE TEXT SEARCH CONFIGURATION k.search (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION k.search ALTER MAPPING FOR asciiword, word WITH k.words, simple;
COMMENT ON TEXT SEARCH CONFIGURATION k.search IS 'finds';
CREATE INDEX by_words ON k.texts USING gin (to_tsvector('k.search', t));

-- Views of all sorts.
CREATE VIEW k.adults WITH (security_barrier) AS SELECT id, code, mood, k.greet(p) AS greeting FROM k.people AS p WHERE age > 17;
CREATE VIEW k.checked AS SELECT id, code, "odd ""column""" FROM k.people WHERE id > 0 WITH CASCADED CHECK OPTION;
ALTER VIEW k.checked ALTER COLUMN code SET DEFAULT 'from the view';
COMMENT ON VIEW k.adults IS 'grown up';
COMMENT ON COLUMN k.adults.greeting IS 'made up';
-- Groups by a key: it needs the key.
CREATE VIEW k.grouped AS SELECT p.id, p.code, count(l.n) FROM k.people AS p LEFT JOIN k.log AS l ON l.who = p.id GROUP BY p.id;
CREATE FUNCTION k.of_grouped(g k.grouped) RETURNS text LANGUAGE sql AS 'SELECT g.code';
CREATE RECURSIVE VIEW k.numbers (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 5;
CREATE VIEW "odd ""schema"".select"."View ""v""" AS SELECT "Id" AS "select", "order" FROM "odd ""schema"".select"."Table 'x'";
-- A view and a function, then two views, that need each other.
CREATE VIEW k.ring AS SELECT 1 AS a, 'x'::text AS b;
CREATE FUNCTION k.of_ring() RETURNS SETOF k.ring LANGUAGE plpgsql AS $$BEGIN RETURN QUERY SELECT 1, 'y'::text; END$$;
CREATE OR REPLACE VIEW k.ring AS SELECT a, b FROM k.of_ring();
CREATE VIEW k.ping AS SELECT 1 AS n;
CREATE VIEW k.pong AS SELECT n FROM k.ping;
CREATE OR REPLACE VIEW k.ping AS SELECT n FROM k.pong;
CREATE MATERIALIZED VIEW k.moods WITH (fillfactor = 90) AS SELECT mood, count(*) AS n FROM k.people GROUP BY mood;
CREATE UNIQUE INDEX moods_key ON k.moods (mood);
COMMENT ON MATERIALIZED VIEW k.moods IS 'counted';
COMMENT ON INDEX k.moods_key IS 'one each';
CREATE MATERIALIZED VIEW k.of_moods AS SELECT sum(n) AS total, k.later() AS again FROM k.moods;
CREATE VIEW k.over_moods AS SELECT total FROM k.of_moods;

-- Triggers and rules, enabled in every way.
CREATE FUNCTION k.on_change() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO k.log VALUES (now(), TG_NAME, NULL, nextval('k.codes') + 1000000); RETURN NEW; END$$;
CREATE TRIGGER "a ""trigger""" AFTER INSERT OR UPDATE OF code ON k.people FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION k.on_change('x', 'y');
CREATE TRIGGER always_fires AFTER INSERT ON k.people FOR EACH ROW EXECUTE FUNCTION k.on_change();
ALTER TABLE k.people ENABLE ALWAYS TRIGGER always_fires;
CREATE TRIGGER replica_fires AFTER INSERT ON k.people FOR EACH ROW EXECUTE FUNCTION k.on_change();
ALTER TABLE k.people ENABLE REPLICA TRIGGER replica_fires;
CREATE TRIGGER never_fires AFTER INSERT ON k.people FOR EACH ROW EXECUTE FUNCTION k.on_change();
ALTER TABLE k.people DISABLE TRIGGER never_fires;
CREATE CONSTRAINT TRIGGER at_the_end AFTER DELETE ON k.people DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION k.on_change();
CREATE TRIGGER with_tables AFTER UPDATE ON k.people REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION k.on_change();
CREATE TRIGGER instead INSTEAD OF INSERT ON k.adults FOR EACH ROW EXECUTE FUNCTION k.on_change();
COMMENT ON TRIGGER always_fires ON k.people IS 'always';
CREATE RULE no_delete AS ON DELETE TO k.texts DO INSTEAD NOTHING;
CREATE RULE "also ""log""" AS ON UPDATE TO k.texts DO ALSO INSERT INTO k.log VALUES (now(), 'rule', NULL, OLD.id + 2000000);
CREATE RULE into_grouped AS ON INSERT TO k.grouped DO INSTEAD INSERT INTO k.people (code) VALUES (NEW.code);
COMMENT ON RULE no_delete ON k.texts IS 'kept';

-- Row security and statistics.
CREATE POLICY own ON k.log AS PERMISSIVE FOR SELECT TO PUBLIC USING (who = 1);
CREATE POLICY "re""stricted" ON k.log AS RESTRICTIVE FOR ALL TO postgres USING (true) WITH CHECK (n > 0);
COMMENT ON POLICY own ON k.log IS 'mine';
ALTER TABLE k.log ENABLE ROW LEVEL SECURITY;
CREATE STATISTICS k.of_people (ndistinct, dependencies) ON code, mood FROM k.people;
COMMENT ON STATISTICS k.of_people IS 'together';

-- What is not carried, and said to be so.
CREATE FUNCTION k.of_a_library() RETURNS integer LANGUAGE internal AS 'pg_backend_pid';
CREATE FUNCTION public.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER on_ddl ON ddl_command_end EXECUTE FUNCTION public.on_ddl();

INSERT INTO k.people (code, mood, age) SELECT 'p' || n, (ARRAY['sad', 'ok', 'happy'])[1 + n % 3]::k.mood, n * 2 FROM generate_series(1, 30) AS n;
INSERT INTO k.texts SELECT n, 'word ' || n FROM generate_series(1, 10) AS n;
REFRESH MATERIALIZED VIEW k.moods;
REFRESH MATERIALIZED VIEW k.of_moods;
