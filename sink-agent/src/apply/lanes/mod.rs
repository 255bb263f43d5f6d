//! Lanes: a batch whose keys are independent of each other is applied by several transactions at once.
//!
//! ```text
//!               ┌ lane 1: BEGIN · hold · line · folded statements · COMMIT ┐
//!   partition ──┼ lane 2: BEGIN · hold · line · folded statements · COMMIT ┼─► the end: what lanes were refused,
//!               └ lane 3: … refused: ROLLBACK                              ┘   then position, lines go, COMMIT
//! ```
//!
//! - `keys` knows what ties rows of the destination together, `partition` splits a batch by it.
//! - `prepare` plans each lane and writes down what it does; `run` executes lanes and ends the batch.
//! - `recover` completes a batch of which only some lanes have committed.
//!
//! Why it is exactly once: a lane's rows commit together with its line in `strait.lane`, which names the changes that they
//! are. The position moves to the batch's end in one transaction with what is left of it, and that removes the lines; the
//! server refuses to move it anywhere else while there are any. A session that finds lines leaves out the changes that they
//! name and applies the others, in order, by one transaction. It needs neither the partition nor the number of lanes of
//! then, so that both may change at any time, with the configuration, the program and the destination's indexes: what a
//! lane did is recorded, not computed again.
//!
//! Why the rows are right: changes of one key are in one lane, in order. What the partition cannot see, because a unique
//! value that a row gives up is not in the source's log, makes the server refuse a statement. That lane rolls back, waits
//! until all others have committed, and what was refused is applied together, as a batch without lanes would be. Rows are
//! displaced by a unique value then and only then: no other lane has yet to give it up.
//!
//! Readers may see a batch's keys change one lane after the other; that is the price, and why one lane is the default.

mod fingerprint;
mod keys;
mod partition;
mod prepare;
mod recover;
mod run;

pub(super) use fingerprint::Fnv;
pub(crate) use prepare::{LanePlan, Laning, folded};
pub(crate) use recover::Recovery;
pub(crate) use run::Lanes;

#[cfg(test)]
pub(crate) mod tests {
    use super::super::change::Operation;
    use super::prepare::lines;
    use crate::store::LaneLine;

    /// The lines of a lane that has these of a batch's operations.
    pub(crate) fn lane_lines_of(operations: &[Operation], places: &[usize]) -> Vec<LaneLine> {
        lines(operations, &[places.to_vec()]).concat()
    }
}
