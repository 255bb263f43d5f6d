//! Applies the change stream.
//!
//! ```text
//!  gRPC ──frames──► receive ──batches (at most 2)──► execute ──► PostgreSQL
//!   ▲            spool ⇄  │
//!   │               assemble whole transactions,     one transaction each: fence and position,
//!   │               match relations, fold, plan      deletes, updates, inserts; COMMIT
//!   │                    ▲                              │
//!   │                    └──────── done ────────────────┤
//!   └──────────── acks, credit, notices ────────────────┘
//! ```
//!
//! Why it makes progress: the receiver stops reading only while it holds a batch or more, and then there is
//! something for the executor; the executor waits for nothing but the database and the source's reading of
//! replies, of which there are few. Credit that a frame cost goes back when the last of what it brought is
//! executed (`assembly` says why that is always possible).
//!
//! Why nothing is lost or applied twice: the position moves in the transaction that writes the rows, by a
//! compare-and-swap in the server that only the holder of the newest claim can make from the position that it
//! has read. Whenever anything breaks, the session ends, what was not committed is rolled back, and the next
//! session starts from what the server says.

mod array;
mod arrivals;
mod assembly;
mod batch;
mod behind;
mod bounds;
mod change;
mod columns;
pub(crate) mod connection;
mod copy_text;
mod evidence;
mod execute;
mod executor;
mod feed;
mod fold;
#[cfg(test)]
mod fuzz;
mod in_order;
mod lanes;
mod multiset;
mod obstacle;
mod pipeline;
mod plan;
mod receive;
mod refusal;
mod relation;
pub(crate) mod replies;
mod sql;
mod staged;
mod statements;
mod suspension;
mod tally;
mod target;
mod truncate;
mod tuple;

pub(crate) use change::Truncation;
pub(crate) use suspension::present_columns;
pub(crate) use truncate::truncate;

use std::sync::Arc;

use hashbrown::HashMap;
use strait_postgres::{Client, ConnectionUri};
use strait_proto::{Lsn, v1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Streaming;
use v1::stream_changes_response::Message;

use crate::after_data::AfterData;
use crate::error::Error;
use crate::foreign_keys::ForeignKeys;
use crate::spool::{SpoolSpace, Spools};
use crate::store::{Claim, Progress, lane_lines};

use arrivals::Arrivals;
use assembly::{Assembly, StreamedTable};
use behind::Behind;
use connection::Connection;
use execute::Execution;
use executor::Executor;
use lanes::{Lanes, Laning, Recovery};
use receive::{Intake, Receiver, Relations};
use replies::Replies;

/// Bytes of frames that may be under way: more than what waits and what is executed hold together.
const CREDIT_BYTES: u64 = 32 * 1024 * 1024;

/// A claimed task whose changes are about to flow.
pub(crate) struct Stream {
    pub(crate) uri: ConnectionUri,
    pub(crate) claim: Claim,
    /// Read under that claim.
    pub(crate) progress: Progress,
    /// Transactions that may apply independent keys of a batch at once.
    pub(crate) lanes: usize,
    /// Reads catalogs.
    pub(crate) client: Client,
    pub(crate) inbound: Streaming<v1::StreamChangesRequest>,
    pub(crate) replies: Replies,
    /// Where transactions in progress are kept.
    pub(crate) spool: Arc<SpoolSpace>,
    pub(crate) on_error: v1::OnError,
}

impl Stream {
    /// Applies changes until the source ends the stream. Dropped, it leaves nothing running and rolls back
    /// what was not committed.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let Progress { checkpoint, tables, model, .. } = self.progress;
        let checkpoint =
            checkpoint.ok_or_else(|| Error::protocol("no table has begun: there is nothing to stream"))?;
        let resume_lsn = Lsn(checkpoint.durable_lsn);
        let model = model.unwrap_or_default();
        let connection = Connection::open_for_changes(&self.uri, &self.claim.task_id).await?;
        let begins_lsn = Lsn(tables.iter().map(|table| table.begin_lsn).max().unwrap_or_default());
        let foreign_keys =
            ForeignKeys::load(&self.client, &self.claim.task_id, &model, begins_lsn, connection.replica_role)
                .await?;
        let after_data = AfterData::new(self.claim.clone(), model, begins_lsn, connection.replica_role);
        let executor = Executor::new(connection, self.claim.clone(), resume_lsn, self.on_error).await?;
        let lanes = Lanes::open(&self.uri, &self.claim, resume_lsn, self.on_error, self.lanes).await?;
        let recovery = match lane_lines(&self.client, &self.claim.task_id).await? {
            Some((end_lsn, lines)) => Some(Recovery::new(end_lsn, lines)?),
            None => None,
        };

        let streamed = streamed_tables(&tables);
        let streaming = self.spool.accepts();
        let ready =
            v1::StreamReady { resume_lsn: resume_lsn.0, credit_bytes: CREDIT_BYTES, tables, streaming };
        self.replies.send(Message::Ready(ready)).await?;

        let (batches, to_execute) = mpsc::channel(1);
        let (executed, done) = mpsc::channel(2);
        let arrivals = Arrivals::default();
        let incomplete = recovery.is_some();
        let receiver = Receiver {
            inbound: self.inbound,
            assembly: Assembly::new(resume_lsn, streamed, recovery),
            relations: Relations::new(self.client, Laning::new(self.lanes)),
            intake: Intake::new(Spools::new(self.spool)),
            batches,
            done,
            replies: self.replies.clone(),
            arrivals: arrivals.clone(),
            traceparent: String::new(),
        };
        let execution = Execution::new(
            executor,
            lanes,
            incomplete,
            Behind { foreign_keys, after_data },
            self.replies.clone(),
            self.uri,
            arrivals,
        );
        // Tasks of their own, so that planning and executing use two cores; dropped with this future.
        let mut tasks = JoinSet::new();
        tasks.spawn(receiver.run());
        tasks.spawn(execution.run(to_execute, executed));
        // Whichever ends by itself ends the other, and says why.
        match tasks.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(panicked)) => {
                Err(Error::NotNow(format!("applying changes stopped unexpectedly: {panicked}")))
            }
            None => Ok(()),
        }
    }
}

/// For a half that finds the other one gone: waits to be dropped, because only the other knows what happened.
async fn the_other_says_why() -> Result<(), Error> {
    std::future::pending().await
}

fn streamed_tables(tables: &[v1::TableState]) -> HashMap<u32, StreamedTable> {
    let streamed = |table: &v1::TableState| {
        let name = table.table.clone().unwrap_or_default();
        let streamed = StreamedTable { name, begin_lsn: Lsn(table.begin_lsn), phase: table.phase() };
        (table.table_id, streamed)
    };
    tables.iter().map(streamed).collect()
}
