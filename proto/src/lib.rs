//! The wire contract of Strait: generated messages and services, and the newtypes that travel in them.
//!
//! The `.proto` files under `strait/v1` are the documentation of every field. This crate holds no logic beyond small
//! implementations on those types; in particular nothing here does I/O.

mod alert_severity;
mod choices;
mod epoch;
mod lsn;
pub mod object_kind;
mod object_result;
mod table_name;
mod task_id;
mod task_state;

/// Version 1 of the contract, generated from `strait/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("strait.v1");
}

pub use epoch::Epoch;
pub use lsn::{Lsn, ParseLsnError};
pub use task_id::{ParseTaskIdError, TaskId};

/// The encoded descriptors of every file, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/strait.v1.descriptors.bin"));

/// The largest gRPC message that a data-plane peer accepts, in bytes: PostgreSQL's own limit of one field (1 GiB) for each of
/// an old and a new tuple, and room for what surrounds them.
pub const DATA_MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024 - 1;
