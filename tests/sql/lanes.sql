-- The tables of the load for lanes, and the load: rows that are tied together in every way that a partition has to see, and
-- in those that it cannot.
CREATE SCHEMA lanes;

CREATE TABLE lanes.account (id integer PRIMARY KEY, email text UNIQUE, n integer NOT NULL DEFAULT 0);
CREATE TABLE lanes.purchase (
    id      integer PRIMARY KEY,
    account integer REFERENCES lanes.account ON UPDATE CASCADE ON DELETE CASCADE,
    v       text
);
CREATE INDEX ON lanes.purchase (account);
-- Equal rows, some thousand of them.
CREATE TABLE lanes.keyless (a integer, v text);
-- Keys that are equal and printed differently.
CREATE TABLE lanes.amount (k numeric PRIMARY KEY, v integer);
-- A unique value beside the key, which rows exchange.
CREATE TABLE lanes.place (pos integer PRIMARY KEY, k integer UNIQUE);
CREATE TABLE lanes.toast (id integer PRIMARY KEY, small integer, big text);
ALTER TABLE lanes.toast ALTER COLUMN big SET STORAGE EXTERNAL;

INSERT INTO lanes.account SELECT g, 'mail ' || g, g FROM generate_series(1, 1000) g;
INSERT INTO lanes.purchase SELECT g, 1 + g % 1000, 'v' FROM generate_series(1, 2000) g;
INSERT INTO lanes.keyless SELECT g % 7, 'same' FROM generate_series(1, 1000) g;
INSERT INTO lanes.amount SELECT g, g FROM generate_series(1, 200) g;
INSERT INTO lanes.place SELECT g, 10000 + g FROM generate_series(1, 300) g;
INSERT INTO lanes.toast SELECT g, g, repeat(md5(g::text), 200) FROM generate_series(1, 100) g;

-- So many transactions of random changes. What the source refuses is rolled back alone.
CREATE PROCEDURE lanes.load(transactions integer) LANGUAGE plpgsql AS $$
DECLARE
    x integer; y integer; r integer; value text; kx integer; ky integer;
BEGIN
    FOR turn IN 1..transactions LOOP
        FOR step IN 1..1 + floor(random() * 3)::integer LOOP
            x := 1 + floor(random() * 1000)::integer;
            y := 1 + floor(random() * 1000)::integer;
            r := floor(random() * 1000000)::integer;
            BEGIN
                CASE floor(random() * 14)::integer
                    WHEN 0 THEN INSERT INTO lanes.account VALUES (x, 'mail ' || y, r);
                    WHEN 1 THEN UPDATE lanes.account SET n = n + 1 WHERE id BETWEEN x AND x + 9;
                    WHEN 2 THEN UPDATE lanes.account SET id = y WHERE id = x;
                    WHEN 3 THEN DELETE FROM lanes.account WHERE id = x;
                    WHEN 4 THEN
                        -- A value goes from one row to another.
                        SELECT email INTO value FROM lanes.account WHERE id = x;
                        UPDATE lanes.account SET email = NULL WHERE id = x;
                        UPDATE lanes.account SET email = value WHERE id = y;
                    WHEN 5 THEN INSERT INTO lanes.purchase VALUES (x + r % 1000, y, 'v' || r);
                    WHEN 6 THEN UPDATE lanes.purchase SET account = y, v = 'v' || r WHERE id BETWEEN x AND x + 4;
                    WHEN 7 THEN INSERT INTO lanes.keyless SELECT r % 7, 'same' FROM generate_series(1, 1 + r % 4);
                    WHEN 8 THEN
                        DELETE FROM lanes.keyless
                         WHERE ctid IN (SELECT ctid FROM lanes.keyless WHERE a = r % 7 LIMIT r % 4);
                    WHEN 9 THEN
                        UPDATE lanes.keyless SET v = v || 'x'
                         WHERE length(v) < 9 AND ctid = (SELECT ctid FROM lanes.keyless WHERE a = r % 7 LIMIT 1);
                    WHEN 10 THEN
                        INSERT INTO lanes.amount VALUES ((x % 200)::numeric(10, 2), r)
                            ON CONFLICT (k) DO UPDATE SET v = excluded.v, k = excluded.k;
                    WHEN 11 THEN
                        x := 1 + x % 300; y := 1 + y % 300;
                        SELECT k INTO kx FROM lanes.place WHERE pos = x;
                        SELECT k INTO ky FROM lanes.place WHERE pos = y;
                        UPDATE lanes.place SET k = NULL WHERE pos = x;
                        UPDATE lanes.place SET k = kx WHERE pos = y;
                        UPDATE lanes.place SET k = ky WHERE pos = x AND x <> y;
                    WHEN 12 THEN UPDATE lanes.toast SET small = r WHERE id = 1 + x % 100;
                    ELSE DELETE FROM lanes.purchase WHERE id = x + r % 1000;
                END CASE;
            EXCEPTION WHEN unique_violation OR foreign_key_violation THEN NULL;
            END;
        END LOOP;
        COMMIT;
    END LOOP;
END $$;
