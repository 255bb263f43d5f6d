//! Changes on their way from the shape to the frames, held while the source evaluates conditions on them, and changed by rules.
//!
//! Bounded: rows are gathered up to [`BYTES_MAX`] or [`ROWS_MAX`], or until the stream has nothing more at hand, and cost one
//! query for each table among them. Their order stays. What a message describes (relations, commits, rollbacks) waits with
//! them.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use strait_postgres::Client;
use strait_proto::v1::{self, change::Change as Kind};

use super::evaluate::{Evaluator, Values};
use super::transition::{RuledRelation, Verdict};
use crate::error::{During, RunError};
use crate::source::Source;

/// How much is gathered before it is evaluated.
const BYTES_MAX: usize = 1 << 20;
const ROWS_MAX: usize = 10_000;

/// Holds back what a condition has to be evaluated on, and all that comes behind it.
pub(crate) struct Stage {
    source: Source,
    /// Made when it is first needed. Its own: a condition may take its time.
    client: Option<Client>,
    pending: Vec<Pending>,
    bytes: usize,
    rows: usize,
    /// Of the transaction that is being read, microseconds since the Unix epoch.
    commit_time_us: Option<i64>,
}

struct Pending {
    change: v1::Change,
    filtered: Option<Arc<RuledRelation>>,
}

/// The rows of one relation among those that are pending.
struct Group {
    relation: Arc<RuledRelation>,
    values: Vec<Values>,
    /// For each of them the pending change, and whether it is its new row.
    asked_by: Vec<(usize, bool)>,
}

impl Stage {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, client: None, pending: Vec::new(), bytes: 0, rows: 0, commit_time_us: None }
    }

    /// Takes a change, or gives it back where nothing has to wait. `filtered`: the relation of a row that has a condition.
    pub(crate) fn push(
        &mut self,
        change: v1::Change,
        filtered: Option<Arc<RuledRelation>>,
    ) -> Option<v1::Change> {
        if self.pending.is_empty() && filtered.is_none() {
            self.see(&change);
            return Some(change);
        }
        self.bytes += change.encoded_len();
        self.rows += usize::from(filtered.is_some());
        self.pending.push(Pending { change, filtered });
        None
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX || self.rows >= ROWS_MAX || self.pending.len() >= 2 * ROWS_MAX
    }

    /// Evaluates what is pending and returns all that is left of it, in order.
    pub(crate) async fn settle(&mut self) -> Result<Vec<v1::Change>, RunError> {
        let pending = std::mem::take(&mut self.pending);
        (self.bytes, self.rows) = (0, 0);
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        let (groups, mut verdicts) = gather(&pending)?;
        for group in groups {
            let relation = &group.relation;
            let matches = self.evaluate(&group).await.map_err(|error| relation.put_off(error))?;
            for ((index, is_new), matches) in group.asked_by.into_iter().zip(matches) {
                let verdict = &mut verdicts[index];
                if is_new { verdict.new = Some(matches) } else { verdict.old = Some(matches) }
            }
        }
        let mut changes = Vec::with_capacity(pending.len());
        for (Pending { change, filtered }, verdict) in pending.into_iter().zip(verdicts) {
            self.see(&change);
            match (change.change, filtered) {
                (Some(Kind::Row(row)), Some(relation)) => {
                    let settled = self.settle_row(row, &relation, verdict);
                    let settled = settled.map_err(|error| relation.put_off(error))?;
                    changes.extend(settled.map(|row| v1::Change { change: Some(Kind::Row(row)) }));
                }
                (kind, _) => changes.push(v1::Change { change: kind }),
            }
            leave_out_empty_transaction(&mut changes);
        }
        Ok(changes)
    }

    /// What is sent of a change; None: nothing.
    fn settle_row(
        &self,
        row: v1::RowChange,
        relation: &RuledRelation,
        verdict: Verdict,
    ) -> Result<Option<v1::RowChange>, RunError> {
        let read = relation.read(&row)?;
        let operation = row.operation();
        let Some(settled) = relation.settle(row, read, verdict)? else { return Ok(None) };
        let transformed = relation.transformed(settled, operation, self.commit_time_us)?;
        transformed.map(|row| relation.outward(row)).transpose()
    }

    /// Rules may ask for the time of the transaction.
    fn see(&mut self, change: &v1::Change) {
        match &change.change {
            Some(Kind::Begin(begin)) => self.commit_time_us = Some(begin.commit_time_us),
            Some(Kind::StreamStart(_)) => self.commit_time_us = None,
            _ => {}
        }
    }

    async fn evaluate(&mut self, group: &Group) -> Result<Vec<bool>, RunError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.source.connect().await.during("connect to evaluate conditions on rows")?,
        };
        let client = self.client.insert(client);
        let relation = &group.relation;
        let Some(filter) = &relation.filter else { return Ok(Vec::new()) };
        let prepare = || Evaluator::prepare(client, relation, filter);
        let evaluator = relation.evaluator.get_or_try_init(prepare).await?;
        evaluator.matches(client, &relation.table, &group.values).await
    }
}

/// What has to be asked of the source, and room for the answers.
fn gather(pending: &[Pending]) -> Result<(Vec<Group>, Vec<Verdict>), RunError> {
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: HashMap<*const RuledRelation, usize> = HashMap::new();
    for (index, Pending { change, filtered }) in pending.iter().enumerate() {
        let (Some(Kind::Row(row)), Some(relation)) = (&change.change, filtered) else { continue };
        if relation.filter.is_none() {
            continue;
        }
        let questions = relation.read(row).and_then(|read| relation.questions(&read));
        let questions = questions.map_err(|error| relation.put_off(error))?;
        let place = *group_of.entry(Arc::as_ptr(relation)).or_insert_with(|| {
            let relation = Arc::clone(relation);
            groups.push(Group { relation, values: Vec::new(), asked_by: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[place];
        for (values, is_new) in [(questions.old, false), (questions.new, true)] {
            if let Some(values) = values {
                group.values.push(values);
                group.asked_by.push((index, is_new));
            }
        }
    }
    Ok((groups, vec![Verdict::default(); pending.len()]))
}

/// A transaction of which nothing is left is a position.
fn leave_out_empty_transaction(changes: &mut Vec<v1::Change>) {
    if let [
        ..,
        v1::Change { change: Some(Kind::Begin(_)) },
        v1::Change { change: Some(Kind::Commit(commit)) },
    ] = &changes[..]
    {
        let progress_lsn = commit.end_lsn;
        changes.truncate(changes.len() - 2);
        changes.push(v1::Change { change: Some(Kind::Progress(v1::Progress { progress_lsn })) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_without_rows_becomes_a_position() {
        let change = |kind| v1::Change { change: Some(kind) };
        let begin = change(Kind::Begin(v1::Begin::default()));
        let row = change(Kind::Row(v1::RowChange::default()));
        let commit = change(Kind::Commit(v1::Commit { commit_lsn: 5, end_lsn: 9 }));
        let mut empty = vec![row.clone(), begin.clone(), commit.clone()];
        leave_out_empty_transaction(&mut empty);
        assert_eq!(empty, [row.clone(), change(Kind::Progress(v1::Progress { progress_lsn: 9 }))]);
        let mut kept = vec![begin, row, commit];
        let before = kept.clone();
        leave_out_empty_transaction(&mut kept);
        assert_eq!(kept, before);
    }
}
