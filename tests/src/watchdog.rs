//! Cleans up after a test process, however that ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A shell that waits for the end of its standard input, then stops the server of a directory and removes the directory.
///
/// The pipe's other end is held by this value alone, so the shell acts when the value is dropped, and also when the
/// process that holds it exits, panics or is killed.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
}

/// `$1`: the server's directory. The process is only killed if it works in that very data directory.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; then
    kill -QUIT "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
fi
rm -rf "$1"
"#;

impl Watchdog {
    pub(crate) fn over(directory: &Path) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "strait-tests-watchdog"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .context("start the watchdog")?;
        Ok(Self { shell })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _: io::Result<_> = self.shell.wait();
    }
}
