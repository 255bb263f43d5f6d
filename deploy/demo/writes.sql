-- One round of the shop's life, for pgbench.
\set customer random(1, 100000)
\set order random(1, 200000)
\set product random(1, 20000)
\set user random(0, 19)
\set choice random(1, 100)
BEGIN;
WITH placed AS (
    INSERT INTO sales.orders (customer_id, total) VALUES (:customer, :product / 10.0) RETURNING order_id
)
INSERT INTO sales.order_items SELECT order_id, line, 'SKU-' || :product, line FROM placed, generate_series(1, 3) line;
UPDATE sales.orders SET status = 'shipped' WHERE order_id = :order;
INSERT INTO sales.events (happened_at, payload) VALUES (clock_timestamp(), jsonb_build_object('order', :order));
INSERT INTO audit.log VALUES ('user ' || :user, 'placed an order', current_date);
COMMIT;
\if :choice <= 20
DELETE FROM sales.orders WHERE order_id = :order;
UPDATE catalog.products SET price = price + 0.01 WHERE sku = 'SKU-' || :product AND price < 99999;
UPDATE crm.customers SET tags = tags || 'moved'::text, address.city = 'City ' || :user WHERE customer_id = :customer;
\endif
\if :choice <= 5
-- One of several equal rows.
DELETE FROM audit.log WHERE ctid = (SELECT ctid FROM audit.log WHERE who = 'user ' || :user LIMIT 1);
BEGIN;
UPDATE sales.orders SET note = 'never happened' WHERE customer_id BETWEEN :customer AND :customer + 500;
ROLLBACK;
\endif
