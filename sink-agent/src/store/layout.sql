-- Schema `strait` at the destination: what Strait knows about its own progress. The destination is the truth:
-- rows and the position that covers them commit together. Removed when the last task is released.
--
-- What stands in a comment before the end of CREATE TABLE is the clause of the Greenplum family: see layout.rs.

CREATE TABLE strait.layout (
    -- Of this file. A newer one is refused by older programs.
    version integer NOT NULL
) /* DISTRIBUTED REPLICATED */;

CREATE TABLE strait.task (
    task_id        text PRIMARY KEY,
    -- The label that people gave it.
    name           text NOT NULL,
    -- The schema model that was applied last: strait.v1.SchemaModel, encoded.
    model          bytea,
    -- True once every table of the model stands.
    schema_applied boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now()
) /* DISTRIBUTED BY (task_id) */;

-- One small row a task, rewritten by every transaction that applies changes: room on its page keeps those
-- updates HOT.
CREATE TABLE strait.checkpoint (
    task_id                  text PRIMARY KEY,
    -- The assignment that holds the task.
    epoch                    bigint NOT NULL,
    -- The session of that assignment that holds the task: drawn anew by each that takes over.
    nonce                    uuid NOT NULL,
    -- Everything that the source committed before it is here. NULL until the first table begins.
    applied_lsn              pg_lsn,
    -- Which cluster the position belongs to.
    source_system_identifier text,
    source_timeline          bigint,
    changed_at               timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_analyze_threshold = 1000000) /* DISTRIBUTED BY (task_id) */;

CREATE TABLE strait.table_state (
    task_id     text NOT NULL,
    -- pg_class.oid at the source.
    table_id    bigint NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    -- Its changes count if and only if their commit is at or past this.
    begin_lsn   pg_lsn NOT NULL,
    -- Counts how often it was begun.
    generation  integer NOT NULL,
    phase       text NOT NULL CHECK (phase IN ('copying', 'copied', 'ready')),
    rows        bigint NOT NULL DEFAULT 0,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, table_id)
) /* DISTRIBUTED BY (task_id) */;

-- The ledger: a line commits together with the rows of its chunk.
CREATE TABLE strait.chunk (
    task_id    text NOT NULL,
    table_id   bigint NOT NULL,
    generation integer NOT NULL,
    chunk      integer NOT NULL,
    rows       bigint NOT NULL,
    PRIMARY KEY (task_id, table_id, generation, chunk)
) /* DISTRIBUTED BY (task_id) */;

-- What the task made, or is about to make, and what became of it.
CREATE TABLE strait.object (
    task_id     text NOT NULL,
    kind        text NOT NULL,
    schema_name text NOT NULL,
    object_name text NOT NULL,
    -- intended: recorded before the statement ran, so that a crash in between leaves no doubt about who made
    -- it.
    outcome     text NOT NULL CHECK (outcome IN ('intended', 'created', 'existed', 'skipped', 'failed')),
    detail      text NOT NULL DEFAULT '',
    statement   text NOT NULL DEFAULT '',
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, kind, schema_name, object_name)
) /* DISTRIBUTED BY (task_id) */;

-- Foreign keys wait until every table stands at one source position. One without a line here is pending.
CREATE TABLE strait.foreign_key (
    task_id         text NOT NULL,
    schema_name     text NOT NULL,
    table_name      text NOT NULL,
    constraint_name text NOT NULL,
    state           text NOT NULL CHECK (state IN ('added', 'done', 'failed', 'skipped')),
    detail          text NOT NULL DEFAULT '',
    changed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, schema_name, table_name, constraint_name)
) /* DISTRIBUTED BY (task_id) */;

-- Rows of changes that did not find what they should; the newest of each task are kept.
CREATE TABLE strait.conflict (
    conflict_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id     text NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    -- insert, update, delete: what the source did.
    operation   text NOT NULL,
    -- row_missing: nothing to change, the change was left out. row_displaced: a row that was in its way was
    -- removed.
    reason      text NOT NULL,
    -- What identifies the row, as text.
    row_key     text NOT NULL,
    commit_lsn  pg_lsn NOT NULL,
    met_at      timestamptz NOT NULL DEFAULT now()
) /* DISTRIBUTED BY (conflict_id) */;
CREATE INDEX ON strait.conflict (task_id, conflict_id);

-- The first statement of every transaction that applies changes. Raises unless the session still holds the
-- task and the destination stands where it believes; then moves the position, which becomes true when the
-- transaction commits. A check in the client could not stop a COMMIT that is already on its way from a
-- backend whose client is gone.
CREATE FUNCTION strait.advance(
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
END
$$;

-- The first statement of every other transaction of a session: holds the task until its end.
CREATE FUNCTION strait.hold(task text, held_epoch bigint, held_nonce uuid)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM strait.checkpoint AS c
      WHERE c.task_id = task AND c.epoch = held_epoch AND c.nonce = held_nonce
        FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'strait: the session of epoch % no longer holds task %', held_epoch, task
            USING ERRCODE = 'STR01';
    END IF;
END
$$;
