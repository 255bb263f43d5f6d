//! From what the source decodes to what the sink is sent.
//!
//! Pure: it knows the tables and the positions and answers each message with changes. What it cannot know, because the
//! catalog has to be asked, it returns as a [`Step`] for the reader to settle.
//!
//! Only the task's tables pass, each from its beginning on; a transaction is announced with its first change that passes, and
//! one without any becomes a position. Rows are passed on as the bytes that came. Transactions in progress have their own rules
//! (`in_progress`).

mod in_progress;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use strait_postgres::pgoutput::{
    Begin, Decoded, LogicalMessage, OldTuple, Relation, RelationColumn, TupleData, TupleValue,
};
use strait_proto::Lsn;
use strait_proto::v1::{self, ReplicaIdentity, RowOperation, change::Change as Kind};

use super::tables::TableSet;
use super::truncate;
use crate::capture::heartbeat;
use crate::capture::record::LeafRecord;
use crate::choices::Operations;
use crate::error::RunError;
use crate::mapping::{Projection, TableMap};
use crate::rows::{Described, RowRule, RuledRelation, Transform};
use crate::transform::{self, Input, Program, TransformText};
use in_progress::{Block, InProgress};

/// The prefix of Strait's own logical messages.
pub(super) const MESSAGE_PREFIX: &str = "strait";

/// State of one session of the stream.
pub(super) struct Shape {
    tables: TableSet,
    /// Everything before it is durable already, or has been answered with changes or positions: transactions that
    /// committed before it are dropped.
    position_lsn: Lsn,
    open: Option<Open>,
    relations: HashMap<u32, Known>,
    /// Counts the definitions of relations, so that the newest of two can be told.
    definitions: u64,
    /// By their xids.
    in_progress: HashMap<u32, InProgress>,
    /// The block of one of those that is being read.
    block: Option<Block>,
    /// The relation of the row that the last message brought, where its table has a condition or rules.
    filtered: Option<Arc<RuledRelation>>,
}

/// A transaction that has begun.
struct Open {
    begin: Begin,
    /// It came before: the source sends again what lies behind a change of how it is read.
    repeated: bool,
    /// The sink was told of it.
    announced: bool,
    /// Our own message that it holds, or what it wrote into the heartbeat's table instead.
    message: Option<Bytes>,
}

/// A relation that was described in this session.
enum Known {
    Ignored,
    /// The heartbeat's table, and the position of the column that holds the content.
    Heartbeat(usize),
    Mapped(Box<Mapped>),
}

struct Mapped {
    /// Which of the session's definitions it is.
    order: u64,
    begin_lsn: Lsn,
    operations: Operations,
    definition: v1::RelationDefinition,
    /// Which values of a tuple are sent; of a table with a condition or rules all, until those were evaluated.
    projection: Projection,
    /// Its table has a condition or rules.
    filtered: Option<Arc<RuledRelation>>,
    /// The sink has this definition.
    announced: bool,
}

/// What is left to do about a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    /// A relation that no table of the task is known to have: look it up, then [`Shape::adopt`] or [`Shape::ignore`].
    Unknown(Relation),
    /// The changes hold bounds of these tables' leaves, which have to be certain before they are sent.
    Bounded(Vec<(u32, u32)>),
    /// A transaction with this message of ours ended here.
    Message(Bytes, Lsn),
}

impl Shape {
    pub(super) fn new(tables: TableSet, resume_lsn: Lsn) -> Self {
        Self {
            tables,
            position_lsn: resume_lsn,
            open: None,
            relations: HashMap::new(),
            definitions: 0,
            in_progress: HashMap::new(),
            block: None,
            filtered: None,
        }
    }

    /// Answers a message of a session that streams transactions in progress with the changes to send.
    pub(super) fn decoded(
        &mut self,
        decoded: Decoded,
        changes: &mut Vec<v1::Change>,
    ) -> Result<Step, RunError> {
        let Decoded { xid, message } = decoded;
        match message {
            LogicalMessage::StreamStart(start) => self.stream_start(start.xid)?,
            LogicalMessage::StreamStop => self.stream_stop(changes)?,
            LogicalMessage::StreamCommit(commit) => return self.stream_commit(commit, changes),
            LogicalMessage::StreamAbort(abort) => self.stream_abort(abort, changes)?,
            message if self.block.is_some() => return self.in_block(xid, message, changes),
            message => return self.message(message, changes),
        }
        Ok(Step::Done)
    }

    /// Answers a message of a whole transaction, or of none, with the changes to send.
    pub(super) fn message(
        &mut self,
        message: LogicalMessage,
        changes: &mut Vec<v1::Change>,
    ) -> Result<Step, RunError> {
        match message {
            LogicalMessage::Begin(begin) => self.begin(begin)?,
            LogicalMessage::Commit(commit) => return self.commit(commit.commit_lsn, commit.end_lsn, changes),
            LogicalMessage::Relation(relation) => return self.relation(relation),
            LogicalMessage::Insert { relation_id, new } => {
                self.row(relation_id, RowOperation::Insert, None, Some(new), changes)?;
            }
            LogicalMessage::Update { relation_id, old, new } => {
                self.row(relation_id, RowOperation::Update, old, Some(new), changes)?;
            }
            LogicalMessage::Delete { relation_id, old } => {
                self.row(relation_id, RowOperation::Delete, Some(old), None, changes)?;
            }
            LogicalMessage::Truncate { relation_ids, restart_identity, .. } => {
                return self.truncate(&relation_ids, restart_identity, changes);
            }
            LogicalMessage::Message { transactional: true, prefix, content, .. }
                if prefix == MESSAGE_PREFIX =>
            {
                self.open_mut("a message")?.message = Some(content);
            }
            LogicalMessage::Message { .. } | LogicalMessage::Origin | LogicalMessage::Type => {}
            LogicalMessage::StreamStart(_)
            | LogicalMessage::StreamStop
            | LogicalMessage::StreamCommit(_)
            | LogicalMessage::StreamAbort(_) => {
                return Err(out_of_turn("a transaction in progress, which was not asked for"));
            }
        }
        Ok(Step::Done)
    }

    /// Everything before `wal_end_lsn` has been sent, says the walsender. Counts between transactions alone; those in progress
    /// commit past it.
    pub(super) fn keepalive(&mut self, wal_end_lsn: Lsn, changes: &mut Vec<v1::Change>) {
        if self.open.is_none() && self.block.is_none() {
            self.advance(wal_end_lsn, changes);
        }
    }

    /// No transaction is open, and none has been sent in part.
    pub(super) fn is_between_transactions(&self) -> bool {
        self.open.is_none() && self.in_progress.is_empty()
    }

    /// Everything before it is durable, or has been answered.
    pub(super) fn position_lsn(&self) -> Lsn {
        self.position_lsn
    }

    /// The relation of the row that the last message brought, where its table has a condition or rules.
    pub(super) fn take_filtered(&mut self) -> Option<Arc<RuledRelation>> {
        self.filtered.take()
    }

    /// An unknown relation is a leaf of this table.
    pub(super) fn adopt(
        &mut self,
        relation: Relation,
        table_id: u32,
        leaf: LeafRecord,
    ) -> Result<Step, RunError> {
        self.tables.adopt(table_id, leaf);
        self.relation(relation)
    }

    /// An unknown relation is none of the task's.
    pub(super) fn ignore(&mut self, relation: &Relation) {
        self.relations_here().insert(relation.relation_id, Known::Ignored);
    }

    fn begin(&mut self, begin: Begin) -> Result<(), RunError> {
        if self.open.is_some() {
            return Err(out_of_turn("a transaction within another one"));
        }
        let repeated = begin.final_lsn < self.position_lsn;
        self.open = Some(Open { begin, repeated, announced: false, message: None });
        Ok(())
    }

    fn commit(
        &mut self,
        commit_lsn: Lsn,
        end_lsn: Lsn,
        changes: &mut Vec<v1::Change>,
    ) -> Result<Step, RunError> {
        let Some(open) = self.open.take() else {
            return Err(out_of_turn("the end of a transaction that has not begun"));
        };
        if open.announced {
            self.position_lsn = self.position_lsn.max(end_lsn);
            let commit = v1::Commit { commit_lsn: commit_lsn.0, end_lsn: end_lsn.0 };
            changes.push(v1::Change { change: Some(Kind::Commit(commit)) });
        } else {
            self.advance(end_lsn, changes);
        }
        Ok(open.message.map_or(Step::Done, |content| Step::Message(content, end_lsn)))
    }

    fn advance(&mut self, to_lsn: Lsn, changes: &mut Vec<v1::Change>) {
        if to_lsn > self.position_lsn {
            self.position_lsn = to_lsn;
            let progress = v1::Progress { progress_lsn: to_lsn.0 };
            changes.push(v1::Change { change: Some(Kind::Progress(progress)) });
        }
    }

    fn relation(&mut self, mut relation: Relation) -> Result<Step, RunError> {
        let relation_id = relation.relation_id;
        if heartbeat::is_table(&relation.schema, &relation.name) {
            let content = relation.columns.iter().position(|column| column.name == heartbeat::CONTENT);
            let known = content.map_or(Known::Ignored, Known::Heartbeat);
            self.relations_here().insert(relation_id, known);
            return Ok(Step::Done);
        }
        let Some(table) = self.tables.of_relation(relation_id) else {
            return Ok(match self.relations.get(&relation_id) {
                Some(Known::Ignored) => {
                    self.relations_here().insert(relation_id, Known::Ignored);
                    Step::Done
                }
                _ => Step::Unknown(relation),
            });
        };
        let target = table.name.clone();
        let target = target.unwrap_or_else(|| v1::TableName::new(&*relation.schema, &*relation.name));
        let (table_id, begin_lsn, operations) = (table.table_id, table.begin_lsn, table.operations);
        let source_columns = relation.columns.clone();
        let in_progress = self.block_xid();
        let transform = match self.tables.transform(table_id) {
            Some(text) => Some(
                compiled(text, &mut relation, table.map.as_ref(), in_progress)
                    .map_err(|error| self.put_off(error))?,
            ),
            None => None,
        };
        let mut projection = Projection::apply(&mut relation, table.map.as_ref())?;
        let rule = RowRule { filter: self.tables.filter(table_id), transform };
        let filtered = (rule.filter.is_some() || rule.transform.is_some()).then(|| {
            let outward = std::mem::take(&mut projection);
            let described = Described { relation_id, columns: source_columns, in_progress };
            Arc::new(RuledRelation::new(target.clone(), rule, described, outward))
        });
        let definition = definition(relation, table_id, target);
        self.definitions += 1;
        let order = self.definitions;
        let relations = self.relations_here();
        let announced = has_announced(relations, &definition);
        let mapped = Mapped { order, begin_lsn, operations, definition, projection, filtered, announced };
        relations.insert(relation_id, Known::Mapped(Box::new(mapped)));
        Ok(Step::Done)
    }

    /// The relations described to whoever is being read: a transaction in progress knows only its own.
    fn relations_here(&mut self) -> &mut HashMap<u32, Known> {
        match self.block.as_ref().and_then(|block| self.in_progress.get_mut(&block.xid)) {
            Some(transaction) => &mut transaction.relations,
            None => &mut self.relations,
        }
    }

    fn row(
        &mut self,
        relation_id: u32,
        operation: RowOperation,
        old: Option<OldTuple>,
        new: Option<TupleData>,
        changes: &mut Vec<v1::Change>,
    ) -> Result<(), RunError> {
        let Some(open) = &mut self.open else {
            return Err(out_of_turn("a row outside of a transaction"));
        };
        let mapped = match self.relations.get_mut(&relation_id) {
            Some(Known::Mapped(mapped)) => mapped,
            Some(Known::Ignored) => return Ok(()),
            Some(Known::Heartbeat(content)) => {
                if let Some(TupleValue::Text(content)) = new.and_then(|new| new.values().nth(*content)) {
                    open.message = Some(content);
                }
                return Ok(());
            }
            None => return Err(out_of_turn("a row of a relation that was not described")),
        };
        let commit_lsn = open.begin.final_lsn;
        if open.repeated || commit_lsn < mapped.begin_lsn || !mapped.operations.carry(operation) {
            return Ok(());
        }
        open.announce(changes);
        mapped.announce(changes);
        self.filtered = mapped.filtered.clone();
        changes.push(row_change(relation_id, operation, &mapped.projection, old, new));
        Ok(())
    }

    fn truncate(
        &mut self,
        relation_ids: &[u32],
        restart_identity: bool,
        changes: &mut Vec<v1::Change>,
    ) -> Result<Step, RunError> {
        let Some(open) = &mut self.open else {
            return Err(out_of_turn("TRUNCATE outside of a transaction"));
        };
        if open.repeated {
            return Ok(Step::Done);
        }
        let commit_lsn = open.begin.final_lsn;
        let mapped = truncate::map(relation_ids, &self.tables, commit_lsn)?;
        if !mapped.relations.is_empty() {
            open.announce(changes);
            let truncate = v1::Truncate { relations: mapped.relations, restart_identity };
            changes.push(v1::Change { change: Some(Kind::Truncate(truncate)) });
        }
        Ok(if mapped.bounded.is_empty() { Step::Done } else { Step::Bounded(mapped.bounded) })
    }

    fn open_mut(&mut self, what: &str) -> Result<&mut Open, RunError> {
        self.open.as_mut().ok_or_else(|| out_of_turn(&format!("{what} outside of a transaction")))
    }
}

impl Open {
    fn announce(&mut self, changes: &mut Vec<v1::Change>) {
        if !self.announced {
            self.announced = true;
            let begin = v1::Begin {
                commit_lsn: self.begin.final_lsn.0,
                xid: self.begin.xid,
                commit_time_us: self.begin.commit_time_us,
            };
            changes.push(v1::Change { change: Some(Kind::Begin(begin)) });
        }
    }
}

impl Mapped {
    fn announce(&mut self, changes: &mut Vec<v1::Change>) {
        if !self.announced {
            self.announced = true;
            changes.push(v1::Change { change: Some(Kind::Relation(self.definition.clone())) });
        }
    }
}

/// Whether the sink has exactly this definition.
fn has_announced(relations: &HashMap<u32, Known>, definition: &v1::RelationDefinition) -> bool {
    match relations.get(&definition.relation_id) {
        Some(Known::Mapped(known)) => known.announced && known.definition == *definition,
        _ => false,
    }
}

fn row_change(
    relation_id: u32,
    operation: RowOperation,
    projection: &Projection,
    old: Option<OldTuple>,
    new: Option<TupleData>,
) -> v1::Change {
    let (old_tuple, old_is_full) = match old {
        None => (Bytes::new(), false),
        Some(OldTuple::Key(tuple)) => (projection.tuple(&tuple), false),
        Some(OldTuple::Full(tuple)) => (projection.tuple(&tuple), true),
    };
    let row = v1::RowChange {
        relation_id,
        operation: operation.into(),
        old_tuple,
        old_is_full,
        new_tuple: new.map(|tuple| projection.tuple(&tuple)).unwrap_or_default(),
    };
    v1::Change { change: Some(Kind::Row(row)) }
}

/// Compiles a table's rules against a relation, which gets the columns that they add.
fn compiled(
    text: Arc<TransformText>,
    relation: &mut Relation,
    map: Option<&TableMap>,
    in_progress: Option<u32>,
) -> Result<Transform, RunError> {
    // With FULL every column counts as one of the key.
    let is_keyed = relation.replica_identity != b'f';
    let input = |column: &RelationColumn| Input {
        name: column.name.clone(),
        kind: transform::Kind::of_oid(column.type_oid),
        carried: map.is_none_or(|map| map.columns.carries(&column.name)),
        key: is_keyed && column.key,
    };
    let inputs: Vec<Input> = relation.columns.iter().map(input).collect();
    let program = Program::compile(&text, &inputs).map_err(|troubles| {
        let troubles: Vec<String> = troubles.iter().map(ToString::to_string).collect();
        RunError::definite(
            format!("{}: rules (`transform`) do not fit the table any more: {}", text.table, troubles.join("; ")),
            "Release the task and start it with rules that fit, or give the table back what they need and resume.",
        )
    })?;
    if let Some(xid) = in_progress
        && program.uses_commit_time
    {
        let reason =
            format!("rules of {} look at commit_time, which is not known before the commit", text.table);
        return Err(RunError::StreamingPutOff { xid, reason });
    }
    let added = program.added.iter().map(|added| RelationColumn {
        key: false,
        name: added.name.clone(),
        type_oid: 0,
        type_modifier: -1,
    });
    relation.columns.extend(added);
    Ok(Transform { program, text })
}

fn definition(relation: Relation, table_id: u32, target: v1::TableName) -> v1::RelationDefinition {
    let has_key = relation.columns.iter().any(|column| column.key);
    let replica_identity = match relation.replica_identity {
        b'f' => ReplicaIdentity::Full,
        b'd' if has_key => ReplicaIdentity::PrimaryKey,
        b'i' if has_key => ReplicaIdentity::Index,
        _ => ReplicaIdentity::None,
    };
    let columns = relation.columns.into_iter();
    v1::RelationDefinition {
        relation_id: relation.relation_id,
        table_id,
        target: Some(target),
        columns: columns.map(|column| v1::RelationColumn { name: column.name, key: column.key }).collect(),
        replica_identity: replica_identity.into(),
    }
}

/// The source broke its protocol. Trying again starts from a known state.
fn out_of_turn(what: &str) -> RunError {
    RunError::transient(format!("unexpected message in the change stream: {what}"))
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
