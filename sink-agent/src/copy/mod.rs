//! The full copy: tables begin, chunks arrive, tables are finished.
//!
//! Whatever happens in between, the ledger says which chunks stand: a chunk's rows and its line commit
//! together.

mod begin;
mod chunk;
mod finish;
mod indexes;

pub(crate) use begin::begin_tables;
pub(crate) use chunk::{copy_chunk, header};
pub(crate) use finish::finish_table;
