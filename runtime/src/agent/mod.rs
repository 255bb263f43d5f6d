//! The agents' half of the control session.
//!
//! ```text
//!   coordinator ──Assign, Adjust, Revoke, Command──► session ──► hub ──► Worker::run, Worker::command
//!               ◄──Hello, Report, Result──────────── session ◄── desk ◄── Reports, results
//! ```
//!
//! The session's loop only moves messages and never waits for work; work never waits for the coordinator:
//! what it reports is laid on the desk, which is bounded. Runs outlive sessions. While the coordinator cannot
//! be reached they go on, and the agent dials again for ever. The protocol has no acknowledgements, so after
//! each reconnect the last state of every task is said again (a phase, an interruption, a failure, the end),
//! and the coordinator compares it with what it knows.
//!
//! Which assignment may run is decided in `assignments`, which is pure; the newest epoch wins, and its run
//! begins only after the older one's has returned.

mod assignments;
mod desk;
mod hub;
mod outbox;
mod session;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_proto::v1;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::security::{Expected, Security};
use crate::serve::{ChannelError, Dial};
use crate::shutdown::drain;
use crate::{Backoff, Shutdown};

pub use desk::Reports;

use hub::Hub;

/// The largest message of the control session, in bytes: a summary of a hundred thousand tables fits several
/// times over.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long runs may take to end when the agent shuts down.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How long what was aborted after that may take to be gone.
const ABORT_DEADLINE: Duration = Duration::from_secs(2);
/// A session that lasted this long was a good one: the next failure starts from the shortest pause again.
const SETTLED: Duration = Duration::from_secs(10);

/// What an agent does; the session around it is the same for both kinds.
pub trait Worker: Send + Sync + 'static {
    /// Who this agent is. `running` is filled in by the session.
    fn hello(&self) -> v1::Hello;

    /// Works on an assignment until it is done or `stop` is cancelled. Returns once nothing of the epoch runs
    /// any more, and without `stop` only after it reported `failed` or `finished`; anything else is reported
    /// as a failure in its place.
    ///
    /// `throttle` holds what the assignment says and changes while the run goes on.
    fn run(
        &self,
        assign: v1::Assign,
        reports: Reports,
        throttle: watch::Receiver<v1::Throttle>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send;

    /// Carries a command out. One that is asked again is carried out again, but never twice at once. The
    /// future is dropped when the agent shuts down.
    fn command(
        &self,
        command: v1::command::Command,
    ) -> impl Future<Output = v1::command_result::Result> + Send;
}

/// An agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The coordinator's address is wrong.
    #[error("the coordinator cannot be dialled")]
    Coordinator(#[source] ChannelError),
}

/// Keeps a session with the coordinator at `coordinator` (`https://HOST:PORT`) until the shutdown, whatever
/// becomes of single connections, and carries out what it asks. At the shutdown all runs are stopped, under a
/// deadline of twenty seconds. Dropping the future aborts them.
///
/// # Errors
/// When the address cannot be one. A coordinator that does not answer is no error.
pub async fn run_agent<W: Worker>(
    coordinator: impl fmt::Display,
    security: &Security,
    worker: Arc<W>,
    shutdown: Shutdown,
) -> Result<(), AgentError> {
    run_until(coordinator, security, worker, shutdown, STOP_DEADLINE).await
}

async fn run_until<W: Worker>(
    coordinator: impl fmt::Display,
    security: &Security,
    worker: Arc<W>,
    shutdown: Shutdown,
    stop_deadline: Duration,
) -> Result<(), AgentError> {
    let dial = Dial::new(&coordinator.to_string(), security, Expected::coordinator())
        .map_err(AgentError::Coordinator)?;
    let hub = Hub::new(worker);
    let _abort = hub.abort_on_drop();
    let mut sessions = std::pin::pin!(sessions(&dial, &hub));
    tokio::select! {
        never = &mut sessions => match never {},
        () = shutdown.cancelled() => {}
    }
    // The session stays while runs end, so that their last reports still leave.
    tokio::select! {
        never = sessions => match never {},
        () = stop(&hub, stop_deadline) => Ok(()),
    }
}

async fn stop<W: Worker>(hub: &Arc<Hub<W>>, deadline: Duration) {
    hub.stop_all();
    if drain("the agent's runs", deadline, hub.ended_all()).await.is_none() {
        tracing::warn!(tasks = hub.still_running().join(" "), "aborting what did not stop");
        hub.abort();
        drain("the aborted runs", ABORT_DEADLINE, hub.ended_all()).await;
    }
}

async fn sessions<W: Worker>(dial: &Dial, hub: &Arc<Hub<W>>) -> Infallible {
    let mut backoff = Backoff::default();
    loop {
        let started = Instant::now();
        let Err(error) = session::run(dial, hub).await;
        if started.elapsed() >= SETTLED && error.after_welcome() {
            backoff.reset();
        }
        let pause = backoff.next();
        tracing::warn!(
            error = chain(&error),
            attempt = backoff.attempt(),
            retry_in_ms = pause.as_millis(),
            "no session with the coordinator"
        );
        tokio::time::sleep(pause).await;
    }
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
