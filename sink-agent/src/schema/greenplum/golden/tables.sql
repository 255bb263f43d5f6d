-- by its primary key
CREATE TABLE "s"."plain" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."plain" ADD CONSTRAINT "k" PRIMARY KEY (a);

-- beam is the default where it is
CREATE TABLE "s"."beam" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) USING "beam" DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."beam" ADD CONSTRAINT "k" PRIMARY KEY (a);

-- storage chosen
CREATE TABLE "s"."heap" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) USING "heap" DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."heap" ADD CONSTRAINT "k" PRIMARY KEY (a);

-- append-optimised tables have no unique keys
CREATE TABLE "s"."ao" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) USING "ao_column" DISTRIBUTED BY ("a");
CREATE INDEX "i" ON "s"."ao" USING btree (a);
CREATE INDEX "k" ON "s"."ao" USING btree ("a");
-- constraint k is left out: append-optimised tables have no unique keys, it is an index there
-- index i is not unique: append-optimised tables have no unique keys
-- no primary key: the distribution key (a) is not known to be unique and never NULL

-- what all keys share
CREATE TABLE "s"."shared" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("b");
ALTER TABLE ONLY "s"."shared" ADD CONSTRAINT "k" PRIMARY KEY (a, b);
ALTER TABLE ONLY "s"."shared" ADD CONSTRAINT "u" UNIQUE (b, "c D");

-- keys that share nothing
CREATE TABLE "s"."apart" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."apart" ADD CONSTRAINT "k" PRIMARY KEY (a);
ALTER TABLE ONLY "s"."apart" ADD CONSTRAINT "u" UNIQUE ("b", "a");
-- constraint u is widened by the distribution key: (b, a)

-- a distribution key of its own
CREATE TABLE "s"."own" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("c D");
ALTER TABLE ONLY "s"."own" ADD CONSTRAINT "k" PRIMARY KEY ("a", "c D");
CREATE INDEX "i" ON "s"."own" USING btree (a);
-- constraint k is widened by the distribution key: (a, c D), none of which may be NULL
-- index i is not unique: it does not contain the distribution key

-- no key
CREATE TABLE "s"."keyless" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED RANDOMLY;

-- a unique key becomes the primary key
CREATE TABLE "s"."unique" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("a", "b");
ALTER TABLE ONLY "s"."unique" ADD CONSTRAINT "u" PRIMARY KEY ("a", "b");

-- one that may be NULL does not
CREATE TABLE "s"."nullable" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("c D");
ALTER TABLE ONLY "s"."nullable" ADD CONSTRAINT "u" UNIQUE ("c D");
-- no primary key: the distribution key (c D) is not known to be unique and never NULL

-- randomly only without a key
CREATE TABLE "s"."random" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."random" ADD CONSTRAINT "k" PRIMARY KEY (a);
-- a table with a key cannot be distributed randomly: distributed by its key

-- replicated accepts any key
CREATE TABLE "s"."replicated" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED REPLICATED;
ALTER TABLE ONLY "s"."replicated" ADD CONSTRAINT "k" PRIMARY KEY (a);
ALTER TABLE ONLY "s"."replicated" ADD CONSTRAINT "u" UNIQUE (b);

-- a distribution key that the table does not have
CREATE TABLE "s"."misnamed" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."misnamed" ADD CONSTRAINT "k" PRIMARY KEY (a);
-- its distribution key (z) names no columns of it

-- foreign keys stand for people
CREATE TABLE "s"."referring" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."referring" ADD CONSTRAINT "k" PRIMARY KEY (a);
ALTER TABLE ONLY "s"."referring" ADD CONSTRAINT "f" FOREIGN KEY (b) REFERENCES s.plain(a) ON DELETE CASCADE NOT VALID;
-- foreign key f stands, and the family does not enforce it

-- no exclusion constraints
CREATE TABLE "s"."excluding" (
    "a" integer NOT NULL,
    "b" integer NOT NULL,
    "c D" integer
) DISTRIBUTED BY ("a");
ALTER TABLE ONLY "s"."excluding" ADD CONSTRAINT "k" PRIMARY KEY (a);
-- constraint x is left out: the family has no exclusion constraints
