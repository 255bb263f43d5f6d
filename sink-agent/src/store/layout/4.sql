-- Layout 4: tables that stood before the task are used (existing_tables: proceed).

ALTER TABLE strait.object
    DROP CONSTRAINT object_outcome_check,
    -- adopted: a table that stood before the task. It is never emptied, altered or dropped.
    ADD CONSTRAINT object_outcome_check
        CHECK (outcome IN ('intended', 'created', 'existed', 'skipped', 'failed', 'adopted'));
