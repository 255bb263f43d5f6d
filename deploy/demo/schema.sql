-- A small shop: what a real database has, and about a million rows of it.
CREATE SCHEMA crm;
CREATE SCHEMA catalog;
CREATE SCHEMA sales;
CREATE SCHEMA audit;

CREATE TYPE sales.order_status AS ENUM ('new', 'paid', 'shipped', 'returned');
CREATE TYPE crm.address AS (street text, city text, country char(2));
CREATE DOMAIN catalog.price AS numeric(10, 2) CHECK (VALUE >= 0);

CREATE TABLE crm.customers (
    customer_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email       text NOT NULL UNIQUE,
    name        text NOT NULL,
    address     crm.address,
    tags        text[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX customers_tags ON crm.customers USING gin (tags);

CREATE TABLE catalog.products (
    sku        text PRIMARY KEY,
    title      text NOT NULL,
    price      catalog.price NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}',
    gross      numeric GENERATED ALWAYS AS (price * 1.21) STORED
);
CREATE INDEX products_attributes ON catalog.products USING gin (attributes jsonb_path_ops);

CREATE TABLE sales.orders (
    order_id    bigserial PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES crm.customers,
    status      sales.order_status NOT NULL DEFAULT 'new',
    total       numeric(12, 2),
    placed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    note        text
);
CREATE INDEX orders_customer ON sales.orders (customer_id, placed_at DESC);
CREATE INDEX orders_open ON sales.orders (placed_at) WHERE status IN ('new', 'paid');

CREATE TABLE sales.order_items (
    order_id bigint NOT NULL REFERENCES sales.orders ON DELETE CASCADE,
    line     smallint NOT NULL,
    sku      text NOT NULL REFERENCES catalog.products,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, line)
);

-- Becomes one table at the destination.
CREATE TABLE sales.events (
    event_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    happened_at timestamptz NOT NULL,
    payload     jsonb NOT NULL,
    PRIMARY KEY (happened_at, event_id)
) PARTITION BY RANGE (happened_at);
CREATE TABLE sales.events_2025 PARTITION OF sales.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE sales.events_2026 PARTITION OF sales.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE sales.events_other PARTITION OF sales.events DEFAULT;

-- No key, equal rows among them.
CREATE TABLE audit.log (who text, what text, at date);

INSERT INTO crm.customers (email, name, address, tags, created_at)
SELECT 'customer' || g || '@example.com', 'Customer ' || g, ROW('Street ' || g % 1000, 'City ' || g % 97, 'NL'::char(2))::crm.address,
       CASE WHEN g % 3 = 0 THEN ARRAY['vip', 'region ' || g % 10] ELSE '{}' END, '2024-01-01'::timestamptz + g * interval '1 minute'
FROM generate_series(1, 100000) g;

INSERT INTO catalog.products (sku, title, price, attributes)
SELECT 'SKU-' || g, 'Product ' || g, (g % 9999) / 100.0, jsonb_build_object('colour', g % 12, 'sizes', jsonb_build_array(g % 3, g % 5))
FROM generate_series(1, 20000) g;

INSERT INTO sales.orders (customer_id, status, total, placed_at, note)
SELECT 1 + g % 100000, (enum_range(NULL::sales.order_status))[1 + g % 4], g % 5000 / 10.0,
       '2025-01-01'::timestamptz + g * interval '2 minutes', CASE WHEN g % 50 = 0 THEN repeat('a longer note ', 40) END
FROM generate_series(1, 200000) g;

INSERT INTO sales.order_items
SELECT 1 + g / 2, g % 2, 'SKU-' || 1 + g % 20000, 1 + g % 9 FROM generate_series(0, 399999) g;

INSERT INTO sales.events (happened_at, payload)
SELECT '2025-06-01'::timestamptz + g * interval '2 minutes', jsonb_build_object('kind', g % 7, 'order', g % 200000)
FROM generate_series(1, 230000) g;

INSERT INTO audit.log SELECT 'user ' || g % 20, 'logged in', '2026-01-01'::date + g % 30 FROM generate_series(1, 50000) g;

ANALYZE;
