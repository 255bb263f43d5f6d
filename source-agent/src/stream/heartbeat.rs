//! A small message in the source's log every few seconds: what latency is measured with, and what lets the slot of an idle
//! database advance.
//!
//! It is transactional, because only such messages move what a slot has to keep, and is committed without waiting for the
//! disk. Every task of a database sees the messages of all; each knows its own by their content.
//!
//! Where the server does not stream messages, the content is written to the task's row of a table that is published, see
//! [`capture::heartbeat`](crate::capture::heartbeat): an update that comes back means the same.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strait_postgres::Client;
use strait_proto::{Lsn, TaskId};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::types::ToSql;

use super::latency::{Acked, Latency, Report};
use super::shape::MESSAGE_PREFIX;
use crate::capture::heartbeat;
use crate::error::{During, RunError};

/// The messages of one session of the stream.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// Tells our messages from those of other tasks and of earlier sessions.
    session: String,
    pulse: Pulse,
    latency: Mutex<Latency>,
}

/// How a message gets into the change stream.
#[derive(Debug)]
pub(super) enum Pulse {
    /// As a logical message.
    Message,
    /// As an update of this task's row in the heartbeat's table.
    Row(TaskId),
}

impl Heartbeats {
    /// `session` is unique among all tasks and sessions.
    pub(super) fn new(session: String, pulse: Pulse) -> Self {
        Self { session, pulse, latency: Mutex::default() }
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
        if let Some(sequence) = sequence {
            self.lock().seen(sequence, end_lsn, Instant::now());
        }
    }

    /// A frame is ready, and nothing is read until it is handed on.
    pub(super) fn waits(&self, now: Instant) {
        self.lock().waits(now);
    }

    /// Reading goes on.
    pub(super) fn moves(&self, now: Instant) {
        self.lock().moves(now);
    }

    /// A frame is handed to the connection to the sink: everything before `position_lsn` is sent with it.
    pub(super) fn sent(&self, frame: u64, position_lsn: Lsn, now: Instant) {
        self.lock().sent(frame, position_lsn, now);
    }

    /// The sink acknowledged something.
    pub(super) fn acked(&self, acked: Acked, now: Instant) {
        self.lock().acked(acked, now);
    }

    /// How long the way to the destination takes, and where on it the messages are.
    pub(super) fn report(&self, now: Instant) -> Report {
        self.lock().report(now)
    }

    fn begin(&self, now: Instant) -> String {
        let sequence = self.lock().emitted(now);
        format!("{}/{sequence}", self.session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Latency> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_this_session_count() {
        let beats = Heartbeats::new("task/1".into(), Pulse::Message);
        let start = Instant::now();
        let content = beats.begin(start);
        let is_seen =
            || beats.report(start).oldest.is_some_and(|(_, hop)| hop != strait_proto::v1::Hop::Decode);
        for other in ["task/2/0", "task/1/1", "task/1/", "task/1", "other", ""] {
            beats.seen(other.as_bytes(), Lsn(5));
            assert!(!is_seen(), "{other}");
        }
        beats.seen(content.as_bytes(), Lsn(5));
        assert!(is_seen());
    }
}
