//! The account that PostgreSQL servers run under: the server refuses to run as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Who runs the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    /// We are an ordinary user: the servers are ours.
    Own,
    /// We are root: the servers belong to this user.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Picks `postgres` where it exists, else `nobody`.
    pub(crate) fn for_servers() -> Result<Self> {
        if fs::metadata("/proc/self").context("read our own user id")?.uid() != 0 {
            return Ok(Self::Own);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        for wanted in ["postgres", "nobody"] {
            for line in passwd.lines() {
                let fields: Vec<&str> = line.split(':').collect();
                if let [name, _, uid, gid, ..] = fields[..]
                    && name == wanted
                {
                    return Ok(Self::Other { uid: uid.parse()?, gid: gid.parse()? });
                }
            }
        }
        bail!(
            "we are root, PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody"
        )
    }

    /// A command that will run under this account.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Other { uid, gid } = self {
            // Also drops the supplementary groups, as the standard library does for a uid change by root.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes a file or directory the account's own.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        if let Self::Other { uid, gid } = self {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .with_context(|| format!("chown {path:?}"))?;
        }
        Ok(())
    }

    /// Where the account can reach a directory of ours: root's TMPDIR may be closed to others.
    pub(crate) fn temporary_root(self) -> PathBuf {
        match self {
            Self::Own => std::env::temp_dir(),
            Self::Other { .. } => PathBuf::from("/tmp"),
        }
    }
}
