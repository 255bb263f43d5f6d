//! Waiting for a condition under a deadline: the only way in which a test lets time pass; and what the environment says.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition may take by default. Generous, because a loaded machine is no failure; multiplied by
/// `STRAIT_TEST_PATIENCE` where that is set.
pub fn patience() -> Duration {
    let factor = std::env::var("STRAIT_TEST_PATIENCE").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    Duration::from_secs(60) * factor
}

/// Asks `probe` again and again until it answers with a value. An error from `probe` ends the wait at once.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if begun.elapsed() > deadline {
            bail!("not within {deadline:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// A number from the environment, for the scenarios whose size the soak run raises.
pub fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Says that something cannot be tested on this machine. Past the test runner, which would swallow it where nothing fails.
pub fn skipped(reason: &str) {
    // Without a standard error there is nobody to tell.
    writeln!(std::io::stderr(), "skipped: {reason}").ok();
}
