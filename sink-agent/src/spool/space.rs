//! Where the files lie, and how large they may be together.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use super::SpoolError;

/// The place of all spools of this agent.
#[derive(Debug)]
pub(crate) struct SpoolSpace {
    directory: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
}

impl SpoolSpace {
    /// Files in `directory` that hold at most `bytes_max` bytes together; 0 keeps nothing.
    pub(crate) fn new(directory: PathBuf, bytes_max: u64) -> Self {
        Self { directory, bytes_max, bytes: AtomicU64::new(0) }
    }

    /// Whether transactions in progress can be kept at all; says in the log why they cannot.
    pub(crate) fn accepts(&self) -> bool {
        if self.bytes_max == 0 {
            return false;
        }
        match self.open() {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), %error, "no spool: transactions come whole");
                false
            }
        }
    }

    /// A new empty file without a name.
    pub(super) fn open(&self) -> Result<fs::File, SpoolError> {
        let make = || -> io::Result<fs::File> {
            fs::create_dir_all(&self.directory)?;
            tempfile::tempfile_in(&self.directory)
        };
        make().map_err(|source| SpoolError::Io { doing: "make a file in", source })
    }

    /// Takes so many bytes of the limit.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), SpoolError> {
        let grown = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.bytes_max)
        });
        grown.map(|_| ()).map_err(|_| SpoolError::Full { bytes_max: self.bytes_max })
    }

    /// Gives reserved bytes back.
    pub(super) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }
}
