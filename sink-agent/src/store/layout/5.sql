-- Layout 5: transactions of a session share an advisory lock instead of the checkpoint's row.

-- The first statement of every other transaction of a session: holds the task until its end. By the lock that lanes share,
-- for the same reason; and the Greenplum family locks all of a table to lock one of its rows, so that chunks would be
-- copied one after the other.
CREATE OR REPLACE FUNCTION strait.hold(task text, held_epoch bigint, held_nonce uuid)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(strait.lane_lock(task));
    -- A statement of its own, which sees what was committed while this waited.
    PERFORM FROM strait.checkpoint AS c
      WHERE c.task_id = task AND c.epoch = held_epoch AND c.nonce = held_nonce;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'strait: the session of epoch % no longer holds task %', held_epoch, task
            USING ERRCODE = 'STR01';
    END IF;
END
$$;
