//! A transaction that was in progress and has committed, on its way from the spool into the stream of whole transactions.
//!
//! It enters as if it came from the source now: Begin, its changes, Commit. Its definitions of relations count for it
//! alone, and they are matched to tables here, because only now it is certain that they count.

use hashbrown::HashMap;
use strait_proto::v1::{self, change};

use super::assembly::Assembly;
use super::receive::{Known, Relations};
use crate::error::Error;
use crate::spool::{SpoolError, SpoolReader};

/// Changes that are taken in at one go, so that whoever waits for the receiver waits shortly.
const CHANGES_AT_ONCE: usize = 4096;

/// A transaction that is being fed.
pub(super) struct Feed {
    reader: SpoolReader,
    commit: v1::StreamCommit,
    relations: HashMap<u32, Known>,
}

/// Why it could not be.
pub(super) enum Unfed {
    Failed(Error),
    Spool(SpoolError),
}

impl Feed {
    /// Begins the transaction in `assembly`.
    pub(super) fn begin(
        reader: SpoolReader,
        commit: v1::StreamCommit,
        assembly: &mut Assembly,
    ) -> Result<Self, Error> {
        let v1::StreamCommit { xid, commit_lsn, commit_time_us, .. } = commit;
        assembly.begin(v1::Begin { commit_lsn, xid, commit_time_us })?;
        Ok(Self { reader, commit, relations: HashMap::new() })
    }

    pub(super) fn xid(&self) -> u32 {
        self.commit.xid
    }

    /// Feeds a part, as large as there is room for. True at the end.
    pub(super) async fn go_on(
        &mut self,
        relations: &mut Relations,
        assembly: &mut Assembly,
    ) -> Result<bool, Unfed> {
        for _ in 0..CHANGES_AT_ONCE {
            if !assembly.has_room() {
                return Ok(false);
            }
            let Some(change) = self.reader.next().await? else {
                let v1::StreamCommit { commit_lsn, end_lsn, .. } = self.commit;
                assembly.commit(v1::Commit { commit_lsn, end_lsn })?;
                return Ok(true);
            };
            match change.change {
                Some(change::Change::Relation(definition)) => {
                    let relation_id = definition.relation_id;
                    self.relations.insert(relation_id, relations.define_in_progress(definition).await?);
                }
                Some(change::Change::Row(row)) => {
                    let relation = self.relations.get(&row.relation_id).ok_or_else(|| undefined(&row))?;
                    relation.row(assembly, row)?;
                }
                Some(change::Change::Truncate(truncate)) => relations.truncate(assembly, truncate).await?,
                _ => {
                    return Err(Error::protocol("no change of a row within a transaction in progress").into());
                }
            }
        }
        Ok(false)
    }
}

fn undefined(row: &v1::RowChange) -> Error {
    Error::protocol(format!("a change of relation {} before its definition", row.relation_id))
}

impl From<Error> for Unfed {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<SpoolError> for Unfed {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}
