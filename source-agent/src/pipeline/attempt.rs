//! One attempt: connects, asks the destination where it stands, and does what is missing.

use std::collections::HashSet;
use std::sync::Arc;

use strait_postgres::replication::ReplicationConnection;
use strait_postgres::{Client, PublicationName, catalog};
use strait_proto::Lsn;
use strait_proto::v1::{self, TaskState};
use strait_runtime::telemetry::names;
use tracing::{Instrument as _, Span};

use super::Run;
use crate::capture::leaves::Leaves;
use crate::capture::record::Record;
use crate::capture::{SnapshotLease, identity, publication, slot};
use crate::copy::CopyCounters;
use crate::error::{During, RunError};
use crate::joining::Joining;
use crate::mapping::Mapped;
use crate::rows::RowRules;
use crate::sink::Sink;
use crate::source::Identified;
use crate::stream::{DETACHED, Hold, OnceMarker, PutOff, SequenceSync, StreamRun, TableMarks, conclude};

/// The connections of an attempt.
pub(super) struct Attempt<'a> {
    pub(super) run: &'a Run,
    /// For single statements that do not wait: nothing else may open a transaction on it.
    pub(super) client: Arc<Client>,
    pub(super) sink: Sink,
}

/// A task whose tables are begun.
pub(super) struct Begun {
    pub(super) model: v1::SchemaModel,
    pub(super) states: Vec<v1::TableState>,
}

impl Run {
    /// Ends without an error only where `once` is fulfilled.
    pub(super) async fn attempt(
        &self,
        lease: &mut Option<SnapshotLease>,
        marker: &mut OnceMarker,
        put_off: PutOff,
    ) -> Result<(), RunError> {
        let client = self.connect().await?;
        let identified = self.source.identify(&client).await.during("identify the source")?;
        let Identified { identity, history, replication } = identified;
        let joining = self.newcomers.is_some();
        let (sink, opened) = Sink::open(&self.assign, &self.link, identity, history, joining).await?;
        let attempt = Attempt { run: self, client: Arc::new(client), sink };
        let sink = attempt.sink.clone();
        match Box::pin(attempt.go_on(opened, replication, lease, marker, put_off)).await {
            // Tables that are joining still are begun anew as a whole.
            Err(RunError::BeginOver { table_id, reason }) if self.newcomers.is_none() => {
                self.reporter.notice(format!("{reason}: its table begins over")).await;
                sink.suspend(table_id, reason).await?;
                Err(RunError::TablesJoined)
            }
            ended => ended,
        }
    }

    async fn connect(&self) -> Result<Client, RunError> {
        const DOING: &str = "connect to the source";
        let client = self.source.connect().await.during(DOING)?;
        client
            .server()
            .await
            .and_then(|server| server.require_source(self.source.parts.incremental))
            .during(DOING)?;
        let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await.during(DOING)?;
        if row.try_get(0).during(DOING)? {
            return Err(RunError::connection(
                "the source is a server in recovery, which cannot be followed: waiting for a primary",
            ));
        }
        Ok(client)
    }
}

impl Attempt<'_> {
    async fn go_on(
        self,
        opened: v1::OpenTaskResponse,
        replication: Option<ReplicationConnection>,
        lease: &mut Option<SnapshotLease>,
        marker: &mut OnceMarker,
        put_off: PutOff,
    ) -> Result<(), RunError> {
        let begun = match &opened.checkpoint {
            None => self.begin_fresh(replication, lease).instrument(self.phase("schema")).await?,
            Some(checkpoint) => {
                drop(replication);
                self.resume(checkpoint, opened.tables).await?
            }
        };
        let begun = Box::pin(self.copy(begun, lease).instrument(self.phase("full"))).await?;
        // All tables stand: nothing needs the snapshot any more, and it holds back the source's cleanup.
        *lease = None;
        if !self.run.source.parts.incremental {
            return self.conclude(&begun).await;
        }
        let (leaves, rules) = self.leaves(&begun).await?;
        self.run.reporter.enter(TaskState::Incremental).await;
        let mapped = Arc::new(self.mapped(&begun.model, &begun.states).await?);
        let copied = Arc::new(CopyCounters::new(&mapped.model, &begun.states));
        let (marks, hold) = (Arc::new(TableMarks::default()), Hold::default());
        let stream = StreamRun {
            source: &self.run.source,
            sink: &self.sink,
            reporter: &self.run.reporter,
            client: Arc::clone(&self.client),
            model: &begun.model,
            mapping: &self.run.mapping,
            mapped,
            leaves,
            rules,
            copied,
            heartbeat: self.run.heartbeat,
            throttle: self.run.throttle.clone(),
            put_off,
            tracker: &self.run.tracker,
            marks: Arc::clone(&marks),
            hold: hold.clone(),
        };
        let stream = stream.run(self.run.assign.once.then_some(marker));
        let stream = Box::pin(stream.instrument(self.phase("incremental")));
        if !self.run.lets_join() {
            return stream.await;
        }
        let known = begun.states.iter().map(|state| state.table_id).collect();
        let partitions = begun
            .states
            .iter()
            .filter(|state| state.partition_of.is_some() && self.run.source.drops_partitions());
        let partitions = partitions.cloned().collect();
        let joining = Joining { run: self.run, sink: &self.sink, known, partitions, marks, hold };
        tokio::select! {
            ended = stream => ended,
            joined = Box::pin(joining.run()) => joined,
        }
    }

    /// A trace for each phase: the run that it belongs to may last for months.
    fn phase(&self, phase: &'static str) -> Span {
        let task_id = &self.run.source.task_id;
        tracing::info_span!(parent: None, names::SPAN_PHASE, strait.task.id = %task_id, strait.phase = phase)
    }

    /// The end of a task that no changes follow.
    async fn conclude(&self, begun: &Begun) -> Result<(), RunError> {
        let reporter = &self.run.reporter;
        if self.run.source.parts.full {
            let mapped = Arc::new(self.mapped(&begun.model, &begun.states).await?);
            SequenceSync::new(&begun.model, mapped).transfer(&self.client, &self.sink, reporter).await?;
        }
        conclude(&self.sink, reporter).await
    }

    /// A task that the destination has a checkpoint of: whether it can go on from there, and what it consists of. That the
    /// checkpoint belongs to the source's history, the destination has looked at when the task was opened.
    async fn resume(
        &self,
        checkpoint: &v1::Checkpoint,
        states: Vec<v1::TableState>,
    ) -> Result<Begun, RunError> {
        let source = &self.run.source;
        if !source.parts.incremental {
            let mut model = self.load().await?;
            self.keep_begun(&mut model, &states).await;
            return Ok(Begun { model, states });
        }
        let state = slot::read(&self.client, &source.slot).await.during("check the replication slot")?;
        slot::verify(&source.slot, state.as_ref(), Lsn(checkpoint.durable_lsn))?;
        let mut model = self.load().await?;
        self.leave_detached(&model, &states).await?;
        self.keep_begun(&mut model, &states).await;
        let tables: Vec<u32> = publication::published(&model).map(|table| table.table_id).collect();
        publication::verify(&self.client, source, &tables).await?;
        Ok(Begun { model, states })
    }

    /// Partitions that were detached while nobody looked are followed as tables of their own only where the task says the same of
    /// them then: nothing may be sent that was left out before.
    async fn leave_detached(
        &self,
        model: &v1::SchemaModel,
        states: &[v1::TableState],
    ) -> Result<(), RunError> {
        if !self.run.source.keeps_partitions || self.run.newcomers.is_some() {
            return Ok(());
        }
        let of_model = |table_id: u32| model.tables.iter().find(|table| table.table_id == table_id);
        let followed = states.iter().filter(|state| state.phase() != v1::CopyPhase::Suspended);
        let mut left = false;
        for state in followed {
            let Some(above) = &state.partition_of else { continue };
            if of_model(state.table_id).is_some_and(|table| table.partition_of.is_some()) {
                continue;
            }
            let relation = identity::current(&self.client, state.table_id).await;
            // Dropped: no changes of it come any more.
            let Some((relation, _)) = relation.during("look for a detached partition")? else { continue };
            let parent = states.iter().find(|it| it.table.as_ref() == Some(above));
            let parent = parent.and_then(|parent| of_model(parent.table_id)).map(v1::Table::table_name);
            let alike = |parent| self.run.mapping.stands_alone_alike(&relation.name, &parent);
            if !parent.is_some_and(alike) {
                self.sink.suspend(state.table_id, DETACHED.to_owned()).await?;
                self.run.reporter.notice(format!("table {}: {DETACHED}", relation.name)).await;
                left = true;
            }
        }
        if left { Err(RunError::TablesJoined) } else { Ok(()) }
    }

    pub(super) async fn load(&self) -> Result<v1::SchemaModel, RunError> {
        let model = self.load_whole().await?;
        Ok(match &self.run.newcomers {
            Some(newcomers) => newcomers.part_of(&model),
            None => model,
        })
    }

    /// All that the selection covers, whether it joins or is there already.
    pub(super) async fn load_whole(&self) -> Result<v1::SchemaModel, RunError> {
        let model = catalog::load(&self.client, &self.run.selection).await;
        let model = model.during("read the catalog of the source")?;
        self.run.mapping.learn(&model);
        Ok(model)
    }

    /// What becomes of a model at the destination. `begun` are the tables that it has.
    pub(super) async fn mapped(
        &self,
        model: &v1::SchemaModel,
        begun: &[v1::TableState],
    ) -> Result<Mapped, RunError> {
        let mapped = self.run.mapping.read_and_apply(&self.client, model, begun).await;
        mapped.during("read what extensions have brought")
    }

    /// Takes out of the model what was made after the task began, and says what differs.
    async fn keep_begun(&self, model: &mut v1::SchemaModel, states: &[v1::TableState]) {
        let begun: HashSet<u32> = states.iter().map(|state| state.table_id).collect();
        let newer = model.tables.extract_if(.., |table| !begun.contains(&table.table_id));
        let newer: Vec<v1::TableName> = newer.map(|table| table.table_name()).collect();
        let owned_by_newer = |sequence: &v1::Sequence| {
            sequence.owner_table.as_ref().is_some_and(|owner| newer.contains(owner))
        };
        model.sequences.retain(|sequence| !owned_by_newer(sequence));
        if !newer.is_empty() && !self.run.lets_join() {
            let text = format!("created after the task began, not synchronised: {}", names(&newer));
            self.run.reporter.notice_once(text).await;
        }
        let exist: HashSet<u32> = model.tables.iter().map(|table| table.table_id).collect();
        // Partitions that went go at the destination too, or are told of one by one.
        let stays =
            |state: &&v1::TableState| !(self.run.source.keeps_partitions && state.partition_of.is_some());
        let dropped = states.iter().filter(|state| !exist.contains(&state.table_id)).filter(stays);
        let dropped: Vec<v1::TableName> = dropped.filter_map(|state| state.table.clone()).collect();
        if !dropped.is_empty() {
            let text = format!(
                "dropped at the source, or not covered by the selection any more: {}; they stay at the destination",
                names(&dropped)
            );
            self.run.reporter.notice_once(text).await;
        }
    }

    /// What the task remembers at the source.
    pub(super) async fn record(&self) -> Result<Record, RunError> {
        const DOING: &str = "read the record of the publication";
        let publication = &self.run.source.publication;
        let (record, ours) = Record::read(&self.client, publication).await.during(DOING)?.unwrap_or_default();
        if ours { Ok(record) } else { Err(comment_was_changed(publication)) }
    }

    /// What is known of the partitions, brought up to date, and the conditions that the tables began with.
    async fn leaves(&self, begun: &Begun) -> Result<(Leaves, RowRules), RunError> {
        let source = &self.run.source;
        let record = self.record().await?;
        let tables = &begun.model.tables;
        let flattened = tables.iter().filter(|table| table.is_flattened()).map(|table| table.table_id);
        // Tables that are about to join may stand in the record already; suspended ones join again.
        let followed = begun.states.iter().filter(|state| state.phase() != v1::CopyPhase::Suspended);
        let followed: HashSet<u32> = followed.map(|state| state.table_id).collect();
        let recorded = record.leaves.keys().copied();
        let flattened: HashSet<u32> =
            flattened.chain(recorded).filter(|table| followed.contains(table)).collect();
        let unrecorded = flattened.iter().any(|table| !record.leaves.contains_key(table));
        if unrecorded {
            return Err(comment_was_changed(&source.publication));
        }
        let mut leaves = Leaves::new(source, &self.run.selection, flattened.into_iter(), &record);
        leaves.refresh(&self.client, &self.run.reporter).await?;
        Ok((leaves, RowRules::recorded(&record)))
    }
}

fn comment_was_changed(publication: &PublicationName) -> RunError {
    let cause = format!(
        "the comment of publication {publication} was changed: which partitions and which rows belong to the task is not known \
         any more"
    );
    RunError::definite(
        cause,
        "Put the comment back as it was (COMMENT ON PUBLICATION), or release the task and start it again.",
    )
}

/// Some names, for people.
fn names(names: &[v1::TableName]) -> String {
    const NAMES_MAX: usize = 20;
    let mut text: Vec<String> = names.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    if names.len() > NAMES_MAX {
        text.push(format!("and {} more", names.len() - NAMES_MAX));
    }
    text.join(", ")
}
