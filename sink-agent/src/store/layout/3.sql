-- Layout 3: batches that are applied in lanes.

-- A batch that is applied in lanes, until it is whole: what of it each lane has committed, in the transaction that wrote
-- the rows. The transaction that moves the position to the batch's end removes the lines. Written and removed with every
-- such batch, so it is vacuumed often.
CREATE TABLE strait.lane (
    task_id     text NOT NULL,
    lane        integer NOT NULL,
    -- pg_class.oid at the source.
    table_id    bigint NOT NULL,
    -- Where the batch ends; it begins at the checkpoint's applied_lsn.
    end_lsn     pg_lsn NOT NULL,
    -- How many changes of this table the batch has, and a hash over what they are.
    changes     integer NOT NULL,
    fingerprint bigint NOT NULL,
    -- A bit for each of them, in their order: this lane has applied it.
    applied     bytea NOT NULL,
    PRIMARY KEY (task_id, lane, table_id)
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
        toast.autovacuum_vacuum_threshold = 1000, toast.autovacuum_vacuum_scale_factor = 0,
        autovacuum_analyze_threshold = 1000000) /* DISTRIBUTED BY (task_id) */;

-- The first statement of every transaction that applies changes, but for those of lanes. Raises unless the session
-- still holds the task and the destination stands where it believes; then moves the position, which becomes true when
-- the transaction commits. A check in the client could not stop a COMMIT that is already on its way from a
-- backend whose client is gone. Nobody gets past a batch that lanes have applied in part but to its end.
CREATE OR REPLACE FUNCTION strait.advance(
    task text, held_epoch bigint, held_nonce uuid, expected_lsn pg_lsn, next_lsn pg_lsn)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE strait.checkpoint AS c
       SET applied_lsn = next_lsn, changed_at = pg_catalog.clock_timestamp()
     WHERE c.task_id = task AND c.epoch = held_epoch AND c.nonce = held_nonce
       AND c.applied_lsn = expected_lsn;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'strait: the session of epoch % no longer holds task % at %',
            held_epoch, task, expected_lsn
            USING ERRCODE = 'STR01';
    END IF;
    DELETE FROM strait.lane AS l WHERE l.task_id = task AND l.end_lsn = next_lsn;
    IF EXISTS (SELECT FROM strait.lane AS l WHERE l.task_id = task) THEN
        RAISE EXCEPTION 'strait: task % cannot move to %: lanes have applied a part of a batch that ends elsewhere',
            task, next_lsn
            USING ERRCODE = 'STR02';
    END IF;
END
$$;

-- The advisory lock of a task: shared by the transactions of lanes, alone for whoever takes the task over.
CREATE FUNCTION strait.lane_lock(task text)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.hashtextextended('strait.lane ' || task, 0)
$$;

-- The first statement of a lane's transaction: holds the task at a position until its end. By an advisory lock, because
-- many lanes that lock one row with every batch would use multixacts up, which makes the whole cluster vacuum.
CREATE FUNCTION strait.hold_lane(task text, held_epoch bigint, held_nonce uuid, expected_lsn pg_lsn)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(strait.lane_lock(task));
    -- A statement of its own, which sees what was committed while this waited.
    PERFORM FROM strait.checkpoint AS c
      WHERE c.task_id = task AND c.epoch = held_epoch AND c.nonce = held_nonce
        AND c.applied_lsn = expected_lsn;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'strait: the session of epoch % no longer holds task % at %',
            held_epoch, task, expected_lsn
            USING ERRCODE = 'STR01';
    END IF;
END
$$;
