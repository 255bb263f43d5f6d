-- What depends on names in every way that a definition can.
CREATE SCHEMA shop;
CREATE SCHEMA "Odd 1.x";
CREATE TYPE shop.mood AS ENUM ('sad', 'glad');
CREATE TABLE shop.customers (id int PRIMARY KEY, "Full Name" text NOT NULL, country text NOT NULL, secret text, feels shop.mood);
CREATE TABLE shop.orders (
    id int PRIMARY KEY, customer int REFERENCES shop.customers, total numeric CHECK (total > 0), "select" text, placed date);
CREATE TABLE "Odd 1.x"."Line ""s""" (id int, line int, qty int, "Total" numeric, PRIMARY KEY (id, line));
CREATE TABLE "Odd 1.x".log (at int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text, n int);
CREATE SEQUENCE shop.numbers START 100;
INSERT INTO shop.customers SELECT i, 'name ' || i, (ARRAY ['de', 'fr', 'es'])[i % 3 + 1], 'secret ' || i,
    CASE i % 2 WHEN 0 THEN 'sad' ELSE 'glad' END::shop.mood FROM generate_series(1, 9) i;
INSERT INTO shop.orders SELECT i, i % 9 + 1, i * 1.5, 'word ' || i, date '2024-01-01' + i FROM generate_series(1, 40) i;
INSERT INTO "Odd 1.x"."Line ""s""" SELECT i / 2, i, i % 5, i FROM generate_series(1, 60) i;

CREATE VIEW shop.plain AS SELECT id, total FROM shop.orders WHERE total > 10;
CREATE VIEW shop.starred AS SELECT * FROM shop.customers;
CREATE VIEW shop.same_table_twice AS SELECT a.id, b.id AS other, orders.total FROM shop.orders a
    JOIN shop.orders b ON a.customer = b.customer JOIN shop.orders ON orders.id = b.id WHERE a.id < b.id;
CREATE VIEW shop.by_using AS SELECT id, o.total, l.qty, l."Total" FROM shop.orders o JOIN "Odd 1.x"."Line ""s""" l USING (id);
CREATE VIEW shop.natural AS SELECT * FROM (SELECT id AS line, total FROM shop.orders) o NATURAL LEFT JOIN "Odd 1.x"."Line ""s""";
CREATE VIEW shop.other_names AS SELECT x, z FROM shop.orders AS orders (x, y, z) WHERE y IS NOT NULL;
CREATE VIEW shop.named_join AS SELECT j.a, j.h FROM (shop.customers JOIN shop.orders ON customers.id = orders.customer)
    AS j (a, b, c, d, e, f, g, h);
CREATE VIEW shop.correlated AS SELECT c.id, (SELECT sum(o.total) FROM shop.orders o WHERE o.customer = c.id) AS total
    FROM shop.customers c WHERE EXISTS (SELECT FROM shop.orders WHERE orders.customer = c.id AND orders.total > 40);
CREATE VIEW shop.shadowed AS WITH orders AS (SELECT id, total * 2 AS total FROM shop.orders), customers (id) AS (VALUES (1), (2))
    SELECT orders.id, orders.total FROM orders JOIN customers USING (id);
CREATE VIEW shop.recursive AS WITH RECURSIVE orders (id, depth) AS (
        SELECT id, 0 FROM shop.orders WHERE id = 1
        UNION ALL SELECT o.id, orders.depth + 1 FROM shop.orders o JOIN orders ON o.id = orders.id + 1 WHERE orders.depth < 5)
    SELECT * FROM orders;
CREATE VIEW shop.united AS (SELECT id, total AS n FROM shop.orders UNION SELECT id, qty FROM "Odd 1.x"."Line ""s""")
    EXCEPT SELECT id, 1 FROM shop.customers;
CREATE VIEW shop.by_key AS SELECT orders.id, orders.total, orders."select", count(*) AS n FROM shop.orders
    LEFT JOIN "Odd 1.x"."Line ""s""" l ON l.id = orders.id GROUP BY orders.id;
CREATE VIEW shop.windowed AS SELECT id, sum(total) OVER w AS total, rank() OVER (PARTITION BY customer ORDER BY id) AS rank
    FROM shop.orders WINDOW w AS (ORDER BY id);
CREATE VIEW shop.lateral AS SELECT c.id, o.total FROM shop.customers c,
    LATERAL (SELECT orders.total FROM shop.orders WHERE orders.customer = c.id ORDER BY orders.total DESC LIMIT 2) o;
CREATE VIEW shop.words AS SELECT substring("select" FROM 2 FOR 3) AS part, trim(BOTH 'w' FROM "select") AS trimmed,
    total IS DISTINCT FROM id AS differs, CASE WHEN total > 3 THEN "select" END AS "case", ARRAY [total, id] AS both,
    ROW (id, total)::text AS pair FROM shop.orders;
CREATE VIEW shop.dated AS SELECT id, extract(year FROM placed) AS year FROM shop.orders;
CREATE VIEW shop.sampled AS SELECT count(*) AS n FROM shop.orders TABLESAMPLE bernoulli (100) WHERE total > 5;
CREATE VIEW shop.only AS SELECT id, total FROM ONLY shop.orders;
CREATE VIEW shop.counted AS SELECT count(o.*) AS n, count(o) AS m FROM shop.orders o;
CREATE VIEW shop.named AS SELECT o.oid = 'shop.orders'::regclass AS is_it FROM pg_class o WHERE o.oid = 'shop.orders'::regclass;
CREATE VIEW shop.moods AS SELECT id, feels, feels = 'sad'::shop.mood AS is_sad FROM shop.customers;
CREATE VIEW shop."Over View" AS SELECT p.id, p.total, s."Full Name" AS "Who" FROM shop.plain p JOIN shop.starred s ON p.id = s.id;
CREATE VIEW shop.over_that AS SELECT "Who", count(*) AS "How Many" FROM shop."Over View" GROUP BY 1;
CREATE VIEW shop.writable AS SELECT id, "Full Name", country FROM shop.customers WHERE country = 'de' WITH CHECK OPTION;
CREATE MATERIALIZED VIEW shop.summed AS SELECT customer, sum(total) AS "Sum" FROM shop.orders GROUP BY customer;
CREATE UNIQUE INDEX "Summed By" ON shop.summed (customer, ("Sum" + 1));
COMMENT ON VIEW shop.plain IS 'of orders';
COMMENT ON COLUMN shop.plain.total IS 'a total';
COMMENT ON COLUMN shop.orders.total IS 'of the order';

CREATE TABLE shop.amounts (id int PRIMARY KEY, amount numeric);
INSERT INTO shop.amounts SELECT i, i FROM generate_series(1, 20) i;
CREATE FUNCTION shop.total_of(n int) RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT sum(t.amount) FROM shop.amounts t WHERE t.id <= n $$;
CREATE FUNCTION shop.twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2 -- of orders';
CREATE FUNCTION shop.counted_up() RETURNS int LANGUAGE plpgsql AS $$
DECLARE found int; total shop.amounts%ROWTYPE;
BEGIN
    /* reads shop.orders */
    SELECT count(*) INTO found FROM shop.amounts a WHERE a.amount > 3;
    RETURN found + shop.twice(found);
END $$;
CREATE FUNCTION shop.next_number() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('shop.numbers') $$;
CREATE FUNCTION shop.with_path(n int) RETURNS numeric LANGUAGE sql SET search_path = shop, pg_temp AS $$ SELECT count(*) FROM amounts WHERE id < n $$;
CREATE FUNCTION shop.rows_of(c int) RETURNS SETOF shop.amounts LANGUAGE sql AS $$ SELECT * FROM shop.amounts WHERE id % 9 = c $$;
CREATE VIEW shop.from_function AS SELECT r.id, r.amount, shop.twice(r.id) AS twice FROM shop.rows_of(2) r;
CREATE FUNCTION shop.unqualified() RETURNS bigint LANGUAGE sql SET search_path = '' AS $$ SELECT 1::bigint $$;
SET check_function_bodies = off;
CREATE FUNCTION shop.by_path() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM orders $$;
CREATE FUNCTION shop.dynamic(n int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE r bigint; BEGIN EXECUTE 'SELECT count(*) FROM shop.orders WHERE id < $1' INTO r USING n; RETURN r; END $$;
RESET check_function_bodies;
CREATE VIEW shop.of_dynamic AS SELECT shop.dynamic(3) AS n;
CREATE AGGREGATE shop.product(numeric) (SFUNC = numeric_mul, STYPE = numeric);
CREATE FUNCTION shop.add_twice(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + 2 * b';
CREATE OPERATOR shop.+# (LEFTARG = int, RIGHTARG = int, FUNCTION = shop.add_twice);
CREATE AGGREGATE shop.summed_twice(int) (SFUNC = shop.add_twice, STYPE = int, INITCOND = '0');
CREATE VIEW shop.operated AS SELECT id OPERATOR(shop.+#) 3 AS n, shop.product(id) AS p FROM shop.orders WHERE id < 6 GROUP BY id;

CREATE VIEW shop.inbox AS SELECT id, customer, total FROM shop.orders;
CREATE RULE put AS ON INSERT TO shop.inbox DO INSTEAD INSERT INTO shop.orders (id, customer, total) VALUES (new.id, new.customer, new.total);
CREATE RULE change AS ON UPDATE TO shop.inbox DO INSTEAD UPDATE shop.orders SET total = new.total, customer = old.customer WHERE orders.id = old.id;
CREATE RULE remove AS ON DELETE TO shop.inbox WHERE old.total > 1 DO INSTEAD (DELETE FROM shop.orders o WHERE o.id = old.id AND o.total = old.total;
    INSERT INTO "Odd 1.x".log (what, n) SELECT 'removed', c.id FROM shop.customers c WHERE c.id = old.customer);
CREATE RULE nothing AS ON DELETE TO shop.inbox DO INSTEAD NOTHING;
CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO "Odd 1.x".log (what, n) VALUES (tg_name, 1); RETURN NEW; END $$;
CREATE TRIGGER noted AFTER UPDATE OF total, "select" ON shop.orders FOR EACH ROW
    WHEN (old.total IS DISTINCT FROM new.total) EXECUTE FUNCTION shop.note();
CREATE FUNCTION shop.cheaper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.total := NEW.total - 1; RETURN NEW; END $$;
CREATE TRIGGER cheap BEFORE INSERT ON shop.orders FOR EACH ROW WHEN (new.id < 0) EXECUTE FUNCTION shop.cheaper();
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON shop.customers FOR SELECT
    USING (country = 'de' AND id IN (SELECT o.customer FROM shop.orders o WHERE o.customer = customers.id AND o.total > 2));
CREATE STATISTICS shop.together (dependencies) ON customer, total FROM shop.orders;
