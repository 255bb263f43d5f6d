//! What the executor is handed: some whole transactions, or a piece of one that is too large for memory.

use strait_proto::Lsn;

use super::change::Operation;
use super::lanes::LanePlan;
use super::plan::Step;

/// Work for one turn of the executor.
#[derive(Debug)]
pub(crate) struct Batch {
    /// In commit order, for a replay row by row.
    pub(crate) operations: Vec<Operation>,
    /// The same, folded; none where only a replay will do.
    pub(crate) steps: Option<Vec<Step>>,
    /// The same in lanes, where that is the better way; then there are no steps.
    pub(crate) lanes: Option<Vec<LanePlan>>,
    /// It completes a batch that lanes have applied in part: what they have is left out.
    pub(crate) completes: bool,
    pub(crate) extent: Extent,
    /// Source transactions that end here.
    pub(crate) transactions: u64,
    /// The trace context of the last frame that it has changes of; empty without tracing.
    pub(crate) traceparent: String,
    /// Bytes of credit that the source gets back once it is done.
    pub(crate) credit: u64,
}

/// What of the source's transactions a batch covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Whole transactions up to here; without operations an idle position.
    Whole {
        /// The last one's end.
        end_lsn: Lsn,
    },
    /// A part of one transaction, whose end has not arrived.
    Piece,
    /// The rest of a transaction of which pieces went before.
    LastPiece {
        /// Its end.
        end_lsn: Lsn,
    },
}
