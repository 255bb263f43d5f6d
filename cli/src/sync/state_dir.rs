//! The directory of one `strait sync`: the coordinator's store, and a lock so that two of them never run at
//! once.
//!
//! ```text
//! <state>/<task id>/coordinator.sqlite   the store
//! <state>/<task id>/lock                 held while a sync runs; holds its process id
//! <state>/<task id>/once                 the task was started with --once
//! <state>/<task id>/finished             … and has fulfilled it: what is left is the release
//! ```
//!
//! Nothing here holds a password, and losing all of it loses no data: the destination knows how far it is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use strait_proto::TaskId;

use crate::error::Error;

const STORE: &str = "coordinator.sqlite";
const LOCK: &str = "lock";
const ONCE: &str = "once";
const FINISHED: &str = "finished";
/// What SQLite keeps beside its file.
const STORE_COMPANIONS: [&str; 3] =
    ["coordinator.sqlite-wal", "coordinator.sqlite-shm", "coordinator.sqlite-journal"];

/// A state directory that this process holds.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    // Unlocked when it is closed.
    _lock: File,
}

impl StateDir {
    /// Makes and locks the directory of a task under `base`, or under the platform's state directory.
    pub(super) fn open(base: Option<&Path>, task_id: &TaskId) -> Result<Self, Error> {
        let base = match base {
            Some(base) => base.to_owned(),
            None => platform_directory().ok_or(Error::NoStateHome)?,
        };
        let path = base.join(task_id.as_str());
        loop {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|source| {
                Error::State { action: "make the state directory", path: path.clone(), source }
            })?;
            if let Some(lock) = lock(&path.join(LOCK))? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// The coordinator's store.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// Where transactions that have not committed are kept, in files without a name.
    pub(super) fn spool(&self) -> PathBuf {
        self.path.clone()
    }

    /// Whether the task was started with `--once`.
    pub(super) fn is_once(&self) -> bool {
        self.path.join(ONCE).exists()
    }

    /// Remembers that the task is started with `--once`.
    pub(super) fn set_once(&self) -> Result<(), Error> {
        self.mark(ONCE)
    }

    /// Whether `--once` was fulfilled.
    pub(super) fn is_finished(&self) -> bool {
        self.path.join(FINISHED).exists()
    }

    /// Remembers that `--once` is fulfilled.
    pub(super) fn set_finished(&self) -> Result<(), Error> {
        self.mark(FINISHED)
    }

    /// Forgets how the task was started: it was not, or another one begins in its place.
    pub(super) fn forget_start(&self) -> Result<(), Error> {
        [ONCE, FINISHED].into_iter().try_for_each(|file| self.remove_file(file))
    }

    /// Forgets the task and removes the directory, unless somebody put something else there. The coordinator
    /// must have ended.
    pub(super) fn remove(self) -> Result<(), Error> {
        self.forget_start()?;
        STORE_COMPANIONS.into_iter().chain([STORE, LOCK]).try_for_each(|file| self.remove_file(file))?;
        match fs::remove_dir(&self.path) {
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
            {
                Err(Error::State { action: "remove the state directory", path: self.path, source: error })
            }
            _ => Ok(()),
        }
    }

    fn mark(&self, file: &str) -> Result<(), Error> {
        let path = self.path.join(file);
        let written = File::create(&path).and_then(|file| file.sync_all());
        written.map_err(|source| Error::State { action: "write", path, source })
    }

    fn remove_file(&self, file: &str) -> Result<(), Error> {
        let path = self.path.join(file);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::State { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

/// Locks a file for this process; nothing where it was removed meanwhile by one that ended, so that the
/// caller tries again.
fn lock(path: &Path) -> Result<Option<File>, Error> {
    let failed = |source: io::Error| Error::State { action: "lock", path: path.to_owned(), source };
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = match opened {
        // The directory went with the one that ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Locked(holder(&mut file))),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let ours = file.metadata().map_err(failed)?;
    let is_there =
        fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    if !is_there {
        return Ok(None);
    }
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(Some(file))
}

/// The process id that the holder wrote, if it has come to that.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// `$XDG_STATE_HOME/strait`, or `~/.local/state/strait` (XDG Base Directory Specification: a relative path
/// does not count).
fn platform_directory() -> Option<PathBuf> {
    let absolute = |variable: &str| {
        std::env::var_os(variable).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("strait"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task_id() -> TaskId {
        TaskId::from_entropy(&[7; 16])
    }

    fn base(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("strait-state-dir-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_second_sync_of_the_same_task_is_refused_and_told_who_runs() {
        let base = base("lock");
        let first = StateDir::open(Some(&base), &task_id()).unwrap();
        match StateDir::open(Some(&base), &task_id()) {
            Err(Error::Locked(Some(process))) => assert_eq!(process, std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(first);
        StateDir::open(Some(&base), &task_id()).unwrap().remove().unwrap();
        fs::remove_dir(&base).unwrap();
    }

    #[test]
    fn marks_survive_until_the_task_is_forgotten_and_nothing_is_left_then() {
        let base = base("marks");
        let state = StateDir::open(Some(&base), &task_id()).unwrap();
        assert!(!state.is_once() && !state.is_finished());
        state.set_once().unwrap();
        state.set_finished().unwrap();
        File::create(state.store()).unwrap();
        drop(state);

        let state = StateDir::open(Some(&base), &task_id()).unwrap();
        assert!(state.is_once() && state.is_finished());
        state.forget_start().unwrap();
        assert!(!state.is_once() && !state.is_finished());
        let path = state.path.clone();
        state.remove().unwrap();
        assert!(!path.exists());
        fs::remove_dir(&base).unwrap();
    }
}
