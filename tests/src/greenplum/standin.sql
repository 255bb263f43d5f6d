-- What makes a database of plain PostgreSQL look like one of the Greenplum family: the catalog that the family is recognised
-- by, its storage engines (heaps by other names), and a refusal of keys that it would refuse. `gate` stands in front of it.

SET allow_system_table_mods = on;

CREATE TABLE pg_catalog.gp_distribution_policy (
    localoid oid PRIMARY KEY, policytype "char", numsegments int, distkey int2vector, distclass oidvector);
CREATE TABLE pg_catalog.gp_segment_configuration (dbid smallint, content smallint, role "char", status "char");
INSERT INTO pg_catalog.gp_segment_configuration VALUES (1, -1, 'p', 'u'), (2, 0, 'p', 'u'), (3, 1, 'p', 'u');

CREATE FUNCTION pg_catalog.pg_get_table_distributedby(relation oid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
               WHEN p.policytype = 'r' THEN 'DISTRIBUTED REPLICATED'
               WHEN cardinality(p.distkey::smallint[]) = 0 THEN 'DISTRIBUTED RANDOMLY'
               ELSE 'DISTRIBUTED BY (' || (
                   SELECT string_agg(format('%I', a.attname), ', ' ORDER BY k.place)
                     FROM unnest(p.distkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
                          JOIN pg_attribute AS a ON a.attrelid = p.localoid AND a.attnum = k.attnum) || ')'
           END
      FROM gp_distribution_policy AS p WHERE p.localoid = relation
$$;

CREATE ACCESS METHOD ao_row TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD ao_column TYPE TABLE HANDLER heap_tableam_handler;

CREATE SCHEMA gp_standin;

-- Refuses unique keys that the family refuses.
CREATE FUNCTION gp_standin.check_keys(relation oid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    policy pg_catalog.gp_distribution_policy;
    method text := (SELECT m.amname FROM pg_class AS c JOIN pg_am AS m ON m.oid = c.relam WHERE c.oid = relation);
    key pg_index;
BEGIN
    SELECT * INTO policy FROM pg_catalog.gp_distribution_policy WHERE localoid = relation;
    IF NOT FOUND OR policy.policytype = 'r' THEN
        RETURN;
    END IF;
    FOR key IN SELECT * FROM pg_index AS i WHERE i.indrelid = relation AND i.indisunique LOOP
        IF method IN ('ao_row', 'ao_column') THEN
            RAISE 'append-only tables do not support unique indexes' USING ERRCODE = '0A000';
        END IF;
        IF cardinality(policy.distkey::smallint[]) = 0 THEN
            RAISE 'UNIQUE and DISTRIBUTED RANDOMLY are incompatible' USING ERRCODE = '42P16';
        END IF;
        IF NOT policy.distkey::smallint[] <@ key.indkey::smallint[] THEN
            RAISE 'UNIQUE constraint must contain all columns in the table''s distribution key'
                USING ERRCODE = '42P16';
        END IF;
    END LOOP;
END
$$;

-- What a DISTRIBUTED clause says of a table that was created a moment ago.
CREATE FUNCTION gp_standin.distribute(relation text, policy "char", columns text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    oid oid := relation::regclass;
    key smallint[] := ARRAY(
        SELECT a.attnum FROM unnest(columns) WITH ORDINALITY AS c (name, place)
               JOIN pg_attribute AS a ON a.attrelid = oid AND a.attname = c.name
         ORDER BY c.place);
BEGIN
    IF cardinality(key) < cardinality(columns) THEN
        RAISE 'column named in DISTRIBUTED BY clause does not exist' USING ERRCODE = '42703';
    END IF;
    INSERT INTO pg_catalog.gp_distribution_policy
    VALUES (oid, policy, 2, array_to_string(key, ' ')::int2vector, ''::oidvector)
        ON CONFLICT (localoid) DO UPDATE SET policytype = EXCLUDED.policytype, distkey = EXCLUDED.distkey;
    PERFORM gp_standin.check_keys(oid);
END
$$;

CREATE FUNCTION gp_standin.after_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    changed record;
BEGIN
    FOR changed IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        PERFORM gp_standin.check_keys(coalesce(
            (SELECT i.indrelid FROM pg_index AS i WHERE i.indexrelid = changed.objid), changed.objid));
    END LOOP;
END
$$;
CREATE EVENT TRIGGER gp_standin ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'CREATE INDEX')
    EXECUTE FUNCTION gp_standin.after_ddl();
