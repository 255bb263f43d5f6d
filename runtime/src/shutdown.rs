//! Ending a process in order.
//!
//! One [`Shutdown`] per process (or per service in a test) is handed to everything that runs; whoever holds
//! it stops when it is triggered. The first SIGINT or SIGTERM triggers it; the second ends the process at
//! once, so that a person is never at the mercy of a drain that hangs.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Signals no further apart than this are one.
const SAME_SIGNAL: Duration = Duration::from_millis(300);

/// The wish that everything ends. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    signal: Arc<OnceLock<Signal>>,
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: somebody pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor stops the process.
    Terminate,
}

impl Signal {
    /// What a shell reports for a process that this signal ended: 128 and the signal's number.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

impl Shutdown {
    /// A shutdown that only [`trigger`](Self::trigger) sets off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGINT and SIGTERM set off. A second signal ends the process at once, with 130 or 143, unless it
    /// follows so soon that it is the same one: some senders reach a process both by its id and by its group.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = Self::new();
        let signalled = shutdown.clone();
        tokio::spawn(async move {
            let mut first_at: Option<Instant> = None;
            loop {
                let signal = tokio::select! {
                    Some(()) = interrupt.recv() => Signal::Interrupt,
                    Some(()) = terminate.recv() => Signal::Terminate,
                    else => return,
                };
                if first_at.is_some_and(|at| at.elapsed() < SAME_SIGNAL) {
                    continue;
                }
                first_at.get_or_insert_with(Instant::now);
                signalled.signalled(signal);
            }
        });
        Ok(shutdown)
    }

    /// Sets it off. Doing so again changes nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Waits until it is set off; at once where it was already.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// Whether it was set off.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The token underneath, for what takes one. Cancelling it is the same as [`trigger`](Self::trigger).
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// The signal that set it off, if one did: tells an interruption from an end that the program chose.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get().copied()
    }

    fn signalled(&self, signal: Signal) {
        if self.signal.set(signal).is_err() {
            tracing::warn!(signal = signal.name(), "a second signal: ending at once");
            std::process::exit(signal.exit_code().into());
        }
        tracing::info!(signal = signal.name(), "shutting down; the same signal again ends at once");
        self.trigger();
    }
}

/// Waits for `future`, which ends something called `what`, but no longer than `deadline`. A missed deadline
/// is logged, and the future dropped.
pub async fn drain<F: Future>(what: &str, deadline: Duration, future: F) -> Option<F::Output> {
    match tokio::time::timeout(deadline, future).await {
        Ok(output) => Some(output),
        Err(_) => {
            tracing::warn!(what, deadline_s = deadline.as_secs_f64(), "did not end within the deadline");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_trigger() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        assert!(!clone.is_cancelled());
        shutdown.trigger();
        clone.cancelled().await;
        assert!(clone.token().is_cancelled());
        assert_eq!(clone.signal(), None);
    }

    #[tokio::test]
    async fn a_first_signal_triggers_and_is_remembered() {
        let shutdown = Shutdown::new();
        shutdown.signalled(Signal::Terminate);
        assert!(shutdown.is_cancelled());
        assert_eq!(shutdown.clone().signal().map(Signal::exit_code), Some(143));
    }

    #[tokio::test]
    async fn a_drain_ends_at_its_deadline() {
        assert_eq!(drain("quick", Duration::from_secs(10), async { 7 }).await, Some(7));
        assert_eq!(drain("hung", Duration::from_millis(5), std::future::pending::<()>()).await, None);
    }

    const CHILD: &str = "STRAIT_TEST_SHUTDOWN_CHILD";

    /// A process that takes its time to end; the test below starts it as a process of its own.
    #[tokio::test]
    async fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let shutdown = Shutdown::on_signals().unwrap();
        eprintln!("ready");
        shutdown.cancelled().await;
        eprintln!("draining after {:?}", shutdown.signal());
        std::future::pending::<()>().await;
    }

    #[test]
    fn the_second_signal_ends_the_process_at_once() {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};

        for (signal, code, name) in [("INT", 130, "Interrupt"), ("TERM", 143, "Terminate")] {
            let mut process = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "shutdown::tests::child", "--nocapture"])
                .env(CHILD, "1")
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
            let kill =
                |pid: u32| Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
            assert!(lines.any(|line| line == "ready"));
            assert!(kill(process.id()).success());
            assert!(lines.any(|line| line == format!("draining after Some({name})")));
            // The same signal once more: sent to the process and to its group.
            assert!(kill(process.id()).success());
            std::thread::sleep(SAME_SIGNAL * 2);
            assert_eq!(process.try_wait().unwrap(), None);
            assert!(kill(process.id()).success());
            assert_eq!(process.wait().unwrap().code(), Some(code));
        }
    }
}
