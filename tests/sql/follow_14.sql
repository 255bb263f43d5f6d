-- Bodies that the server keeps as parse trees.
CREATE FUNCTION shop.parsed(n int) RETURNS numeric BEGIN ATOMIC
    SELECT sum(orders.total) FROM shop.orders WHERE orders.id <= n;
END;
CREATE FUNCTION shop.returned(n int) RETURNS bigint RETURN (SELECT count(*) FROM shop.orders WHERE id < n);
CREATE PROCEDURE shop.add(a int, b int) BEGIN ATOMIC
    INSERT INTO shop.orders (id, customer, total) VALUES (a, b, 7);
    INSERT INTO "Odd 1.x".log (what, n) VALUES ('added', a);
END;
CREATE FUNCTION shop.altered(a int) RETURNS void BEGIN ATOMIC
    UPDATE "Odd 1.x".log SET n = n + a WHERE n = a;
END;
