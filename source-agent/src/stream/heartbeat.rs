//! A small message in the source's log every few seconds: what latency is measured with, and what lets the slot of an idle
//! database advance.
//!
//! It is transactional, because only such messages move what a slot has to keep, and is committed without waiting for the
//! disk. Every task of a database sees the messages of all; each knows its own by their content.
//!
//! Where the server does not stream messages, the content is written to the task's row of a table that is published, see
//! [`capture::heartbeat`](crate::capture::heartbeat): an update that comes back means the same.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strait_postgres::Client;
use strait_proto::{Lsn, TaskId};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::types::ToSql;

use super::shape::MESSAGE_PREFIX;
use crate::capture::heartbeat;
use crate::error::{During, RunError};

/// Messages under way that are remembered; with more, the younger ones are not measured.
const PENDING_MAX: usize = 1024;

/// The messages of one session of the stream.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// Tells our messages from those of other tasks and of earlier sessions.
    session: String,
    pulse: Pulse,
    state: Mutex<State>,
}

/// How a message gets into the change stream.
#[derive(Debug)]
pub(super) enum Pulse {
    /// As a logical message.
    Message,
    /// As an update of this task's row in the heartbeat's table.
    Row(TaskId),
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    pending: VecDeque<Beat>,
    latency: Duration,
}

#[derive(Debug)]
struct Beat {
    sequence: u64,
    emitted: Instant,
    /// Known once it came back in the stream.
    end_lsn: Option<Lsn>,
}

impl Heartbeats {
    /// `session` is unique among all tasks and sessions.
    pub(super) fn new(session: String, pulse: Pulse) -> Self {
        Self { session, pulse, state: Mutex::default() }
    }

    /// Emits one message each `period`, for ever. `client` commits without waiting for the disk.
    pub(super) async fn run(&self, client: &Client, period: Duration) -> Result<(), RunError> {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.emit(client).await?;
        }
    }

    /// Emits one message.
    pub(super) async fn emit(&self, client: &Client) -> Result<(), RunError> {
        const SQL: &str = "SELECT pg_logical_emit_message(true, $1::text, $2::text)::text";
        const DOING: &str = "write a heartbeat to the log";
        let content = self.begin(Instant::now());
        match &self.pulse {
            Pulse::Message => {
                client.query_one(SQL, &[&MESSAGE_PREFIX, &content]).await.during(DOING)?;
            }
            Pulse::Row(task_id) => {
                let parameters: [&(dyn ToSql + Sync); 2] = [&task_id.as_str(), &content];
                if client.execute(heartbeat::BEAT, &parameters).await.during(DOING)? == 0 {
                    let cause = format!("the row of task {task_id} was removed from table strait.heartbeat");
                    let remedy = format!("INSERT INTO strait.heartbeat VALUES ('{task_id}', '');");
                    return Err(RunError::definite(cause, remedy));
                }
            }
        }
        Ok(())
    }

    /// A message came back: its transaction ended at `end_lsn`.
    pub(super) fn seen(&self, content: &[u8], end_lsn: Lsn) {
        let sequence = std::str::from_utf8(content)
            .ok()
            .and_then(|content| content.strip_prefix(&self.session)?.strip_prefix('/')?.parse::<u64>().ok());
        let mut state = self.lock();
        if let Some(beat) = state.pending.iter_mut().find(|beat| Some(beat.sequence) == sequence) {
            beat.end_lsn = Some(end_lsn);
        }
    }

    /// Everything before `applied_lsn` is visible at the destination.
    pub(super) fn applied(&self, applied_lsn: Lsn, now: Instant) {
        let mut state = self.lock();
        while let Some(beat) =
            state.pending.pop_front_if(|beat| beat.end_lsn.is_some_and(|end_lsn| end_lsn <= applied_lsn))
        {
            state.latency = now.duration_since(beat.emitted);
        }
    }

    /// The last message's time from commit to visible; the age of the oldest one under way where that is more, so that a
    /// stream that stands still does not look fast.
    pub(super) fn latency(&self, now: Instant) -> Duration {
        let state = self.lock();
        let oldest = state.pending.front().map_or(Duration::ZERO, |beat| now.duration_since(beat.emitted));
        state.latency.max(oldest)
    }

    fn begin(&self, now: Instant) -> String {
        let mut state = self.lock();
        let sequence = state.next;
        state.next += 1;
        if state.pending.len() < PENDING_MAX {
            state.pending.push_back(Beat { sequence, emitted: now, end_lsn: None });
        }
        format!("{}/{sequence}", self.session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_from_emission_to_visible() {
        let beats = Heartbeats::new("task/1".into(), Pulse::Message);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (first, second) = (beats.begin(start), beats.begin(start));
        beats.seen(b"task/2/0", Lsn(5));
        beats.seen(b"other", Lsn(5));
        beats.seen(first.as_bytes(), Lsn(10));
        beats.seen(second.as_bytes(), Lsn(20));
        beats.applied(Lsn(9), after(2));
        assert_eq!(beats.latency(after(3)), Duration::from_secs(3), "the oldest one is still under way");
        beats.applied(Lsn(10), after(3));
        assert_eq!(beats.latency(after(5)), Duration::from_secs(5), "the second one is");
        beats.applied(Lsn(25), after(6));
        assert_eq!(beats.latency(after(60)), Duration::from_secs(6), "the last one measured");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let beats = Heartbeats::new("t".into(), Pulse::Message);
        for _ in 0..2 * PENDING_MAX {
            beats.begin(Instant::now());
        }
        assert_eq!(beats.lock().pending.len(), PENDING_MAX);
    }
}
