//! The versions of the store. A version that was released is never edited; a change is a new one.

use rusqlite::Connection;

/// `MIGRATIONS[n]` leads from version n to n + 1.
pub(super) const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

/// What this program writes.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

const VERSION_1: &str = r#"
CREATE TABLE task (
    task_id              TEXT PRIMARY KEY,
    name                 TEXT NOT NULL,
    name_generated       INTEGER NOT NULL,
    client_token         TEXT NOT NULL,     -- empty: none
    spec                 BLOB NOT NULL,     -- strait.v1.TaskSpec
    state                TEXT NOT NULL,     -- JSON; its member "state" is the state's name
    epoch                INTEGER NOT NULL,
    assigned             INTEGER NOT NULL,
    once                 INTEGER NOT NULL,
    created_at_us        INTEGER NOT NULL,
    state_changed_at_us  INTEGER NOT NULL,
    precheck             BLOB NOT NULL,     -- strait.v1.PrecheckResult, items only
    progress             BLOB               -- strait.v1.TaskProgress
) STRICT;

CREATE INDEX task_name ON task (name);
CREATE UNIQUE INDEX task_client_token ON task (client_token) WHERE client_token <> '';

CREATE TABLE object_result (
    task_id      TEXT NOT NULL REFERENCES task ON DELETE CASCADE,
    object_kind  TEXT NOT NULL,
    schema       TEXT NOT NULL,
    name         TEXT NOT NULL,
    result       BLOB NOT NULL,             -- strait.v1.ObjectResult
    PRIMARY KEY (task_id, object_kind, schema, name)
) STRICT, WITHOUT ROWID;

-- Events outlive the task that a later one with the same id replaces.
CREATE TABLE event (
    event_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id   TEXT NOT NULL,
    at_us     INTEGER NOT NULL,
    text      TEXT NOT NULL
) STRICT;

CREATE INDEX event_task ON event (task_id, event_id);
"#;

const VERSION_2: &str = r#"
CREATE TABLE api_token (
    name           TEXT PRIMARY KEY,
    hash           BLOB NOT NULL UNIQUE,    -- SHA-256 of the token, which is kept nowhere
    created_at_us  INTEGER NOT NULL
) STRICT;
"#;

const VERSION_3: &str = r#"
-- What holds and was told, so that a restart neither tells it again nor forgets to say that it is over.
CREATE TABLE alert (
    task_id  TEXT NOT NULL,
    kind     TEXT NOT NULL,
    alert    BLOB NOT NULL,                 -- strait.v1.Alert
    PRIMARY KEY (task_id, kind)
) STRICT, WITHOUT ROWID;

-- What a webhook has not taken yet.
CREATE TABLE notice (
    notice_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    target       TEXT NOT NULL,             -- empty: the coordinator's own webhook
    alert        BLOB NOT NULL,             -- strait.v1.Alert
    name         TEXT NOT NULL,             -- of the task
    environment  TEXT NOT NULL
) STRICT;

CREATE INDEX notice_target ON notice (target, notice_id);
"#;

/// The version of the file; 0 for a new one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings the file from version `found` to [`VERSION`], all of it or nothing.
pub(super) fn migrate(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
