//! What survives a restart: one SQLite file.
//!
//! All access goes through one thread, because SQLite blocks. What is acknowledged is on disk: the journal is
//! write-ahead and every commit is synced. The file is locked for as long as it is open, so that two
//! coordinators can never hand out the same epoch.

mod alerts;
mod events;
mod migrations;
mod tasks;
mod tokens;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use alerts::Notice;
pub(crate) use tasks::LoadedTask;
pub(crate) use tokens::{StoredToken, TokenHash};

/// How many accesses may wait for the thread.
const QUEUE_MAX: usize = 256;
/// How long opening waits for a coordinator that is just ending.
const LOCK_WAIT: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

enum Message {
    Run(Job),
    Close(oneshot::Sender<()>),
}

/// The store; clones are the same one.
#[derive(Clone)]
pub(crate) struct Store {
    queue: mpsc::Sender<Message>,
}

/// Something about the store did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The directory is not there and cannot be made.
    #[error("create the directory {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be used as a store.
    #[error("open the store {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    /// A second coordinator would assign the same epochs.
    #[error("the store {} is in use by another coordinator", path.display())]
    InUse { path: PathBuf },
    /// Written by a newer program.
    #[error("the store {} has version {found}; this program knows versions up to {known}", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    /// A statement failed.
    #[error("{doing} in the store")]
    Statement {
        doing: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    /// The coordinator is ending.
    #[error("the store is closed")]
    Closed,
}

impl Store {
    /// Opens the file, or creates it, and brings it to this version.
    ///
    /// # Errors
    /// When it cannot be opened or locked, or a newer version wrote it.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let (queue, mut messages) = mpsc::channel::<Message>(QUEUE_MAX);
        let (opened, open) = oneshot::channel();
        let path = path.to_owned();
        std::thread::spawn(move || {
            let mut connection = match open_connection(&path) {
                Ok(connection) => connection,
                Err(error) => {
                    // Whoever asked is gone: there is nobody to tell.
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let _ = opened.send(Ok(()));
            let closed = loop {
                match messages.blocking_recv() {
                    Some(Message::Run(job)) => job(&mut connection),
                    Some(Message::Close(closed)) => break Some(closed),
                    None => break None,
                }
            };
            if let Err((_, error)) = connection.close() {
                tracing::warn!(%error, "could not close the store in order; it recovers when opened again");
            }
            if let Some(closed) = closed {
                let _ = closed.send(());
            }
        });
        open.await.map_err(|_| StoreError::Closed)??;
        Ok(Self { queue })
    }

    /// Ends the thread once everything queued before is done; the file is unlocked when this returns.
    pub(crate) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.queue.send(Message::Close(closed)).await.is_ok() {
            // An error means that the thread has ended, which is what is asked for.
            let _ = done.await;
        }
    }

    /// Runs `work` on the store's thread.
    async fn call<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that left does not need the result; the work itself is done all the same.
            let _ = done.send(work(connection));
        });
        self.queue.send(Message::Run(job)).await.map_err(|_| StoreError::Closed)?;
        result
            .await
            .map_err(|_| StoreError::Closed)?
            .map_err(|source| StoreError::Statement { doing, source })
    }
}

fn open_connection(path: &Path) -> Result<Connection, StoreError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let error = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(error)?;
    }
    let error = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            StoreError::InUse { path: path.to_owned() }
        }
        _ => StoreError::Open { path: path.to_owned(), source },
    };
    let mut connection = Connection::open(path).map_err(error)?;
    lock(&connection).map_err(error)?;
    let found = migrations::version(&connection).map_err(error)?;
    if found > migrations::VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: migrations::VERSION });
    }
    migrations::migrate(&mut connection, found).map_err(error)?;
    Ok(connection)
}

/// The first write takes the exclusive lock, and `locking_mode` keeps it until the file is closed.
fn lock(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         BEGIN EXCLUSIVE;
         COMMIT;",
    )
}

/// SQLite's integers are signed. Nothing stored here reaches the limit: epochs and event ids count from 1.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
