//! Which values of a relation's tuples are sent: what a task leaves out goes no further than this.

use bytes::Bytes;
use strait_postgres::pgoutput::{Relation, TupleData};

use super::TableMap;
use crate::error::RunError;

/// The values of a tuple that are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Projection {
    /// For each of the source's columns. None: all, as they came.
    carried: Option<Vec<bool>>,
}

impl Projection {
    /// Gives a relation the destination's columns, and tells how its tuples follow.
    ///
    /// # Errors
    /// A definite one where the source identifies rows by a column that is left out.
    pub(crate) fn apply(relation: &mut Relation, map: Option<&TableMap>) -> Result<Self, RunError> {
        let Some(map) = map else { return Ok(Self::default()) };
        let targets: Vec<Option<String>> =
            relation.columns.iter().map(|column| map.columns.target(&column.name)).collect();
        let of_identity = relation.replica_identity != b'f';
        let mut columns = relation.columns.iter().zip(&targets);
        if let Some((lost, _)) =
            columns.find(|(column, target)| of_identity && column.key && target.is_none())
        {
            return Err(identity_left_out(relation, &lost.name));
        }
        let carried: Vec<bool> = targets.iter().map(Option::is_some).collect();
        relation.columns.retain_mut({
            let mut targets = targets.into_iter();
            move |column| match targets.next().flatten() {
                Some(target) => {
                    column.name = target;
                    true
                }
                None => false,
            }
        });
        Ok(Self { carried: carried.contains(&false).then_some(carried) })
    }

    /// The encoded tuple that is sent.
    pub(crate) fn tuple(&self, tuple: &TupleData) -> Bytes {
        let Some(carried) = &self.carried else { return tuple.as_bytes() };
        let values = tuple.values().zip(carried).filter(|(_, carried)| **carried);
        values.map(|(value, _)| value).collect::<TupleData>().as_bytes()
    }
}

fn identity_left_out(relation: &Relation, column: &str) -> RunError {
    RunError::definite(
        format!(
            "{}.{}: the source identifies rows by column {column}, which the task leaves out",
            relation.schema, relation.name
        ),
        "Let the source identify rows by columns that are carried (ALTER TABLE … REPLICA IDENTITY), then resume the task; \
         changes that were made meanwhile cannot be followed: if it fails again, release the task and start it again.",
    )
}
