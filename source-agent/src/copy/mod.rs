//! The full copy: chunks of many tables at once, each in a transaction of its own at both ends.
//!
//! ```text
//!             ┌► worker: transaction under the snapshot ─ COPY TO ─► 256 KiB messages ─► CopyChunk ─┐
//!  queue of ──┼► worker …                                                                            ├─► table done
//!  chunks,    └► worker …                                                                            │
//!  largest                                                                                           ▼
//!  table first                                                            FinishTable, at most as many at once
//! ```
//!
//! The ledger at the destination says which chunks stand; whatever breaks here is taken up from there. A table that was
//! rewritten in the meantime (DDL, VACUUM FULL, TRUNCATE) reads as empty under the old snapshot: it is put aside, the
//! others go on, and it begins again.

mod chunk;
mod plan;
mod progress;
mod rewrite;
mod run;

pub(crate) use plan::{TablePlan, copied_columns, plan_tables};
pub(crate) use progress::{CopyCounters, TableCounter};
pub(crate) use run::{CopyRun, PlannedTable};
