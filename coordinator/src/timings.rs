//! How long the coordinator waits for what.

use std::time::Duration;

/// All of its patience, in one place; tests have less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timings {
    /// How long an agent may be out of contact before its tasks are shown as retrying.
    pub(crate) contact_grace: Duration,
    /// The same after the coordinator itself was away: longer than the longest pause of an agent that dials
    /// again.
    pub(crate) restart_grace: Duration,
    /// How long an agent may take to stop a task.
    pub(crate) stop_wait: Duration,
    /// How long an agent may take to answer a command.
    pub(crate) command_wait: Duration,
    /// How often the progress of a running task is stored.
    pub(crate) progress_save: Duration,
    /// The shortest time between two messages of a watch that tell nothing but progress.
    pub(crate) watch_interval: Duration,
    /// The pauses between attempts at a release: the first and the longest.
    pub(crate) release_pauses: (Duration, Duration),
    /// One minute of a retry window.
    pub(crate) retry_minute: Duration,
    /// How often it is looked what somebody should be told of.
    pub(crate) alert_interval: Duration,
    /// How long an alert must not hold before it is over.
    pub(crate) alert_quiet: Duration,
    /// How long an agent may be away without a word about its tasks.
    pub(crate) agent_gone: Duration,
    /// How long a task may be paused without a word.
    pub(crate) paused_long: Duration,
    /// How often the slots of tasks are looked at.
    pub(crate) slot_interval: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            contact_grace: Duration::from_secs(10),
            restart_grace: Duration::from_secs(45),
            stop_wait: Duration::from_secs(60),
            command_wait: Duration::from_secs(300),
            progress_save: Duration::from_secs(30),
            watch_interval: Duration::from_millis(200),
            release_pauses: (Duration::from_secs(1), Duration::from_secs(60)),
            retry_minute: Duration::from_secs(60),
            alert_interval: Duration::from_secs(5),
            alert_quiet: Duration::from_secs(60),
            agent_gone: Duration::from_secs(60),
            paused_long: Duration::from_secs(24 * 3600),
            slot_interval: Duration::from_secs(60),
        }
    }
}
