//! Runs batches: each in one destination transaction together with the position that it reaches.
//!
//! ```text
//!   BEGIN · fence moves the position · folded statements …    sent together, one round trip
//!   COPY of new rows, where there are many                    one after the other
//!   COMMIT                                                    once every statement did what it had to
//!
//!   a COPY was refused:                            ROLLBACK, and the same batch again, that table by INSERT
//!   a statement was refused, or rows are missing:  the same, that table row by row
//! ```
//!
//! Tables do not depend on each other within a batch (foreign keys and triggers are off), so one that needs its rows changed
//! one by one does not slow the others down. Only where the table is not known, or where too many fail, is all of it replayed
//! in commit order.
//!
//! A transaction of the source that is larger than a batch stays open over several: each piece is a
//! savepoint, and the last one moves the position. Nothing is ever committed in part.

use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt as _;
use hashbrown::HashSet;
use strait_proto::v1::{OnError, TableName};
use strait_proto::{Lsn, TaskId};
use strait_runtime::telemetry::names;
use tokio_postgres::Statement as Prepared;
use tokio_postgres::types::PgLsn;
use tracing::Instrument as _;

use super::array::Parameter;
use super::batch::Extent;
use super::change::{Change, Operation};
use super::connection::Connection;
use super::in_order::{self, Terms};
use super::pipeline::{Broken, Pipeline};
use super::plan::{CopyIn, Exceptions, Statement, Step, plan};
use super::staged::Staged;
use super::suspension::Suspension;
use super::tally::Tally;
use super::truncate::truncate;
use crate::error::{Context as _, Error};
use crate::store::{self, BEGIN, Claim};

/// Constraints that can wait do so: within a batch the order of changes is not the source's.
const DEFERRED: &str = "SET CONSTRAINTS ALL DEFERRED";
const SAVEPOINT: &str = "SAVEPOINT piece";
const RELEASE: &str = "RELEASE SAVEPOINT piece";
const ROLLBACK_PIECE: &str = "ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece";

/// A statement that compares whole rows reads the table once and hashes what it looks for.
const HASH_JOIN: &str =
    "SET LOCAL enable_hashjoin = on; SET LOCAL enable_nestloop = off; SET LOCAL enable_seqscan = on";
/// Back to what the connection is set up for.
const INDEX_LOOKUP: &str =
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_nestloop = on; SET LOCAL enable_seqscan = off";

/// So often a batch that lost a deadlock or a serialisation conflict is tried again.
const CONTENTION_RETRIES_MAX: u32 = 3;

/// Writes changes and the position that covers them.
pub(crate) struct Executor {
    connection: Connection,
    claim: Claim,
    on_error: OnError,
    advance: Prepared,
    /// What the checkpoint says.
    durable_lsn: Lsn,
    /// A transaction of the source is applied in part, and open.
    in_pieces: bool,
    /// Tables into which rows could not be copied in this session.
    overwritten: HashSet<TableName>,
}

/// What running a batch came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Conflicts that were recorded.
    pub(crate) conflicts: Tally,
    /// Why sets would not do, for people.
    pub(crate) fallback: Option<String>,
}

/// What became of a lane's transaction.
#[derive(Debug)]
pub(crate) enum LaneOutcome {
    /// With the conflicts that were recorded.
    Committed(Tally),
    /// Why sets would not do, for people.
    Refused(String),
}

/// How many tables of a batch may turn out to need their rows changed one by one before all of it is.
const IN_ORDER_MAX: usize = 8;

/// Why a batch is replayed in order, or not.
enum Setback {
    /// Sets will not do, for this table as far as it is known.
    InOrder(Reason),
    /// Others were in the way: the same again.
    Contention(Error),
    Failed(Error),
}

/// Why sets will not do.
struct Reason {
    table: Option<TableName>,
    /// A COPY was refused: INSERT, which leaves out what is there, may still do.
    copied: bool,
    text: String,
}

/// The plan of a batch, which changes as tables turn out to need their rows changed one by one.
struct Plan<'a> {
    operations: &'a [Operation],
    planned: Option<&'a [Step]>,
    replanned: Option<Vec<Step>>,
    exceptions: Exceptions,
    /// The first reason for leaving sets, for people.
    fallback: Option<String>,
}

impl<'a> Plan<'a> {
    /// `exceptions` are known from earlier batches.
    fn new(operations: &'a [Operation], planned: Option<&'a [Step]>, exceptions: Exceptions) -> Self {
        let fallback = planned.is_none().then(|| CHAINS.to_owned());
        let mut plan = Self { operations, planned, replanned: None, exceptions, fallback };
        let outdated = |step: &Step| match step {
            Step::Copy(copy) => plan.exceptions.overwritten.contains(&copy.table),
            _ => false,
        };
        if planned.is_some_and(|steps| steps.iter().any(outdated)) {
            plan.again(true);
        }
        plan
    }

    /// What to run; none where only a replay of everything will do.
    fn steps(&self) -> Option<&[Step]> {
        self.replanned.as_deref().or(self.planned)
    }

    /// Makes another plan, now that the one before would not do.
    fn change(&mut self, reason: Reason) {
        let narrower = match reason.table {
            Some(table) if reason.copied => {
                tracing::debug!(%table, reason = reason.text, "rows cannot be copied in, inserting them instead");
                self.exceptions.overwritten.insert(table)
            }
            Some(table) => {
                self.fallback.get_or_insert(reason.text);
                self.exceptions.in_order.len() < IN_ORDER_MAX && self.exceptions.in_order.insert(table)
            }
            None => {
                self.fallback.get_or_insert(reason.text);
                false
            }
        };
        self.again(narrower);
    }

    fn again(&mut self, narrower: bool) {
        self.planned = None;
        // What could be planned once can be planned with less; if not, the replay says why.
        self.replanned = if narrower { plan(self.operations, &self.exceptions).ok() } else { None };
    }
}

impl Executor {
    /// An executor whose destination stands at `durable_lsn`.
    pub(crate) async fn new(
        mut connection: Connection,
        claim: Claim,
        durable_lsn: Lsn,
        on_error: OnError,
    ) -> Result<Self, Error> {
        let advance = connection.prepare(&store::advance(&claim)).await.context("prepare the fence")?;
        let overwritten = HashSet::new();
        Ok(Self { connection, claim, on_error, advance, durable_lsn, in_pieces: false, overwritten })
    }

    pub(crate) fn task_id(&self) -> &TaskId {
        &self.claim.task_id
    }

    /// The position that survives a crash of the destination.
    pub(crate) fn durable_lsn(&self) -> Lsn {
        self.durable_lsn
    }

    /// A transaction is open, so that nothing else may use the connection.
    pub(crate) fn in_pieces(&self) -> bool {
        self.in_pieces
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Moves the position alone.
    pub(crate) async fn advance(&mut self, next_lsn: Lsn) -> Result<(), Error> {
        let parameters = [&PgLsn::from(self.durable_lsn.0) as _, &PgLsn::from(next_lsn.0) as _];
        let moved = self.connection.client().execute(&self.advance, &parameters).await;
        moved.context("move the position")?;
        self.durable_lsn = next_lsn;
        Ok(())
    }

    /// Applies operations, and commits them if they end a transaction of the source.
    pub(crate) async fn run(
        &mut self,
        operations: &[Operation],
        steps: Option<&[Step]>,
        extent: Extent,
    ) -> Result<Outcome, Error> {
        match extent {
            Extent::Whole { end_lsn } => self.whole(operations, steps, end_lsn).await,
            Extent::Piece => self.piece(operations, steps).await,
            Extent::LastPiece { end_lsn } => {
                let outcome = self.piece(operations, steps).await?;
                let client = self.connection.client();
                let parameters = [&PgLsn::from(self.durable_lsn.0) as _, &PgLsn::from(end_lsn.0) as _];
                client.execute(&self.advance, &parameters).await.context("move the position")?;
                client.batch_execute("COMMIT").await.context("commit a transaction of the source")?;
                self.in_pieces = false;
                self.durable_lsn = end_lsn;
                Ok(outcome)
            }
        }
    }

    /// Applies what a lane has of a batch, in a transaction of its own. `begin` begins and fences it, and notes what it does;
    /// the position stays. What sets will not do is refused and rolled back.
    pub(crate) async fn lane(&mut self, begin: &str, steps: &[Step]) -> Result<LaneOutcome, Error> {
        let setback = match self.sets(&self.begin(begin), None, steps).await {
            Ok(conflicts) => match self.connection.client().batch_execute("COMMIT").await {
                Ok(()) => return Ok(LaneOutcome::Committed(conflicts)),
                Err(error) => Setback::from(Error::database("commit the changes of a lane", error)),
            },
            Err(setback) => setback,
        };
        let reason = match setback {
            Setback::Failed(error) => return Err(error),
            Setback::Contention(error) => error.failure().cause,
            Setback::InOrder(reason) => reason.text,
        };
        self.connection.client().batch_execute("ROLLBACK").await.context("roll back a lane")?;
        Ok(LaneOutcome::Refused(reason))
    }

    async fn whole(
        &mut self,
        operations: &[Operation],
        steps: Option<&[Step]>,
        end_lsn: Lsn,
    ) -> Result<Outcome, Error> {
        let mut plan = self.plan(operations, steps);
        let mut retries = 0;
        let begin = self.begin(BEGIN);
        while let Some(steps) = plan.steps() {
            let execute = tracing::info_span!(names::SPAN_EXECUTE);
            let setback = match self.sets(&begin, Some(end_lsn), steps).instrument(execute).await {
                Ok(conflicts) => match self.commit().await {
                    Ok(()) => {
                        self.durable_lsn = end_lsn;
                        return Ok(Outcome { conflicts, fallback: plan.fallback });
                    }
                    Err(error) => Setback::from(Error::database("commit changes", error)),
                },
                Err(setback) => setback,
            };
            match setback {
                Setback::Failed(error) => return Err(error),
                Setback::Contention(error) if retries == CONTENTION_RETRIES_MAX => return Err(error),
                Setback::Contention(_) => retries += 1,
                Setback::InOrder(reason) => {
                    self.remember(&reason);
                    plan.change(reason);
                }
            }
            // After a failed COMMIT there is no transaction any more, and this a warning.
            self.connection.client().batch_execute("ROLLBACK").await.context("roll back a batch")?;
        }
        self.connection.client().batch_execute(&begin).await.context("begin a transaction")?;
        self.fence(end_lsn).await?;
        let conflicts = self.in_order(operations).await?;
        self.commit().await.context("commit changes")?;
        self.durable_lsn = end_lsn;
        Ok(Outcome { conflicts, fallback: plan.fallback })
    }

    async fn piece(&mut self, operations: &[Operation], steps: Option<&[Step]>) -> Result<Outcome, Error> {
        if !self.in_pieces {
            let begin = self.begin(BEGIN);
            self.connection.client().batch_execute(&begin).await.context("begin a large transaction")?;
            // Holds the task; the position moves with the last piece.
            self.fence(self.durable_lsn).await?;
            self.in_pieces = true;
        }
        let mut plan = self.plan(operations, steps);
        while let Some(steps) = plan.steps() {
            match self.sets(SAVEPOINT, None, steps).await {
                Ok(conflicts) => {
                    self.connection.client().batch_execute(RELEASE).await.context("end a piece")?;
                    return Ok(Outcome { conflicts, fallback: plan.fallback });
                }
                Err(Setback::InOrder(reason)) => {
                    self.remember(&reason);
                    plan.change(reason);
                }
                Err(Setback::Contention(error) | Setback::Failed(error)) => return Err(error),
            }
            self.connection.client().batch_execute(ROLLBACK_PIECE).await.context("roll back a piece")?;
        }
        self.connection.client().batch_execute(SAVEPOINT).await.context("begin a piece")?;
        let conflicts = self.in_order(operations).await?;
        self.connection.client().batch_execute(RELEASE).await.context("end a piece")?;
        Ok(Outcome { conflicts, fallback: plan.fallback })
    }

    async fn commit(&self) -> Result<(), tokio_postgres::Error> {
        let span = tracing::info_span!(names::SPAN_COMMIT);
        self.connection.client().batch_execute("COMMIT").instrument(span).await
    }

    fn begin(&self, begin: &str) -> String {
        format!("{}; {DEFERRED}", self.connection.begin(begin))
    }

    fn plan<'a>(&self, operations: &'a [Operation], steps: Option<&'a [Step]>) -> Plan<'a> {
        let overwritten = self.overwritten.clone();
        Plan::new(operations, steps, Exceptions { overwritten, in_order: HashSet::new() })
    }

    fn remember(&mut self, reason: &Reason) {
        if let (Some(table), true) = (&reason.table, reason.copied) {
            self.overwritten.insert(table.clone());
        }
    }

    async fn fence(&self, next_lsn: Lsn) -> Result<(), Error> {
        let parameters = [&PgLsn::from(self.durable_lsn.0) as _, &PgLsn::from(next_lsn.0) as _];
        self.connection.client().execute(&self.advance, &parameters).await.context("fence a transaction")?;
        Ok(())
    }

    /// Begins, fences where a position is given, and runs the steps; returns the conflicts that they met.
    async fn sets(&mut self, begin: &str, next_lsn: Option<Lsn>, steps: &[Step]) -> Result<Tally, Setback> {
        let position = |lsn: Lsn| Parameter::Position(PgLsn::from(lsn.0));
        let fence = next_lsn.map(|next_lsn| [position(self.durable_lsn), position(next_lsn)]);
        let mut start = Start { begin: Some(begin), fence: fence.as_ref() };
        if next_lsn.is_none() {
            // What cannot be prepared would end the transaction: the savepoint comes first.
            self.together(&mut start, &[], Vec::new()).await?;
        }
        // Outside of a transaction it comes before, so that all of it can go out at once.
        let mut prepared = self.prepare(steps).await?.into_iter();
        let mut conflicts = Tally::default();
        for run in steps.chunk_by(|left, right| is_set(left) && is_set(right)) {
            if is_set(&run[0]) {
                self.together(&mut start, run, prepared.by_ref().take(run.len()).collect()).await?;
            } else {
                self.together(&mut start, &[], Vec::new()).await?;
                conflicts.merge(self.alone(&run[0]).await?);
            }
        }
        self.together(&mut start, &[], Vec::new()).await?;
        Ok(conflicts)
    }

    /// Sends what starts the transaction, if that has not gone yet, and the set-based statements of a run.
    async fn together(
        &self,
        start: &mut Start<'_>,
        run: &[Step],
        prepared: Vec<Prepared>,
    ) -> Result<(), Setback> {
        let mut pipeline = Pipeline::new(self.connection.client());
        if let Some(begin) = start.begin.take() {
            pipeline.simple(begin);
        }
        if let Some(parameters) = start.fence.take() {
            pipeline.execute(self.advance.clone(), parameters);
        }
        let mut sets = Vec::new();
        for (step, prepared) in run.iter().zip(prepared) {
            if let Step::Set(statement) = step {
                queue(&mut pipeline, &mut sets, statement, prepared);
            }
        }
        let affected = pipeline.flush().await.map_err(|broken| refused(broken, &sets))?;
        for (place, statement) in sets {
            let rows = affected.get(place).copied().unwrap_or_default();
            if statement.expected.is_some_and(|expected| rows < expected) {
                return Err(differs(&statement.table));
            }
        }
        Ok(())
    }

    /// Prepares the set-based statements of the steps, in order.
    async fn prepare(&mut self, steps: &[Step]) -> Result<Vec<Prepared>, Setback> {
        let mut prepared = Vec::new();
        for step in steps {
            if let Step::Set(statement) = step {
                let one = self.connection.prepare(&statement.text).await;
                let doing = || format!("prepare a change of table {}", statement.table);
                let setback =
                    |error| Setback::from(Error::database(doing(), error)).of(&statement.table, false);
                prepared.push(one.map_err(setback)?);
            }
        }
        Ok(prepared)
    }

    /// Runs a step that is not a set-based statement; returns the conflicts that it met.
    async fn alone(&mut self, step: &Step) -> Result<Tally, Setback> {
        match step {
            Step::Set(_) => {}
            Step::Staged(staged) => self.staged(staged).await?,
            Step::Copy(CopyIn { table, text, data }) => self.copy(table, text, data, true).await?,
            Step::Truncate(truncation) => truncate(self.connection.client(), truncation).await?,
            Step::Suspend(suspension) => self.suspend(suspension).await?,
            Step::Rows(changes) => return Ok(self.rows(changes.iter()).await?),
        }
        Ok(Tally::default())
    }

    /// `into_table`: rows that stand there already may be in the way.
    async fn copy(
        &mut self,
        table: &TableName,
        text: &str,
        data: &[Bytes],
        into_table: bool,
    ) -> Result<(), Setback> {
        let doing = || format!("copy rows for table {table}");
        let setback = |error| Setback::from(Error::database(doing(), error)).of(table, into_table);
        let statement = self.connection.prepare(text).await.map_err(setback)?;
        let sink = self.connection.client().copy_in::<_, Bytes>(&statement).await.map_err(setback)?;
        let mut sink = pin!(sink);
        for piece in data {
            sink.feed(piece.clone()).await.map_err(setback)?;
        }
        sink.finish().await.map_err(setback)?;
        Ok(())
    }

    async fn staged(&mut self, staged: &Staged) -> Result<(), Setback> {
        let Staged { table, temporary, copy, rows, statements } = staged;
        let of_table = |error: Error| Setback::from(error).of(table, false);
        self.connection.make(temporary).await.map_err(of_table)?;
        self.copy(table, copy, rows, false).await?;
        for (text, expected) in statements {
            let doing = || format!("apply changes of table {table}");
            let setback = |error| of_table(Error::database(doing(), error));
            let statement = self.connection.prepare(text).await.map_err(setback)?;
            let affected = self.connection.client().execute(&statement, &[]).await.map_err(setback)?;
            if expected.is_some_and(|expected| affected < expected) {
                return Err(differs(table));
            }
        }
        Ok(())
    }

    /// Replays operations in the open transaction; returns the conflicts that they met.
    async fn in_order(&mut self, operations: &[Operation]) -> Result<Tally, Error> {
        let mut conflicts = Tally::default();
        for run in operations.chunk_by(|left, right| is_row(left) && is_row(right)) {
            match &run[0] {
                Operation::Truncate(truncation) => truncate(self.connection.client(), truncation).await?,
                Operation::Suspend(suspension) => self.suspend(suspension).await?,
                Operation::Row(_) => conflicts.merge(self.rows(run.iter().filter_map(row)).await?),
            }
        }
        Ok(conflicts)
    }

    async fn suspend(&self, suspension: &Suspension) -> Result<(), Error> {
        let Suspension { table_id, reason, remedy, .. } = suspension;
        store::suspend_table(self.connection.client(), &self.claim.task_id, *table_id, reason, remedy).await
    }

    async fn rows<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> Result<Tally, Error> {
        let terms = Terms { task_id: &self.claim.task_id, on_error: self.on_error };
        in_order::apply(&mut self.connection, terms, changes).await
    }
}

const CHAINS: &str = "rows change their keys in long chains";

/// What has to come before the statements of a transaction, until it has been sent.
struct Start<'a> {
    begin: Option<&'a str>,
    fence: Option<&'a [Parameter; 2]>,
}

fn is_set(step: &Step) -> bool {
    matches!(step, Step::Set(_))
}

fn is_row(operation: &Operation) -> bool {
    matches!(operation, Operation::Row(_))
}

fn row(operation: &Operation) -> Option<&Change> {
    match operation {
        Operation::Row(change) => Some(change),
        Operation::Truncate(_) | Operation::Suspend(_) => None,
    }
}

/// Queues a statement; `sets` notes where its count of rows will be.
fn queue<'a>(
    pipeline: &mut Pipeline<'a>,
    sets: &mut Vec<(usize, &'a Statement)>,
    statement: &'a Statement,
    prepared: Prepared,
) {
    if statement.hash_join {
        pipeline.simple(HASH_JOIN);
    }
    sets.push((pipeline.len(), statement));
    pipeline.execute(prepared, &statement.parameters);
    if statement.hash_join {
        pipeline.simple(INDEX_LOOKUP);
    }
}

fn differs(table: &TableName) -> Setback {
    let text = format!("table {table} at the destination lacks rows that should be there, or has others");
    Setback::InOrder(Reason { table: Some(table.clone()), copied: false, text })
}

fn refused(broken: Broken, sets: &[(usize, &Statement)]) -> Setback {
    let setback = Setback::from(Error::database("apply a batch", broken.error));
    match sets.iter().find(|(place, _)| *place == broken.place) {
        Some((_, statement)) => setback.of(&statement.table, false),
        None => setback,
    }
}

impl Setback {
    /// The same, of a table that is known.
    fn of(self, table: &TableName, copied: bool) -> Self {
        match self {
            Self::InOrder(reason) => {
                Self::InOrder(Reason { table: Some(table.clone()), copied, text: reason.text })
            }
            other => other,
        }
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        let Some(server) = error.database_error().and_then(strait_postgres::Error::server_error) else {
            // A refusal of our own may be about one step alone; the replay says it again with its place.
            return Self::Failed(error);
        };
        match server.code.code() {
            "40001" | "40P01" => Self::Contention(error),
            code => match code.get(..2).unwrap_or_default() {
                // The connection, the server's resources, an operator: nothing that the changes could be
                // blamed for.
                "08" | "25" | "40" | "53" | "55" | "57" | "58" | "F0" | "XX" => Self::Failed(error),
                _ => Self::InOrder(Reason {
                    table: None,
                    copied: false,
                    text: format!("{} (SQLSTATE {code})", server.message),
                }),
            },
        }
    }
}
