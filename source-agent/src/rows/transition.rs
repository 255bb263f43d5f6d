//! What a change means once it is known whether its old and its new row match.
//!
//! | old → new | matches | does not |
//! |---|---|---|
//! | matched | UPDATE | DELETE |
//! | did not | INSERT | nothing |
//!
//! Pure. Where the old row did not come, because the table's identity is not FULL yet, what is certainly right is sent:
//! the row's new state as an INSERT, which overwrites, or a DELETE, which may find nothing.

use std::sync::Arc;

use bytes::Bytes;
use strait_postgres::pgoutput::{RelationColumn, TupleData, TupleValue};
use strait_proto::v1::{self, RowOperation, TableName};
use tokio::sync::OnceCell;

use super::evaluate::{Evaluator, Values};
use super::filter::Filter;
use crate::error::RunError;
use crate::mapping::Projection;
use crate::transform::{Program, TransformText};

/// A relation of the stream, as it was described there, with what the task does to its rows.
pub(crate) struct RuledRelation {
    pub(super) table: TableName,
    pub(super) relation_id: u32,
    /// The condition on them.
    pub(super) filter: Option<Arc<Filter>>,
    /// The rules for them.
    pub(super) transform: Option<Transform>,
    pub(super) columns: Vec<RelationColumn>,
    /// Positions of the columns that the condition may use.
    pub(super) used: Vec<usize>,
    /// The identity holds all of those.
    pub(super) covered: bool,
    /// The transaction in progress that it was described to, which may see types that nobody else sees.
    in_progress: Option<u32>,
    /// What of a row is sent.
    outward: Projection,
    pub(super) evaluator: OnceCell<Evaluator>,
}

/// What a task does to the rows of a table.
pub(crate) struct RowRule {
    pub(crate) filter: Option<Arc<Filter>>,
    pub(crate) transform: Option<Transform>,
}

/// Compiled rules, and the columns that say which row it is.
pub(crate) struct Transform {
    pub(crate) program: Program,
    pub(crate) text: Arc<TransformText>,
}

/// How the stream describes a relation.
pub(crate) struct Described {
    pub(crate) relation_id: u32,
    /// The source's.
    pub(crate) columns: Vec<RelationColumn>,
    /// The transaction in progress that it is described to.
    pub(crate) in_progress: Option<u32>,
}

/// A change, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) operation: RowOperation,
    /// NULL outside of the key where it is not full.
    pub(super) old: Option<Vec<TupleValue>>,
    pub(super) old_is_full: bool,
    /// With the unchanged values of the old row, as far as that came.
    pub(super) new: Option<Vec<TupleValue>>,
}

/// The rows of a change that the condition has to be evaluated on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Questions {
    pub(super) old: Option<Values>,
    pub(super) new: Option<Values>,
}

/// Whether they match. None: see [`Questions`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) old: Option<bool>,
    pub(super) new: Option<bool>,
}

impl RuledRelation {
    /// `outward`: what of a row that stays is sent.
    pub(crate) fn new(table: TableName, rule: RowRule, described: Described, outward: Projection) -> Self {
        let Described { relation_id, columns, in_progress } = described;
        let RowRule { filter, transform } = rule;
        let uses = |name: &str| filter.as_ref().is_some_and(|filter| filter.may_use(name));
        let used: Vec<usize> = (0..columns.len()).filter(|position| uses(&columns[*position].name)).collect();
        let covered = used.iter().all(|position| columns[*position].key);
        let evaluator = OnceCell::new();
        Self {
            table,
            relation_id,
            filter,
            transform,
            columns,
            used,
            covered,
            in_progress,
            outward,
            evaluator,
        }
    }

    /// What an error about a transaction in progress means: it has to come whole.
    pub(super) fn put_off(&self, error: RunError) -> RunError {
        match self.in_progress {
            Some(xid) if !matches!(&error, RunError::Source { source, .. } if source.is_connection()) => {
                RunError::StreamingPutOff { xid, reason: error.failure().cause }
            }
            _ => error,
        }
    }

    /// Takes a change apart.
    pub(super) fn read(&self, change: &v1::RowChange) -> Result<Row, RunError> {
        let values = |bytes: &Bytes| -> Result<Option<Vec<TupleValue>>, RunError> {
            if bytes.is_empty() {
                return Ok(None);
            }
            Ok(Some(self.tuple(bytes, self.columns.len())?.values().collect()))
        };
        let old = values(&change.old_tuple)?;
        let mut new = values(&change.new_tuple)?;
        if let (Some(old), Some(new)) = (&old, &mut new) {
            for ((new, old), column) in new.iter_mut().zip(old).zip(&self.columns) {
                if *new == TupleValue::Unchanged && (change.old_is_full || column.key) {
                    *new = old.clone();
                }
            }
        }
        Ok(Row { operation: change.operation(), old, old_is_full: change.old_is_full, new })
    }

    /// What has to be evaluated. An old row that is not known, or is the new one for the condition, is left out.
    pub(super) fn questions(&self, row: &Row) -> Result<Questions, RunError> {
        let old = row.old.as_ref().filter(|_| row.old_is_full || self.covered);
        Ok(Questions {
            old: old.map(|old| self.values(old)).transpose()?,
            new: row.new.as_ref().map(|new| self.values(new)).transpose()?,
        })
    }

    /// What a change becomes; None: nothing.
    pub(super) fn settle(
        &self,
        change: v1::RowChange,
        row: Row,
        verdict: Verdict,
    ) -> Result<Option<v1::RowChange>, RunError> {
        if self.filter.is_none() {
            return Ok(Some(change));
        }
        let new_matches = verdict.new.unwrap_or_default();
        Ok(match row.operation {
            RowOperation::Insert => new_matches.then_some(change),
            // Without the old row it may have been there.
            RowOperation::Delete => verdict.old.unwrap_or(true).then_some(change),
            _ => {
                let unmoved = row.old.is_none() && self.covered;
                match (if unmoved { Some(new_matches) } else { verdict.old }, new_matches) {
                    (Some(true), true) => Some(change),
                    (Some(false), false) => None,
                    (_, true) => Some(self.insert(&change, row)?),
                    (_, false) => Some(self.delete(&change, row)?),
                }
            }
        })
    }

    /// The part of a change that is sent.
    pub(super) fn outward(&self, change: v1::RowChange) -> Result<v1::RowChange, RunError> {
        let sent = |bytes: Bytes| -> Result<Bytes, RunError> {
            if bytes.is_empty() {
                Ok(bytes)
            } else {
                Ok(self.outward.tuple(&self.tuple(&bytes, self.width())?))
            }
        };
        let (old_tuple, new_tuple) = (sent(change.old_tuple)?, sent(change.new_tuple)?);
        Ok(v1::RowChange { old_tuple, new_tuple, ..change })
    }

    /// How many columns a row has that is sent, before those are taken out that are not carried.
    fn width(&self) -> usize {
        self.transform.as_ref().map_or(self.columns.len(), |transform| transform.program.width())
    }

    fn tuple(&self, bytes: &Bytes, width: usize) -> Result<TupleData, RunError> {
        let tuple = TupleData::new(bytes.clone());
        let tuple =
            tuple.map_err(|error| RunError::transient(format!("read a row of the stream: {error}")))?;
        if tuple.column_count() == width {
            return Ok(tuple);
        }
        Err(RunError::transient(format!("a row of {} has other columns than it", self.table)))
    }

    fn insert(&self, change: &v1::RowChange, row: Row) -> Result<v1::RowChange, RunError> {
        let new = row.new.unwrap_or_default();
        if new.contains(&TupleValue::Unchanged) {
            return Err(self.undecidable());
        }
        Ok(v1::RowChange {
            relation_id: change.relation_id,
            operation: RowOperation::Insert.into(),
            new_tuple: TupleData::from_iter(new).as_bytes(),
            ..Default::default()
        })
    }

    fn delete(&self, change: &v1::RowChange, row: Row) -> Result<v1::RowChange, RunError> {
        let old_tuple = match row.old {
            Some(_) => change.old_tuple.clone(),
            // Its key has not changed.
            None => {
                let columns = row.new.unwrap_or_default().into_iter().zip(&self.columns);
                let key: Vec<TupleValue> = columns
                    .map(|(value, column)| if column.key { value } else { TupleValue::Null })
                    .collect();
                if key.contains(&TupleValue::Unchanged) {
                    return Err(self.undecidable());
                }
                TupleData::from_iter(key).as_bytes()
            }
        };
        Ok(v1::RowChange {
            relation_id: change.relation_id,
            operation: RowOperation::Delete.into(),
            old_tuple,
            old_is_full: change.old_is_full,
            ..Default::default()
        })
    }

    fn values(&self, row: &[TupleValue]) -> Result<Values, RunError> {
        let value = |position: &usize| match &row[*position] {
            TupleValue::Null => Ok(None),
            TupleValue::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(RunError::transient(format!("a value of {} is not text", self.table))),
            },
            TupleValue::Unchanged => Err(self.undecidable()),
            TupleValue::Binary(_) => Err(RunError::transient(format!(
                "a value of {} came in binary, which was not asked for",
                self.table
            ))),
        };
        self.used.iter().map(value).collect()
    }

    pub(super) fn undecidable(&self) -> RunError {
        RunError::definite(
            format!(
                "{}: a change came without the old row, which what the task does with the table's rows (`where`, `transform`) \
                 needs: its REPLICA IDENTITY was not FULL when the row was changed",
                self.table
            ),
            "Release the task and start it again; leave the REPLICA IDENTITY as the task sets it.",
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn relation(full: bool) -> RuledRelation {
        let column =
            |name: &str, key| RelationColumn { key, name: name.into(), type_oid: 25, type_modifier: -1 };
        let columns = vec![column("id", true), column("kind", full), column("body", full)];
        let described = Described { relation_id: 1, columns, in_progress: None };
        let filter = Arc::new(Filter::new("kind = 'x'".into()));
        let rule = RowRule { filter: Some(filter), transform: None };
        RuledRelation::new(TableName::new("s", "t"), rule, described, Projection::default())
    }

    /// Words, `-` for NULL and `~` for unchanged.
    fn tuple(words: &str) -> Bytes {
        let value = |word| match word {
            "-" => TupleValue::Null,
            "~" => TupleValue::Unchanged,
            word => TupleValue::Text(Bytes::copy_from_slice(str::as_bytes(word))),
        };
        if words.is_empty() {
            Bytes::new()
        } else {
            words.split(' ').map(value).collect::<TupleData>().as_bytes()
        }
    }

    fn change(operation: RowOperation, old: &str, old_is_full: bool, new: &str) -> v1::RowChange {
        v1::RowChange {
            relation_id: 1,
            operation: operation.into(),
            old_tuple: tuple(old),
            old_is_full,
            new_tuple: tuple(new),
        }
    }

    /// Evaluates the condition as the source would.
    fn settled(relation: &RuledRelation, change: v1::RowChange) -> Result<Option<v1::RowChange>, RunError> {
        let row = relation.read(&change)?;
        let questions = relation.questions(&row)?;
        let answer = |values: Option<Values>| values.map(|values| values[0].as_deref() == Some("x"));
        relation.settle(change, row, Verdict { old: answer(questions.old), new: answer(questions.new) })
    }

    #[test]
    fn with_the_old_row_every_transition_is_known() {
        use RowOperation::{Delete, Insert, Update};
        let full = relation(true);
        for (was, becomes) in [
            (change(Insert, "", false, "1 x a"), Some(change(Insert, "", false, "1 x a"))),
            (change(Insert, "", false, "1 - a"), None),
            (change(Delete, "1 x a", true, ""), Some(change(Delete, "1 x a", true, ""))),
            (change(Delete, "1 y a", true, ""), None),
            (change(Update, "1 x a", true, "1 x ~"), Some(change(Update, "1 x a", true, "1 x ~"))),
            (change(Update, "1 x a", true, "1 y ~"), Some(change(Delete, "1 x a", true, ""))),
            // An unchanged value comes from the old row.
            (change(Update, "1 y a", true, "2 x ~"), Some(change(Insert, "", false, "2 x a"))),
            (change(Update, "1 y a", true, "1 ~ b"), None),
        ] {
            assert_eq!(settled(&full, was.clone()).unwrap(), becomes, "{was:?}");
        }
    }

    #[test]
    fn without_the_old_row_the_new_state_is_sent() {
        use RowOperation::{Delete, Insert, Update};
        let keyed = relation(false);
        for (was, becomes) in [
            (change(Update, "", false, "1 x a"), Some(change(Insert, "", false, "1 x a"))),
            (change(Update, "", false, "1 y ~"), Some(change(Delete, "1 - -", false, ""))),
            (change(Update, "1 - -", false, "2 y a"), Some(change(Delete, "1 - -", false, ""))),
            (change(Delete, "1 - -", false, ""), Some(change(Delete, "1 - -", false, ""))),
        ] {
            assert_eq!(settled(&keyed, was.clone()).unwrap(), becomes, "{was:?}");
        }
        // A value that cannot be known is never sent as NULL.
        for was in [change(Update, "", false, "1 x ~"), change(Update, "", false, "1 ~ a")] {
            assert!(settled(&keyed, was).unwrap_err().failure().definite);
        }
    }
}
