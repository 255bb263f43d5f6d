//! What goes back to the source on the change stream.

use hashbrown::{HashMap, HashSet};
use strait_proto::{Lsn, v1};
use tokio::sync::mpsc;
use tonic::Status;
use v1::stream_changes_response::Message;

use super::arrivals::AppliedFrame;
use crate::error::Error;
use crate::store::ConflictReason;

use super::tally::{Kind, Tally};

/// Replies that may wait for the source to read them; whoever has more to say waits.
pub(crate) const REPLIES_MAX: usize = 64;
/// Different notices of one session; further ones are only logged.
const NOTICES_MAX: usize = 100;
/// Tables whose conflicts are counted one by one in a session.
const TABLES_MAX: usize = 100;

/// The sending half of the answer to StreamChanges.
#[derive(Debug, Clone)]
pub(crate) struct Replies {
    sender: mpsc::Sender<Result<v1::StreamChangesResponse, Status>>,
}

impl Replies {
    pub(crate) fn new(sender: mpsc::Sender<Result<v1::StreamChangesResponse, Status>>) -> Self {
        Self { sender }
    }

    /// # Errors
    /// [`Error::Stopped`] when the source has gone.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Error> {
        let response = v1::StreamChangesResponse { message: Some(message) };
        self.sender.send(Ok(response)).await.map_err(|_| Error::Stopped)
    }

    /// Gives credit back, if there is some.
    pub(crate) async fn credit(&self, bytes: u64) -> Result<(), Error> {
        if bytes == 0 {
            return Ok(());
        }
        self.send(Message::Credit(v1::Credit { bytes })).await
    }
}

/// What a session has done so far, as acks say it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) changes: u64,
    pub(crate) transactions: u64,
    conflicts: u64,
    by_table: HashMap<v1::TableName, TableCount>,
}

#[derive(Debug, Default)]
struct TableCount {
    conflicts: u64,
    not_applied: u64,
    /// The last ack did not say so.
    is_news: bool,
}

impl Counters {
    /// Adds the conflicts of a batch. Beyond [`TABLES_MAX`] tables only the sum counts.
    pub(crate) fn add(&mut self, conflicts: &Tally) {
        for (kind, count) in conflicts.kinds() {
            self.conflicts += count;
            if self.by_table.len() >= TABLES_MAX && !self.by_table.contains_key(&kind.table) {
                continue;
            }
            let table = self.by_table.entry(kind.table.clone()).or_default();
            table.conflicts += count;
            table.is_news = true;
            if kind.reason == ConflictReason::NotApplied {
                table.not_applied += count;
            }
        }
    }

    pub(crate) fn ack(
        &mut self,
        applied_lsn: Lsn,
        durable_lsn: Lsn,
        foreign_keys_done: bool,
        frame: AppliedFrame,
        traceparent: String,
    ) -> Message {
        let news = self.by_table.iter_mut().filter_map(|(table, count)| {
            std::mem::take(&mut count.is_news).then(|| v1::TableConflicts {
                table: Some(table.clone()),
                conflicts: count.conflicts,
                not_applied: count.not_applied,
            })
        });
        let table_conflicts = news.collect();
        Message::Ack(v1::Ack {
            applied_lsn: applied_lsn.0,
            durable_lsn: durable_lsn.0,
            changes: self.changes,
            transactions: self.transactions,
            conflicts: self.conflicts,
            foreign_keys_done,
            applied_frame: frame.frame,
            applied_frame_us: frame.held_us,
            traceparent,
            table_conflicts,
        })
    }
}

/// Says each thing once a session.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    said: HashSet<String>,
}

impl Notices {
    /// Why a batch was replayed row by row.
    pub(crate) async fn fallback(&mut self, replies: &Replies, reason: &str) -> Result<(), Error> {
        self.say(replies, format!("applying changes row by row where needed: {reason}")).await
    }

    /// The kinds of conflict that a batch met.
    pub(crate) async fn conflicts(&mut self, replies: &Replies, conflicts: &Tally) -> Result<(), Error> {
        for (Kind { table, operation, reason }, _) in conflicts.kinds() {
            let what = match reason {
                ConflictReason::RowMissing => "whose row is missing at the destination: left out",
                ConflictReason::RowDisplaced => {
                    "whose unique values another row of the destination had: that row was removed"
                }
                ConflictReason::RowOverwritten => "whose row existed at the destination: overwritten",
                ConflictReason::NotApplied => "that the destination does not accept: left out",
            };
            self.say(replies, format!("conflict: {operation} on table {table} {what}; see strait.conflict"))
                .await?;
        }
        Ok(())
    }

    async fn say(&mut self, replies: &Replies, text: String) -> Result<(), Error> {
        if self.said.len() >= NOTICES_MAX || self.said.contains(&text) {
            return Ok(());
        }
        tracing::warn!("{text}");
        self.said.insert(text.clone());
        replies.send(Message::Notice(v1::StreamNotice { text })).await
    }
}
