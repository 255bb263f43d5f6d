//! What a change becomes once rules were applied to its old and its new row.
//!
//! | old → new | stays | is left out |
//! |---|---|---|
//! | stayed | UPDATE | DELETE |
//! | was left out | INSERT | nothing |

use bytes::Bytes;
use strait_postgres::pgoutput::{TupleData, TupleValue};
use strait_proto::v1::{self, RowOperation};

use super::not_transformed;
use super::transition::{RuledRelation, Transform};
use crate::error::RunError;
use crate::transform::{RuleTrouble, Subject};

/// Between the Unix epoch and PostgreSQL's, in microseconds.
const EPOCH_US: i64 = 946_684_800_000_000;

type Values = Vec<TupleValue>;

impl RuledRelation {
    /// Applies the rules to a change of the source's columns; the result has the added ones too. None: nothing is left of it.
    /// `operation` is what the change was at the source.
    pub(super) fn transformed(
        &self,
        change: v1::RowChange,
        operation: RowOperation,
        commit_time_us: Option<i64>,
    ) -> Result<Option<v1::RowChange>, RunError> {
        let Some(transform) = &self.transform else { return Ok(Some(change)) };
        let row = self.read(&change)?;
        let failed = |values: &[TupleValue], trouble: &RuleTrouble| {
            self.log(transform, values);
            not_transformed(&transform.text.table, trouble)
        };
        let applied =
            |mut values: Values, subject: Subject<'_>| match transform.program.apply(&mut values, subject) {
                Ok(stays) => Ok(stays.then_some(values)),
                Err(trouble) => Err(failed(&values, &trouble)),
            };
        let old_subject = if row.old_is_full { Subject::Old } else { Subject::OldKey };
        let op = match operation {
            RowOperation::Insert => "insert",
            RowOperation::Delete => "delete",
            RowOperation::Update | RowOperation::Unspecified => "update",
        };
        let new_subject = Subject::New {
            op,
            commit_time: commit_time_us.map(|time| time - EPOCH_US),
            old: row.old.as_deref().filter(|_| row.old_is_full),
        };
        let sent = |operation: RowOperation, old: Option<Values>, new: Option<Values>| {
            let tuple = |values: Option<Values>| {
                values.map(|values| values.into_iter().collect::<TupleData>().as_bytes())
            };
            Some(v1::RowChange {
                relation_id: change.relation_id,
                operation: operation.into(),
                old_is_full: old.is_some() && row.old_is_full,
                old_tuple: tuple(old).unwrap_or_else(Bytes::new),
                new_tuple: tuple(new).unwrap_or_else(Bytes::new),
            })
        };
        let new = row.new.clone().map(|new| applied(new, new_subject)).transpose()?;
        let Some(old) = row.old.clone() else {
            // The key has not changed, and with it nothing that decides about the row, or FULL would have been needed.
            return Ok(match new.flatten() {
                None => None,
                Some(new) if row.operation == RowOperation::Insert => {
                    sent(RowOperation::Insert, None, Some(self.complete(new)?))
                }
                Some(_) if !self.old_rows_are_decided(transform) => return Err(self.undecidable()),
                Some(new) => sent(RowOperation::Update, None, Some(new)),
            });
        };
        if !row.old_is_full && !self.old_rows_are_decided(transform) {
            return Err(self.undecidable());
        }
        let old = applied(old, old_subject)?;
        Ok(match (old, new.flatten()) {
            (None, None) => None,
            (Some(old), None) => sent(RowOperation::Delete, Some(old), None),
            (None, Some(new)) => sent(RowOperation::Insert, None, Some(self.complete(new)?)),
            (Some(old), Some(new)) => sent(RowOperation::Update, Some(old), Some(new)),
        })
    }

    /// Whether the key alone says what becomes of the old row.
    fn old_rows_are_decided(&self, transform: &Transform) -> bool {
        let in_key = |name: &String| self.columns.iter().any(|column| column.key && column.name == *name);
        transform.text.needs.in_key.iter().all(in_key)
    }

    /// A value that cannot be known is never sent as NULL.
    fn complete(&self, new: Values) -> Result<Values, RunError> {
        if new.contains(&TupleValue::Unchanged) { Err(self.undecidable()) } else { Ok(new) }
    }

    /// Which row it is, for this zone alone.
    fn log(&self, transform: &Transform, values: &[TupleValue]) {
        let key =
            self.columns.iter().zip(values).filter(|(column, _)| transform.text.key.contains(&column.name));
        let key: Vec<String> = key.map(|(column, value)| format!("{} = {value:?}", column.name)).collect();
        tracing::error!(
            table = transform.text.table,
            key = key.join(", "),
            "a rule cannot be applied to this row"
        );
    }
}
