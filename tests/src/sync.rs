//! Runs `strait sync` as a script would, and reads the JSON lines that it prints.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::processes::{Signal, program_path, send_signal};
use crate::wait::eventually;

/// A `strait sync --output json` command line.
#[derive(Debug)]
pub struct SyncCommand {
    arguments: Vec<String>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; absent where a signal ended it.
    pub code: Option<i32>,
    /// Every line of standard output, parsed.
    pub lines: Vec<Value>,
    /// Standard error.
    pub log: String,
}

/// A run that has not ended yet. It is killed when this value goes.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    output: JoinHandle<Result<()>>,
    log: JoinHandle<String>,
}

impl SyncCommand {
    /// Source, destination and where the state lives.
    pub fn new(source: &str, destination: &str, state: &Path) -> Self {
        let fixed = ["sync", "--source", source, "--destination", destination, "--output", "json", "--state"];
        let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
        arguments.push(state.to_string_lossy().into_owned());
        Self { arguments }
    }

    /// Adds an argument, such as `--once`.
    #[must_use]
    pub fn with(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts it.
    pub fn spawn(&self) -> Result<Running> {
        let mut child = Command::new(program_path("strait")?)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start strait")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut output = BufReader::new(child.stdout.take().context("take the standard output")?).lines();
        let mut errors = child.stderr.take().context("take the standard error")?;
        let collected = Arc::clone(&lines);
        let output = tokio::spawn(async move {
            while let Some(line) = output.next_line().await? {
                let value =
                    serde_json::from_str(&line).with_context(|| format!("not a JSON line: {line}"))?;
                lock(&collected).push(value);
            }
            Ok(())
        });
        let log = tokio::spawn(async move {
            let mut log = Vec::new();
            // What was read before an error is all there is to show.
            errors.read_to_end(&mut log).await.ok();
            String::from_utf8_lossy(&log).into_owned()
        });
        Ok(Running { child, lines, output, log })
    }

    /// Runs it to its end.
    pub async fn run(&self, deadline: Duration) -> Result<Outcome> {
        self.spawn()?.outcome(deadline).await
    }
}

impl Running {
    /// Waits until a state was announced, in the contract's words. Fails where the run has ended before.
    pub async fn wait_for_state(&mut self, state: &str, deadline: Duration) -> Result<()> {
        let waited = eventually(&format!("strait sync says {state}"), deadline, async || {
            if states(&lock(&self.lines)).iter().any(|s| s == state) {
                return Ok(Some(()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("strait sync ended with {status} before it said {state}");
            }
            Ok(None)
        })
        .await;
        waited.with_context(|| format!("it said {:?}", lock(&self.lines)))
    }

    /// Sends a signal.
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        send_signal(self.child.id().context("strait sync has ended already")?, signal).await
    }

    /// Waits for the end.
    pub async fn outcome(mut self, deadline: Duration) -> Result<Outcome> {
        let ended = tokio::time::timeout(deadline, self.child.wait()).await;
        let Ok(status) = ended else {
            let lines = lock(&self.lines).clone();
            bail!("strait sync did not end within {deadline:?}; it said {lines:#?}");
        };
        let code = status?.code();
        self.output.await??;
        let lines = std::mem::take(&mut *lock(&self.lines));
        Ok(Outcome { code, lines, log: self.log.await? })
    }
}

impl Outcome {
    /// The states that it went through.
    pub fn states(&self) -> Vec<String> {
        states(&self.lines)
    }

    /// The lines of one type.
    pub fn of_type(&self, wanted: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["type"] == wanted).collect()
    }

    /// Fails, with everything that it said, unless the exit code is this one.
    pub fn assert_code(&self, wanted: i32) -> Result<()> {
        if self.code != Some(wanted) {
            bail!("exit code {:?} instead of {wanted}; it said {:#?}\n{}", self.code, self.lines, self.log);
        }
        Ok(())
    }

    /// All that a person could read: standard error and the lines.
    pub fn everything(&self) -> String {
        format!("{}\n{}", self.log, self.lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }
}

fn states(lines: &[Value]) -> Vec<String> {
    let changes = lines.iter().filter(|line| line["type"] == "state");
    changes.filter_map(|line| line["state"].as_str().map(str::to_owned)).collect()
}

fn lock(lines: &Mutex<Vec<Value>>) -> MutexGuard<'_, Vec<Value>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
