//! Tables that are created while the task runs and join it, without a pause of the others. Suspended tables join again in the
//! same way, once the destination has what they lacked.
//!
//! ```text
//!  the task       ──── changes of its tables ───────────────────────────────┬ held ┬── changes of all of them ──►
//!  joining tables      identity, publications ─► slot ─► copy ─► changes ───┘      │
//!                      (a run of its own: its slot, its publication, its position) hand-over: one transaction
//! ```
//!
//! Tables that join are a task within the task. They run through the same pipeline, under a slot, a publication and records
//! at the destination of their own (`TaskId::joining`), beside the task's stream, so that neither waits for the other and
//! a crash at any moment leaves two positions to go on from. Once theirs has passed the task's, the destination makes them part
//! of the task in one transaction, and the task's stream starts anew with them.
//!
//! They are published for the task, too, before their slot is created: their slot waits for every transaction that was
//! running then, so no change past its consistent point can be decoded under a catalog that does not have them published.
//!
//! Nothing here ends the task: what goes wrong with a newcomer is told of, and the newcomer is left out.

mod newcomers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_postgres::Client;
use strait_proto::Lsn;
use strait_proto::v1::{self, JoinAction, TableIssue, TableIssueKind, TableName};
use tokio::time::{Instant, sleep, timeout};

use crate::capture::{SnapshotLease, leaves, publication};
use crate::error::{During, RunError};
use crate::pipeline::Run;
use crate::release;
use crate::reporter::Reporter;
use crate::sink::Sink;
use crate::source::Source;
use crate::stream::{Hold, TableMarks};
use newcomers::{Lookout, Newcomers};

/// How often the catalog is asked for new tables.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// How often the positions are compared while newcomers catch up.
const POSITIONS_INTERVAL: Duration = Duration::from_millis(500);
/// The same while the task's stream is held.
const HELD_INTERVAL: Duration = Duration::from_millis(50);
/// How long the task's stream may be held for a hand-over.
const HOLD_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a hand-over that took too long.
const HOLD_PAUSE: Duration = Duration::from_secs(10);
/// How often a table that could not join is tried again.
const REFUSED_INTERVAL: Duration = Duration::from_secs(300);
/// Newcomers' heartbeats move their position where they have no changes, which a hand-over waits for.
const HEARTBEAT_MAX: Duration = Duration::from_millis(250);

/// What a run remembers of the tables that join, from one attempt to the next.
#[derive(Default)]
pub(crate) struct Memory {
    lookout: Lookout,
    /// The snapshot of an unfinished copy.
    lease: Option<SnapshotLease>,
    /// Tables that join one by one, because together they could not.
    alone: BTreeSet<u32>,
    refused: BTreeMap<u32, Refused>,
}

struct Refused {
    issue: TableIssue,
    retry_at: Instant,
}

/// Lets tables join a task whose changes flow.
pub(crate) struct Joining<'a> {
    pub(crate) run: &'a Run,
    /// The session of the task.
    pub(crate) sink: &'a Sink,
    /// The tables that the task has begun.
    pub(crate) known: Vec<u32>,
    /// Partitions that are dropped at the destination once the source drops them.
    pub(crate) partitions: Vec<v1::TableState>,
    /// Of the task's stream.
    pub(crate) marks: Arc<TableMarks>,
    pub(crate) hold: Hold,
}

impl Joining<'_> {
    /// Looks for new tables and lets them join, for ever.
    ///
    /// # Errors
    /// [`RunError::TablesJoined`] once the task has more tables: its stream has to start anew.
    pub(crate) async fn run(self) -> Result<(), RunError> {
        let mut memory = self.run.joining.lock().await;
        for refused in memory.refused.values() {
            self.marks.mark(&refused.issue);
        }
        let mut client = None;
        loop {
            sleep(LOOK_INTERVAL).await;
            match self.step(&mut memory, &mut client).await {
                Ok(false) => {}
                Ok(true) => return Err(RunError::TablesJoined),
                Err(error) => {
                    let failure = error.failure();
                    tracing::warn!(cause = failure.cause, "new tables join later");
                    if failure.definite {
                        let text = format!("new tables cannot join at present: {}", failure.cause);
                        self.reporter().notice_once(text).await;
                    }
                    client = None;
                }
            }
        }
    }

    /// Lets those join that have begun to, or else those that are new. True: the task has more tables now.
    async fn step(&self, memory: &mut Memory, client: &mut Option<Client>) -> Result<bool, RunError> {
        let v1::JoinTablesResponse { tables: begun, suspended, .. } =
            self.sink.join_tables(JoinAction::Look).await?;
        if !begun.is_empty() {
            let tables = begun.into_iter().filter_map(|state| Some((state.table_id, state.table?)));
            return self.join(memory, tables.collect()).await;
        }
        let client = match client {
            Some(client) => client,
            None => {
                // What a hand-over, or a beginning that was broken off, has left at the source.
                release::run(&self.source()).await?;
                client.insert(self.run.source.connect().await.during("connect to look for new tables")?)
            }
        };
        if memory.refused.values().any(|refused| refused.retry_at <= Instant::now()) {
            memory.refused.retain(|_, refused| refused.retry_at > Instant::now());
            memory.lookout.forget();
        }
        let known: Vec<u32> = self.known.iter().chain(memory.refused.keys()).copied().collect();
        let is_refused = |state: &v1::TableState| memory.refused.contains_key(&state.table_id);
        let suspended: Vec<_> = suspended.into_iter().filter(|state| !is_refused(state)).collect();
        let Newcomers { mut tables, left_out } =
            memory.lookout.look(client, self.run, &known, &suspended, &self.partitions).await?;
        self.tell_left_out(left_out).await;
        if let Some(alone) = tables.keys().find(|table| memory.alone.contains(table)).copied() {
            tables.retain(|table, _| *table == alone);
        }
        if tables.is_empty() { Ok(false) } else { self.join(memory, tables).await }
    }

    async fn tell_left_out(&self, left_out: Vec<v1::ObjectResult>) {
        for result in &left_out {
            let name = TableName::new(&*result.schema, &*result.name);
            self.reporter().notice_once(format!("table {name} does not join: {}", result.detail)).await;
        }
        self.reporter().objects(left_out).await;
    }

    /// The source of the newcomers: the same database, with names of their own for what is made there.
    fn source(&self) -> Source {
        let (task, spec) = (&self.run.source, self.run.assign.spec.as_ref());
        let mut source = Source::new(task.task_id.joining(), task.uri().clone(), spec);
        // Whatever the task's parts are: rows that came before the table was noticed are changes since the task began.
        source.parts.full = true;
        source
    }

    fn reporter(&self) -> &Reporter {
        &self.run.reporter
    }

    /// Begins, copies and follows the tables until they are the task's. False where they could not join.
    async fn join(&self, memory: &mut Memory, tables: BTreeMap<u32, TableName>) -> Result<bool, RunError> {
        for name in tables.values() {
            self.marks.mark(&issue(name, TableIssueKind::Joining, JOINING, ""));
        }
        let run = self.run.beside(
            self.source(),
            self.run.heartbeat.min(HEARTBEAT_MAX),
            tables.keys().copied().collect(),
        );
        let failure = tokio::select! {
            // Finished is what only `--once` can be.
            ended = run.persist_boxed(&mut memory.lease) => ended.err().unwrap_or_default(),
            handed_over = self.hand_over(&tables) => match handed_over {
                Ok(()) => {
                    memory.lease = None;
                    let names: Vec<String> = tables.values().map(ToString::to_string).collect();
                    self.reporter().notice(format!("joined the task: {}", names.join(", "))).await;
                    return Ok(true);
                }
                Err(error) if error.failure().definite => error.failure(),
                Err(error) => return Err(error),
            },
        };
        memory.lease = None;
        self.give_up(memory, tables, failure).await?;
        Ok(false)
    }

    /// Leaves the tables out for now, each once it has been tried alone as well.
    async fn give_up(
        &self,
        memory: &mut Memory,
        tables: BTreeMap<u32, TableName>,
        failure: v1::Failure,
    ) -> Result<(), RunError> {
        self.sink.join_tables(JoinAction::Abandon).await?;
        release::run(&self.source()).await?;
        memory.lookout.forget();
        if tables.keys().any(|table| !memory.alone.contains(table)) {
            tracing::info!(
                cause = failure.cause,
                "tables could not join: they are tried once more, one by one"
            );
            memory.alone.extend(tables.keys());
            return Ok(());
        }
        for (table, name) in tables {
            let issue = issue(&name, TableIssueKind::NotJoined, &failure.cause, &failure.remedy);
            self.marks.mark(&issue);
            self.reporter().notice_once(format!("table {name} does not join: {}", failure.cause)).await;
            memory.alone.remove(&table);
            memory.refused.insert(table, Refused { issue, retry_at: Instant::now() + REFUSED_INTERVAL });
        }
        Ok(())
    }

    /// Waits until the tables have caught up, and makes them the task's.
    async fn hand_over(&self, tables: &BTreeMap<u32, TableName>) -> Result<(), RunError> {
        let mut passed = Lsn(u64::MAX);
        loop {
            sleep(POSITIONS_INTERVAL).await;
            let stand = self.sink.join_tables(JoinAction::Look).await?;
            // Where the task stood at the last look: less than that is missing, and only of the newcomers' changes.
            if stand.ready && Lsn(stand.joining_lsn) >= passed {
                self.take_leaves(tables).await?;
                if timeout(HOLD_TIMEOUT, self.hand_over_held()).await.unwrap_or(Ok(false))? {
                    return Ok(());
                }
                tracing::info!(
                    "new tables could not be handed over within the time that the stream may be held"
                );
                sleep(HOLD_PAUSE).await;
            }
            passed = Lsn(stand.applied_lsn);
        }
    }

    /// The task's record gets what theirs says of their partitions. What is published has to be the same by now.
    async fn take_leaves(&self, tables: &BTreeMap<u32, TableName>) -> Result<(), RunError> {
        let client = self.run.source.connect().await.during("connect to hand new tables over")?;
        leaves::hand_over(&client, &self.source(), &self.run.source).await?;
        let tables: Vec<u32> = tables.keys().copied().collect();
        publication::verify(&client, &self.run.source, &tables).await
    }

    /// Holds the task's stream until what it has sent is applied and the newcomers have passed that.
    async fn hand_over_held(&self) -> Result<bool, RunError> {
        let _held = self.hold.begin();
        let mut stood = Lsn::ZERO;
        loop {
            let stand = self.sink.join_tables(JoinAction::Look).await?;
            let stands = Lsn(stand.applied_lsn);
            // Moving no more: nothing is under way.
            if stands == stood
                && Lsn(stand.joining_lsn) >= stands
                && self.sink.join_tables(JoinAction::HandOver).await?.handed_over
            {
                return Ok(true);
            }
            stood = stands;
            sleep(HELD_INTERVAL).await;
        }
    }
}

const JOINING: &str = "it is being copied beside the stream";

fn issue(table: &TableName, kind: TableIssueKind, reason: &str, remedy: &str) -> TableIssue {
    TableIssue {
        table: Some(table.clone()),
        kind: kind.into(),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
    }
}
