//! Completes a batch that lanes have applied in part: what they name is left out when it arrives again.

use hashbrown::HashMap;
use strait_proto::Lsn;

use super::super::change::Change;
use super::fingerprint::Identity;
use crate::error::Error;
use crate::store::LaneLine;

/// What is known of such a batch.
#[derive(Debug)]
pub(crate) struct Recovery {
    end_lsn: Lsn,
    tables: HashMap<u32, Table>,
}

/// A table of which lanes have applied changes.
#[derive(Debug)]
struct Table {
    changes: u32,
    fingerprint: u64,
    applied: Vec<u8>,
    /// What has arrived of them again.
    seen: Identity,
}

impl Recovery {
    /// From the lines of all lanes that have committed.
    ///
    /// # Errors
    /// A definite one when they contradict each other.
    pub(crate) fn new(end_lsn: Lsn, lines: Vec<LaneLine>) -> Result<Self, Error> {
        let mut tables: HashMap<u32, Table> = HashMap::new();
        for LaneLine { table_id, changes, fingerprint, applied } in lines {
            let length = applied.len();
            let table = tables.entry(table_id).or_insert_with(|| Table {
                changes,
                fingerprint,
                applied: vec![0; length],
                seen: Identity::default(),
            });
            let same = table.changes == changes && table.fingerprint == fingerprint;
            if !same || table.applied.len() != length || length != changes.div_ceil(8) as usize {
                return Err(mismatch(end_lsn, table_id));
            }
            for (all, one) in table.applied.iter_mut().zip(applied) {
                *all |= one;
            }
        }
        Ok(Self { end_lsn, tables })
    }

    /// Where the batch ends.
    pub(crate) fn end_lsn(&self) -> Lsn {
        self.end_lsn
    }

    /// Whether a transaction belongs to the batch.
    pub(crate) fn covers(&self, commit_lsn: Lsn) -> bool {
        commit_lsn < self.end_lsn
    }

    /// Takes the next change of the batch in, and says whether it is applied already.
    ///
    /// # Errors
    /// A definite one when there are more than there were.
    pub(crate) fn is_applied(&mut self, change: &Change) -> Result<bool, Error> {
        let table_id = change.relation.table_id;
        let Some(table) = self.tables.get_mut(&table_id) else { return Ok(false) };
        let place = table.seen.push(change);
        if place >= table.changes {
            return Err(mismatch(self.end_lsn, table_id));
        }
        let byte = table.applied.get(place as usize / 8).copied().unwrap_or_default();
        Ok(byte & (1 << (place % 8)) != 0)
    }

    /// The batch has arrived in full: it must be what it was.
    ///
    /// # Errors
    /// A definite one when it is not. Then nothing of it has been applied again.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (table_id, table) in &self.tables {
            // Of a table that is no longer synchronised nothing arrives: there is nothing to complete.
            let gone = table.seen == Identity::default();
            let same = table.seen.changes == table.changes && table.seen.fingerprint() == table.fingerprint;
            if !gone && !same {
                return Err(mismatch(self.end_lsn, *table_id));
            }
        }
        Ok(())
    }
}

fn mismatch(end_lsn: Lsn, table_id: u32) -> Error {
    Error::refused(
        format!(
            "lanes have applied a part of the changes up to {end_lsn}, and what the source sends of the table with oid \
             {table_id} is not what they had"
        ),
        "Release the task and create it anew: which of these changes are applied can no longer be told. Please \
         report it, with the lines of strait.lane.",
    )
}

#[cfg(test)]
mod tests;
