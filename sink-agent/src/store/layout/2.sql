-- Layout 2: conflicts keep the rows, and a table can be suspended while the others go on.

ALTER TABLE strait.conflict
    -- What the source sent of the row before and after the change, by column; values are the texts that were sent, and
    -- columns whose value was not sent are left out.
    ADD COLUMN old_row         jsonb,
    ADD COLUMN new_row         jsonb,
    -- The row that was there and was removed or overwritten; a text where it was too large to be kept whole.
    ADD COLUMN destination_row jsonb,
    -- What the server said about a change that was not applied.
    ADD COLUMN message         text NOT NULL DEFAULT '',
    -- One of the rows was larger than what is kept: some of it is missing.
    ADD COLUMN is_cut          boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN strait.conflict.reason IS
    'row_missing: nothing to change, left out; row_displaced: another row in its way was removed;
row_overwritten: the row to insert existed; not_applied: not accepted, left out (on_error: skip)';

ALTER TABLE strait.table_state
    -- Of a suspended table: why, and what to do about it.
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN remedy text NOT NULL DEFAULT '',
    DROP CONSTRAINT table_state_phase_check,
    ADD CONSTRAINT table_state_phase_check CHECK (phase IN ('copying', 'copied', 'ready', 'suspended'));
