-- Layout 6: several tables of the source may go into one.

ALTER TABLE strait.table_state
    -- Other tables of the task go into the same one, or may.
    ADD COLUMN shared boolean NOT NULL DEFAULT false;
