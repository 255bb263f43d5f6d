//! From a batch to its lanes: which operations each has, planned, and the lines that say so.

use std::sync::Arc;

use hashbrown::HashMap;
use strait_postgres::Client;

use super::super::change::Operation;
use super::super::plan::{Exceptions, Step, Unplanned, plan};
use super::super::target::Target;
use super::fingerprint::Identity;
use super::keys::Keys;
use super::partition::partition;
use crate::error::Error;
use crate::store::LaneLine;

/// What one lane does.
#[derive(Debug)]
pub(crate) struct LanePlan {
    /// Places in the batch's operations, ascending.
    pub(super) places: Vec<usize>,
    /// Those operations, folded; none where only a replay will do, which is the end's part.
    pub(super) steps: Option<Vec<Step>>,
    pub(super) lines: Vec<LaneLine>,
}

/// Splits batches into so many lanes at most.
#[derive(Debug)]
pub(crate) struct Laning {
    lanes: usize,
    keys: Keys,
}

impl Laning {
    /// None for one lane.
    pub(crate) fn new(lanes: usize) -> Option<Self> {
        (lanes > 1).then(|| Self { lanes, keys: Keys::default() })
    }

    /// Takes in a table that the stream has named, as often as it names it.
    pub(crate) async fn learn(&mut self, client: &Client, target: &Arc<Target>) -> Result<(), Error> {
        self.keys.learn(client, target).await
    }

    /// The lanes of a batch of whole transactions; none where it is better applied by one transaction.
    pub(crate) fn plan(&self, operations: &[Operation]) -> Result<Option<Vec<LanePlan>>, Error> {
        let Some(parts) = partition(operations, &self.keys, self.lanes) else { return Ok(None) };
        let lines = lines(operations, &parts);
        let plans = parts.into_iter().zip(lines).map(|(places, lines)| {
            let steps = folded(&chosen(operations, &places))?;
            Ok(LanePlan { places, steps, lines })
        });
        plans.collect::<Result<_, Error>>().map(Some)
    }
}

/// Some operations of a batch; they share its values.
pub(super) fn chosen(operations: &[Operation], places: &[usize]) -> Vec<Operation> {
    places.iter().map(|place| operations[*place].clone()).collect()
}

/// The steps of operations; none where only a replay in order will do.
pub(crate) fn folded(operations: &[Operation]) -> Result<Option<Vec<Step>>, Error> {
    match plan(operations, &Exceptions::default()) {
        Ok(steps) => Ok(Some(steps)),
        Err(Unplanned::InOrder) => Ok(None),
        Err(Unplanned::Failed(error)) => Err(error),
    }
}

/// For each lane, its lines.
pub(super) fn lines(operations: &[Operation], parts: &[Vec<usize>]) -> Vec<Vec<LaneLine>> {
    let mut identities: HashMap<u32, Identity> = HashMap::new();
    // For each operation its table and its place among that table's changes.
    let spots: Vec<Option<(u32, u32)>> = operations
        .iter()
        .map(|operation| match operation {
            Operation::Row(change) => {
                let table_id = change.relation.table_id;
                Some((table_id, identities.entry(table_id).or_default().push(change)))
            }
            Operation::Truncate(_) | Operation::Suspend(_) => None,
        })
        .collect();
    let lane_lines = |places: &Vec<usize>| {
        let mut lines: Vec<LaneLine> = Vec::new();
        let mut line_of: HashMap<u32, usize> = HashMap::new();
        for (table_id, spot) in places.iter().filter_map(|place| spots[*place]) {
            let place = *line_of.entry(table_id).or_insert_with(|| {
                let identity = identities.get(&table_id).copied().unwrap_or_default();
                let (changes, fingerprint) = (identity.changes, identity.fingerprint());
                let applied = vec![0; changes.div_ceil(8) as usize];
                lines.push(LaneLine { table_id, changes, fingerprint, applied });
                lines.len() - 1
            });
            lines[place].applied[spot as usize / 8] |= 1 << (spot % 8);
        }
        lines
    };
    parts.iter().map(lane_lines).collect()
}

#[cfg(test)]
mod tests;
